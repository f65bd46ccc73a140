"""Messages of the second reader: heads, slots, payloads, blobs, contents (docs/protocol.md §7)."""

import base64
import hashlib

import ciphers
import curves
import mlkem
import wire
from statements import Statement, when, who
from text import file_name, named_mid, need, parse_address, post_name, tagged

MIB = 1 << 20
CHUNK = 65536


class Head(Statement):
    """One version of a message."""

    def __init__(self, c, frame):
        super().__init__("head", frame, 8192, "Head")
        h, b = self.says, wire.parse("Binding", self.says["binding"])
        self.binding, self.context = b, tagged("ctx", h["binding"])
        self.author = who(b["from"])
        self.to = [who(a) for a in b["to"]]
        need(len(b["card_id"]) == 32 and len(b["mid"]) == 16 and any(b["mid"]))
        need(1 <= b["version"] <= 1000 and len(b["prev"]) == (0 if b["version"] == 1 else 32))
        when(b["time"])
        need(b["suite"] in (0, 1), "unsupported")
        need(b["kind"] in (1, 2) and b["audience"] in (1, 2) and b["contract"] in (1, 2, 3))
        self.tombstone, self.private = b["kind"] == 2, b["audience"] == 2
        need((b["expires"] != 0) == (b["contract"] == 3))
        when(b["expires"])
        self.addressed()
        self.content()
        need(self.author == c.address)
        c.signs(self, b["card_id"])

    def addressed(self):
        """Checks whom it is for."""
        b = self.binding
        if self.private:
            need(1 <= len(self.to) <= 64 and len(set(self.to)) == len(self.to) and not b["name"])
            need(b["suite"] or self.tombstone)
            return
        need(not self.to and b["suite"] == 0)
        if b["name"]:
            post_name(b["name"])
            need(named_mid(b["name"]) == b["mid"])

    def content(self):
        """Checks what it says of its payload."""
        h, b = self.says, self.binding
        if self.tombstone:
            need(not h["payload_hash"] and not h["payload_len"] and not h["commit"] and b["version"] > 1)
            return
        need(len(h["payload_hash"]) == 32)
        need(h["payload_len"] <= MIB, "too_large")
        need(len(h["commit"]) == (32 if b["suite"] else 0))

    def shown(self):
        """What the vectors want to know."""
        b = self.binding
        return {"id": self.id.hex(), "from": self.author, "mid": b["mid"].hex(), "version": b["version"], "time": b["time"], "kind": b["kind"],
                "audience": b["audience"], "to": self.to, "suite": b["suite"], "contract": ("final", "revisable", "ephemeral")[b["contract"] - 1],
                "expires": b["expires"] or None, "name": b["name"], "payload_hash": self.says["payload_hash"].hex() or "0" * 64,
                "payload_len": self.says["payload_len"], "context": self.context.hex()}

    def followed(self, other):
        """Checks that another head may follow."""
        a, b = self.binding, other.binding
        need((a["from"], a["mid"]) == (b["from"], b["mid"]))
        need(b["version"] == a["version"] + 1 and b["prev"] == self.id, "conflict")
        need(all(a[k] == b[k] for k in ("audience", "name", "to")))
        if self.tombstone:
            need(a["name"] and not other.tombstone, "recalled")
            return
        need((a["contract"], a["expires"]) == (b["contract"], b["expires"]))
        need(a["contract"] != 1 or other.tombstone, "contract")

    def slots(self, slots):
        """Checks that slots fit."""
        readers = []
        for s in slots:
            need(len(s["box"]) == 16 and 1 <= len(s["sealed"]) <= 4096)
            readers.append(who(s["address"]))
        need(sorted(readers) == (sorted(set(self.to) | {self.author}) if self.private and not self.tombstone else []))


def chunks(raw, size):
    """Pieces of a stream: at least one, the last one not empty unless the only one."""
    return [raw[i:i + size] for i in range(0, len(raw), size)] or [b""]


def derive(cek, context):
    """Payload key and commitment."""
    need(len(cek) == 32 and len(context) == 32)
    prk = ciphers.extract(context, cek)
    return ciphers.expand(prk, b"airdispatch/1 payload", 32), ciphers.expand(prk, b"airdispatch/1 commit", 32)


def _nonce(i, last):
    return bytes(3) + i.to_bytes(8, "big") + bytes([last])


def seal_payload(key, plain):
    """Suite 1."""
    parts = chunks(plain, CHUNK)
    return b"".join(ciphers.aead_seal(key, _nonce(i, i + 1 == len(parts)), p) for i, p in enumerate(parts))


def open_payload(key, sealed):
    """Suite 1, the other way round."""
    parts, out = chunks(sealed, CHUNK + 16), b""
    for i, p in enumerate(parts):
        plain = ciphers.aead_open(key, _nonce(i, i + 1 == len(parts)), p)
        need(plain is not None and (plain or len(parts) == 1), "bad_signature")
        out += plain
    return out


def padded(size):
    """The length that a text of some size has when padded."""
    n = max(256, 4 + size)
    e = n.bit_length() - 1
    step = 1 << e - e.bit_length()
    return -(-n // step) * step


def pad(raw):
    """Padmé with a floor."""
    return (len(raw).to_bytes(4, "big") + raw).ljust(padded(len(raw)), b"\0")


def unpad(raw):
    """The other way round."""
    need(len(raw) >= 4)
    size = int.from_bytes(raw[:4], "big")
    need(size <= len(raw) - 4 and pad(raw[4:4 + size]) == raw)
    return raw[4:4 + size]


def blob_id(raw):
    """The id of a blob."""
    pieces = [raw[i:i + MIB] for i in range(0, len(raw), MIB)]
    return tagged("blob", len(raw).to_bytes(8, "big"), *(hashlib.sha256(p).digest() for p in pieces))


def _base64(raw):
    return base64.b64encode(raw).decode() if raw else None


def content(raw):
    """What is in a message."""
    need(sum(1 for _ in wire.fields(raw)) <= 1024, "too_large")
    c = wire.parse("Content", raw)
    need(len(c["components"]) <= 256 and len(c["attachments"]) <= 256, "too_large")

    def blob(a):
        need(a["size"] <= 1 << 40, "too_large")
        need(len(a["key"]) == 32 and len(a["hash"]) == 32)
        kind = a["media_type"] if len(a["media_type"]) <= 100 and all(" " <= x <= "~" for x in a["media_type"]) else ""
        return {"name": file_name(a["name"]), "media_type": kind, "size": a["size"], "blob": a["hash"].hex(), "key": _base64(a["key"])}

    components, blobs = [], len(c["attachments"])
    for p in c["components"]:
        kind = p["type"]
        need(3 <= len(kind) <= 100 and "/" in kind[1:-1] and all("!" <= x <= "~" for x in kind))
        need(p["blob"] is None or not p["data"])
        one = {"type": kind, "data": _base64(p["data"])}
        if p["blob"] is not None:
            one["blob"] = blob(p["blob"])
            blobs += 1
        components.append(one)
    attachments = [blob(a) for a in c["attachments"]]
    need(blobs <= 256, "too_large")
    return {"components": components, "attachments": attachments}


def public_half(kind, seed):
    """The public key of a box."""
    return curves.x25519(seed, curves.X_BASE) if kind == 1 else mlkem.hybrid_keys(seed)[3]


def open_message(head, reader, boxes, slot, payload):
    """All that a reader does."""
    need(reader == head.author or reader in head.to or not head.private)
    out = {"classical": False, "tombstone": head.tombstone}
    sealed = head.private and not head.tombstone
    if sealed:
        need(slot is not None and len(slot["box"]) == 16 and 1 <= len(slot["sealed"]) <= 4096 and who(slot["address"]) == reader)
    if head.tombstone:
        return out
    need(len(payload) == head.says["payload_len"])
    need(hashlib.sha256(payload).digest() == head.says["payload_hash"], "bad_signature")
    if sealed:
        mine = [b for b in boxes if tagged("box", bytes([b[0]]), public_half(*b))[:16] == slot["box"]]
        need(mine, "not_found")
        kind, seed = mine[0]
        out["classical"] = kind == 1
        cek = ciphers.open_nacl(seed, slot["sealed"]) if kind == 1 else ciphers.open_hybrid(seed, head.context, slot["sealed"])
        need(cek is not None and len(cek) == 32, "bad_signature")
        key, commit = derive(cek, head.context)
        need(commit == head.says["commit"], "bad_signature")
        payload = unpad(open_payload(key, payload))
    out["content"] = content(payload)
    return out


def address_of(text):
    """The one spelling of an address."""
    return who(parse_address(text))

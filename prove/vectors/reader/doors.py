"""What the second reader knows of the other doors: live connections, nearby, whispering, MessagePasser (docs/protocol.md §14 to §17)."""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import re

import curves
import statements
import text
import wire
from text import need
from wire import Bad

KIB = 1024
WINDOW = 256 * KIB
PROTOCOL = re.compile("[A-Za-z0-9._/+-]{1,64}")
KINDS = {number: name for number, (name, _) in wire.SHAPES["LiveFrame"].items()}


# Live connections (§14).


def named(protocol):
    """Judges the name of a protocol."""
    need(PROTOCOL.fullmatch(protocol))


def sound(kind, f):
    """Judges the sizes and forms in a frame."""
    for name in ("connection", "session"):
        need(name not in f or len(f[name]) == 16)
    for name in ("offset", "consumed", "received"):
        need(name not in f or f[name] < 2**62)
    need(f.get("bundle") is None or wire.size("Identity", f["bundle"]) <= 40 * KIB)
    if kind == "serve":
        need(len(f["protocols"]) <= 64)
        for p in f["protocols"]:
            named(p)
    elif kind == "call":
        named(f["protocol"])
    elif kind == "data":
        need(1 <= len(f["bytes"]) <= 32 * KIB)
    elif kind == "direct":
        need(f["consumed"] <= f["received"] <= f["consumed"] + WINDOW)


def shown(shape, f):
    """A frame as the vectors have it: 64 bits as text, cards counted."""
    out = {}
    for name, sort in wire.SHAPES[shape].values():
        v = f[name]
        if sort == "Identity":
            v = {"there": v is not None, "cards": len(v["cards"]) if v else 0}
        elif sort == "bytes":
            v = base64.b64encode(v).decode() or None
        elif sort in ("u64", "i64"):
            v = str(v)
        out[name] = v
    return out


def frame(form, raw):
    """One frame of a socket, in either form."""
    need(len(raw) <= 64 * KIB, "too_large")
    if form == "json":
        whole = from_json("LiveFrame", loads(raw.decode()))
        kinds = [k for k in whole if whole[k] is not None]
        need(len(kinds) <= 1)
    else:
        whole = wire.parse("LiveFrame", raw)
        kinds = [KINDS[number] for number, sort, _, _ in wire.fields(raw) if number in KINDS and sort == 2]
    if not kinds:
        return {"kind": ""}
    kind = kinds[-1]
    sound(kind, whole[kind])
    shape = next(s for name, s in wire.SHAPES["LiveFrame"].values() if name == kind)
    return {"kind": kind} | shown(shape, whole[kind])


def nothing(_):
    """Refuses what is no JSON and Python takes: NaN and infinities."""
    raise Bad("invalid")


def once(pairs):
    """An object, whose members stand once each."""
    need(len({k for k, _ in pairs}) == len(pairs))
    return dict(pairs)


def loads(raw, pairs=once):
    """One JSON value and white space."""
    try:
        return json.loads(raw, parse_constant=nothing, object_pairs_hook=pairs)
    except ValueError:
        raise Bad("invalid") from None


ENUMS = {
    "LIVE_REASON_": "UNSPECIFIED DONE UNKNOWN_PROTOCOL NOT_ONLINE REFUSED GONE BUSY IDLE BROKEN".split(),
    "LIVE_STEP_": "UNSPECIFIED AWAY BACK BACK_TOO".split(),
    "REASON_": "UNSPECIFIED INVALID NOT_FOUND BAD_SIGNATURE STALE CONFLICT NEED_BUNDLE NOT_ACCEPTED DENIED UNAUTHENTICATED CLOCK EXPIRED TOO_LARGE"
               " QUOTA RATE_LIMITED STORAGE_FULL ALREADY_FETCHED CONTRACT RECALLED NAME_TAKEN UNSUPPORTED UNAVAILABLE INTERNAL DISAGREEMENT".split(),
}
ENUM_OF = {("LiveAnswer", "reason"): "LIVE_REASON_", ("LiveClose", "reason"): "LIVE_REASON_", ("LiveDirect", "step"): "LIVE_STEP_", ("Refusal", "reason"): "REASON_"}
RANGES = {"u64": (0, 2**64 - 1), "i64": (-2**63, 2**63 - 1), "i32": (-2**31, 2**31 - 1), "u32": (0, 2**32 - 1)}


def camel(name):
    """A field's name in protobuf's JSON."""
    return re.sub("_([a-z])", lambda m: m[1].upper(), name)


def from_json(shape, given):
    """A message of a shape, out of protobuf's JSON."""
    need(isinstance(given, dict))
    out = wire.blank(shape)
    for name, sort in wire.SHAPES[shape].values():
        keys = [k for k in {name, camel(name)} if k in given]
        need(len(keys) <= 1)
        if not keys or given[keys[0]] is None:
            continue
        v = given[keys[0]]
        if sort.endswith("*"):
            need(isinstance(v, list))
            out[name] = [value(sort[:-1], x) for x in v]
        else:
            out[name] = value(ENUM_OF.get((shape, name), sort), v)
    return out


def value(sort, v):
    """One value of protobuf's JSON."""
    if sort in ENUMS:
        if isinstance(v, str):
            names = [sort + n for n in ENUMS[sort]]
            return names.index(v) if v in names else 0
        sort = "i32"
    if sort in RANGES:
        if isinstance(v, str):
            need(re.fullmatch("-?[0-9]+", v, re.A))
            v = int(v)
        need(isinstance(v, int) and not isinstance(v, bool) and RANGES[sort][0] <= v <= RANGES[sort][1])
        return v
    if sort == "bool":
        need(isinstance(v, bool))
        return v
    if sort == "text":
        need(isinstance(v, str))
        return v
    if sort == "bytes":
        need(isinstance(v, str))
        v = v.rstrip("=").replace("-", "+").replace("_", "/")
        return unbase64(v + "=" * (-len(v) % 4))
    return from_json(sort, v)


def unbase64(s):
    """The bytes of strict standard base64."""
    try:
        return base64.b64decode(s, validate=True)
    except (binascii.Error, ValueError):
        raise Bad("invalid") from None


def handshakes(connection, leaves):
    """The ALPN names of a connection, the best first."""
    need(len(connection) == 16)
    return {"names": ["ad-live/2/" + connection.hex()] * bool(leaves) + ["ad-live/1/" + connection.hex()]}


def offer(raw):
    """The candidates that may be dialled, and the token."""
    need(len(raw) <= KIB, "too_large")
    o = wire.parse("LiveOffer", raw)
    need(len(o["candidates"]) <= 8 and (not o["candidates"] or len(o["token"]) == 16))
    out = []
    for c in o["candidates"]:
        m = re.fullmatch(r"(?:\[([^\[\]%]*)(%[^\[\]]+)?\]|([0-9.]+)):([0-9]{1,5})", c, re.A)
        need(m and int(m[4]) < 65536)
        ip = place(ipaddress.IPv6Address if m[1] is not None else ipaddress.IPv4Address, m[1] or m[3])
        where = f"[{ip}]:{int(m[4])}" if ip.version == 6 else f"{ip}:{int(m[4])}"
        if int(m[4]) >= 1024 and not m[2] and (unicast(ip) or ip.is_loopback) and where not in out:
            out.append(where)
    return {"candidates": out, "token": base64.b64encode(o["token"]).decode()}


def place(sort, s):
    """An address; IPv4 in IPv6 is IPv4."""
    try:
        ip = sort(s)
    except ValueError:
        raise Bad("invalid") from None
    return getattr(ip, "ipv4_mapped", None) or ip


def unicast(ip):
    """Whether an address is one host's, and means it beyond itself and its link."""
    return not (ip.is_unspecified or ip.is_loopback or ip.is_multicast or ip.is_link_local or int(ip) == 2**32 - 1 and ip.version == 4)


def preface(raw):
    """The offer that comes before what a callee says."""
    need(len(raw) >= 2)
    n = int.from_bytes(raw[:2], "big")
    need(n <= KIB, "too_large")
    need(len(raw) >= 2 + n)
    return {"offer": base64.b64encode(raw[2:2 + n]).decode(), "rest": base64.b64encode(raw[2 + n:]).decode()}


def sized(raw):
    """Bytes as the vectors have them where they may be many."""
    return {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def framed(raw):
    """The messages of a direction."""
    out = []
    while raw:
        need(len(raw) >= 4)
        n = int.from_bytes(raw[:4], "big")
        need(n <= KIB * KIB, "too_large")
        need(len(raw) >= 4 + n)
        out.append(sized(raw[4:4 + n]))
        raw = raw[4 + n:]
    return {"messages": out}


# Nearby (§15).


class Hello(statements.Statement):
    """Who a peer says that it is."""

    def __init__(self, signed):
        super().__init__("hello", signed, 512, "Hello")
        h = self.says
        self.time, self.expires, self.of = statements.when(h["time"]), statements.when(h["expires"]), statements.who(h["address"])
        need(len(h["peer"]) == 16 and 1 <= h["port"] <= 65535)

    def fits(self, peer, port, now):
        """Checks that it is of the datagram that it came in, and of now."""
        need(self.says["peer"] == peer and self.says["port"] == port)
        need(self.time < self.expires <= self.time + 10 * statements.MINUTE)
        need(self.time - 2 * statements.MINUTE <= now <= self.expires + 2 * statements.MINUTE)


def hello(cards, raw, peer, port, now):
    """Verifies a hello."""
    c, h = statements.chain(cards), Hello(statements.signed(raw))
    h.fits(peer, port, now)
    need(h.of == c.address)
    c.signs(h, h.says["card_id"])
    return {"address": h.of, "time": h.time, "expires": h.expires}


def datagram(raw):
    """What a peer says of itself."""
    need(len(raw) <= KIB, "too_large")
    p = wire.parse("NearbyPeer", raw)
    need(p["id"] is not None and len(p["id"]["value"]) == 16 and 1 <= p["port"] <= 65535)
    h = p["id"]["value"].hex()
    out = {"id": f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}", "port": p["port"], "answer": p["answer"]}
    if p["is_public_ip"]:
        ip = place(ipaddress.ip_address, p["ip"])
        need("%" not in p["ip"] and unicast(ip))
        out["public"] = str(ip)
    need(len(p["beacon"]) in (0, 16))
    if p["beacon"]:
        out["beacon"] = base64.b64encode(p["beacon"]).decode()
    if p["hello"] is not None:
        out["hello"] = Hello(p["hello"]).of
    return out


def secret(label, address, period):
    """16 bytes that those who know an address recognise."""
    said = b"airdispatch/1 " + label + b"\n" + period.to_bytes(8, "big")
    return hmac.new(text.parse_address(address), said, "sha256").digest()[:16]


def shown_by(address, period):
    """What a hidden peer shows in its datagrams."""
    return secret(b"nearby beacon", address, period)


def knock(address, period):
    """The server name by which one asks for a hidden peer."""
    return secret(b"nearby knock", address, period).hex() + ".invalid"


def beacon(address, now):
    """What a hidden peer says of itself, and how it is asked for."""
    at = now // (10 * statements.MINUTE)
    return {"beacon": base64.b64encode(shown_by(address, at)).decode(), "knock": knock(address, at)}


def around(address, now, make, said, reason):
    """Finds what was said among that of these ten minutes, those before and those after."""
    at = now // (10 * statements.MINUTE)
    need(said in [make(address, at + i) for i in (-1, 0, 1)], reason)
    return {}


# Whispernet (§16).

TEXTS = {"ID": "id", "Addr": "addr", "Body": "body", "FileType": "file_type", "omitempty": "old", "Nick": "nick", "FileContents": "file"}


class Said:
    """One object of Whispernet."""

    def __init__(self, raw):
        self.members = o = loads(raw, dict)
        need(isinstance(o, dict) and len(o) <= 64)
        for key, name in TEXTS.items():
            v = o.get(key)
            need(v is None or isinstance(v, str))
            setattr(self, name, v or "")
        stamp = o.get("Timestamp")
        need(stamp is None or isinstance(stamp, int) and not isinstance(stamp, bool) and -2**63 <= stamp < 2**63)
        self.time = stamp or 0
        self.nick = (self.nick or self.old)[:64]
        need(len(self.id.encode()) <= 128 and len(self.addr.encode()) <= 128)
        self.file = unbase64(self.file)
        need(len(self.file) <= 512 * KIB)
        if self.id.startswith("hash:sha256:"):
            need(hashlib.sha256((self.addr + self.body + str(self.time)).encode()).hexdigest() == self.id[12:].lower())
        self.extend(o.get("Whisper"))

    def extend(self, e):
        """Reads what only peers of our kind understand."""
        need(e is None or isinstance(e, dict))
        e = e or {}
        self.kind, self.place = e.get("Kind") or "", e.get("Addr") or ""
        self.ids, self.know, self.is_old = e.get("IDs"), e.get("Know"), e.get("Old") or False
        for v in (self.kind, self.place, e.get("Chain") or "", e.get("Signature") or ""):
            need(isinstance(v, str))
        need(isinstance(self.is_old, bool) and len(self.place.encode()) <= 128)
        for some in (self.ids or [], self.know or []):
            need(isinstance(some, list) and len(some) <= 128)
            need(all(isinstance(x, str) and len(x.encode()) <= 128 for x in some))
        self.chain, self.signature = unbase64(e.get("Chain") or ""), unbase64(e.get("Signature") or "")

    def says(self):
        """What the vectors want to know."""
        if self.kind:
            return {"kind": self.kind, "addr": self.place, "ids": self.ids, "know": self.know, "old": self.is_old}
        return {"id": self.id, "addr": self.addr, "nick": self.nick, "body": self.body, "timestamp": str(self.time), "file_type": self.file_type,
                "file": base64.b64encode(self.file).decode()}

    def passed_on(self):
        """The object as it goes to peers of the original."""
        out = {k: v for k, v in self.members.items() if k != "Whisper"}
        for key in ("omitempty", "Nick"):
            if self.nick:
                out.setdefault(key, self.nick)
        return {"object": out}

    def signed(self):
        """Who has signed it."""
        if not self.signature:
            return {"from": ""}
        try:
            need(len(self.signature) == 33 + 64 and len(self.chain) <= 64 * KIB)
            chain = statements.Chain([statements.Card(c) for c in wire.parse("Identity", self.chain)["cards"]])
            key = self.signature[:33]
            statements.key(key)
            need(key in chain.head.says["signers"] and not chain.head.closed)
            body = b""
            for part in (self.id.encode(), self.addr.encode(), self.nick.encode(), self.body.encode(), (self.time % 2**64).to_bytes(8, "big"),
                         self.file_type.encode(), hashlib.sha256(self.file).digest()):
                body += len(part).to_bytes(8, "big") + part
            need(curves.verify(key[1:], self.signature[33:], b"airdispatch/1 whisper\n" + body))
        except Bad:
            raise Bad("bad_signature") from None
        return {"from": chain.address}


def marked(name, addr):
    """Whether an id is one that peers of our kind make."""
    if not re.fullmatch("[0-9a-fA-F]{16}", name):
        return {"ours": False}
    raw = bytes.fromhex(name)
    said = b"airdispatch whisper " + raw[:5] + b" " + addr.encode()
    return {"ours": hashlib.sha256(said).digest()[:3] == raw[5:]}


def stream(raw):
    """How many JSON values a connection brought."""
    n, at = 0, 0
    decoder = json.JSONDecoder(parse_constant=nothing)
    while at < len(raw):
        if raw[at] in " \t\r\n":
            at += 1
            continue
        try:
            _, at = decoder.raw_decode(raw, at)
        except ValueError:
            raise Bad("invalid") from None
        n += 1
    return {"values": n}


# MessagePasser (§17).


def message(meta, other, connection, data):
    """Judges a message, and shows it."""
    need(len(other) <= 64 and len(connection) <= 128 and len(data) <= KIB * KIB, "too_large")
    try:
        other, connection = other.decode(), connection.decode()
    except UnicodeDecodeError:
        raise Bad("invalid") from None
    need(0 <= meta <= 255 and other.isprintable() and connection.isprintable())
    return {"meta": meta, "other_client": other, "connection_id": connection} | sized(data)


class Gob:
    """A frame in gob that is being read."""

    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def cut(self, n):
        """The next bytes."""
        need(self.at + n <= len(self.raw))
        self.at += n
        return self.raw[self.at - n:self.at]

    def number(self):
        """One byte below 128, or the count of bytes, negated, and these."""
        first = self.cut(1)[0]
        if first < 128:
            return first
        need(256 - first <= 8)
        return int.from_bytes(self.cut(256 - first), "big")

    def whole(self):
        """A number with a sign, in its lowest bit."""
        n = self.number()
        return ~(n >> 1) if n & 1 else n >> 1

    def bytes(self):
        """A length and bytes."""
        return self.cut(self.number())

    def fields(self):
        """The numbers of the fields that are there; each value is to be read before the next."""
        at = -1
        while step := self.number():
            at += step
            yield at

    def pair(self):
        """A struct of a name and a number, which is that of a type."""
        out = {}
        for f in self.fields():
            need(f < 2)
            out[f] = self.whole() if f else self.bytes()
        need(len(out) == 2)
        return out[0], out[1]

    def definition(self):
        """The number under which the one type is defined."""
        number = -self.whole()
        need(64 <= number <= 1048576)
        parts = {}
        for outer in self.fields():
            need(outer == 2)
            for f in self.fields():
                need(f < 2)
                parts[f] = [self.pair() for _ in range(self.number())] if f else self.pair()
        need(len(parts) == 2 and len(parts[0][0]) <= 32 and parts[0][1] == number)
        need(parts[1] == [(b"Meta", 3), (b"OtherClient", 6), (b"ConnectionID", 6), (b"Data", 5)])
        return number

    def message(self, number):
        """A value of the type."""
        need(self.whole() == number)
        out = [0, b"", b"", b""]
        for f in self.fields():
            need(f < 4)
            out[f] = self.bytes() if f else self.number()
        need(self.at == len(self.raw) and out[0] < 256)
        return message(*out)


def gob(raw):
    """The messages of a direction in gob."""
    known, out, all_of_it = None, [], Gob(raw)
    while all_of_it.at < len(raw):
        n = all_of_it.number()
        need(known or n <= 122)
        need(n <= 2 * KIB * KIB, "too_large")
        one = Gob(all_of_it.cut(n))
        if known:
            out.append(one.message(known))
        else:
            known = one.definition()
            need(one.at == len(one.raw))
    return {"messages": out}


def passed(raw):
    """The messages of a direction in JSON."""
    out, at = [], 0
    decoder = json.JSONDecoder(parse_constant=nothing)
    while at < len(raw):
        if raw[at] in " \t\r\n":
            at += 1
            continue
        need(raw[at] == "{")
        try:
            o, at = decoder.raw_decode(raw, at)
        except ValueError:
            raise Bad("invalid") from None
        need(set(o) <= {"Meta", "OtherClient", "ConnectionID", "Data"})
        meta = o.get("Meta") if o.get("Meta") is not None else 0
        need(isinstance(meta, int) and not isinstance(meta, bool))
        texts = [o.get(k) if o.get(k) is not None else "" for k in ("OtherClient", "ConnectionID", "Data")]
        need(all(isinstance(t, str) for t in texts))
        out.append(message(meta, texts[0].encode(), texts[1].encode(), unbase64(texts[2])))
    return {"messages": out}


def told(raw):
    """The framing that the first byte tells."""
    return {"framing": "json" if raw[:1] in (b"{", b" ", b"\t", b"\r", b"\n") else "gob"}


def check_name(name):
    """Judges the name of an account."""
    need(1 <= len(name.encode()) <= 64 and ":" not in name and " " not in name and name.isprintable())
    try:
        text.parse_address(name)
    except Bad:
        return {}
    raise Bad("invalid")

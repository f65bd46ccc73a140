"""Statements of the second reader: cards, chains, routes, tickets, answers, names, receipts, access (docs/protocol.md §2 to §6, §10.1)."""

import base64
import re

import curves
import mlkem
import wire
from text import address, host_url, need, tagged, user_name
from wire import Bad

DAY = 24 * 3600 * 1000
MINUTE = 60 * 1000
LAST = 253402300799999
KIB = 1024
SMALL_X = {0, 1, 2**255 - 20, 325606250916557431795983626356110631294008115727848805560023387167927233504,
           39382357235489614581723060781553021112529911719440698176882885853963445705823}


def key(raw):
    """Judges a verification key."""
    need(len(raw) == 33)
    need(raw[0] == 1, "unsupported")
    need(curves.sound(raw[1:]))


def box(kind, raw):
    """The id of a box; None for a kind that is not known."""
    if kind not in (1, 2):
        return None
    need(len(raw) == (32 if kind == 1 else 1216))
    need(kind == 1 or all(v < 3329 for i in range(0, 1152, 384) for v in mlkem.coefficients(raw[i:i + 384])))
    need(int.from_bytes(raw[-32:], "little") % 2**255 % curves.P not in SMALL_X)
    return tagged("box", bytes([kind]), raw)[:16]


def when(ms):
    """Judges a time."""
    need(0 <= ms <= LAST)
    return ms


def who(raw):
    """Judges an address on the wire."""
    return address(raw)


class Statement:
    """A statement whose signature was not looked at yet."""

    def __init__(self, kind, signed, limit, shape):
        need(signed is not None)
        self.kind, self.body, self.key, self.signature = kind, signed["body"], signed["key"], signed["signature"]
        need(len(self.body) <= limit, "too_large")
        need(len(self.signature) == 64)
        key(self.key)
        self.id = tagged("id " + kind, self.body)
        self.says = wire.parse(shape, self.body) if shape else None

    def verify(self):
        """Checks the signature."""
        text = b"airdispatch/1 " + self.kind.encode() + b"\n" + self.body
        need(curves.verify(self.key[1:], self.signature, text), "bad_signature")


class Card(Statement):
    """One state of an identity."""

    def __init__(self, signed):
        super().__init__("card", signed, 16 * KIB, "Card")
        c = self.says
        for part, most in (("rotation", 4), ("signers", 16)):
            need(1 <= len(c[part]) <= most and len(set(c[part])) == len(c[part]))
            for k in c[part]:
                key(k)
        need(1 <= len(c["boxes"]) <= 4)
        self.boxes = [(b["kind"], b["key"], box(b["kind"], b["key"])) for b in c["boxes"]]
        need(len({(b[0], b[1]) for b in self.boxes}) == len(self.boxes))
        when(c["time"])
        need(1 <= c["role"] <= 3)
        self.seq, self.prev, self.rank, self.role, self.closed = c["seq"], c["prev"], c["rank"], c["role"], c["closed"]
        need(len(self.prev) == (32 if self.seq else 0))

    def follows(self, before):
        """Checks what a next card must hold, or a genesis card."""
        if before is None:
            need(self.seq == 0)
        else:
            need(self.seq == before.seq + 1)
            need(self.prev == before.id, "conflict")
            need(self.role == before.role and not before.closed)
        keys = (before or self).says["rotation"]
        need(self.rank < 4)
        need(self.rank < len(keys) and self.key == keys[self.rank], "bad_signature")
        self.verify()


class Chain:
    """Verified cards."""

    def __init__(self, cards):
        need(1 <= len(cards) <= 256)
        for before, card in zip([None] + cards, cards):
            card.follows(before)
        self.cards = cards
        self.head = cards[-1]
        self.raw = b"\0" + cards[0].id[:25]
        self.address = address(self.raw)

    def says(self):
        """What the vectors want to know."""
        return {"address": self.address, "ids": [c.id.hex() for c in self.cards],
                "role": ("user", "server", "tracker")[self.head.role - 1], "closed": self.head.closed}

    def signs(self, statement, card_id=None):
        """Checks that a device key signs for now, and the signature."""
        cards = [self.head]
        if card_id is not None:
            cards = [c for c in self.cards if c.id == card_id]
            need(cards, "need_bundle")
            cards.append(self.head)
        need(all(statement.key in c.says["signers"] for c in cards), "bad_signature")
        need(not self.head.closed, "denied")
        statement.verify()

    def seq(self, card_id):
        """The number of a card."""
        return next(c.seq for c in self.cards if c.id == card_id)


def signed(raw):
    """A frame that is serialised by itself."""
    return wire.parse("Signed", raw)


def chain(raws):
    """A chain of serialised frames."""
    return Chain([Card(signed(r)) for r in raws])


def branch(known, frames):
    """A chain from cards on top of one that is known, or instead of it."""
    cards = [Card(f) for f in frames]
    if not cards:
        need(known is not None, "invalid")
        return known
    if cards[0].seq == 0:
        out = Chain(cards)
        need(known is None or out.raw == known.raw)
        return out
    need(known is not None and cards[0].seq <= len(known.cards), "need_bundle")
    below = known.cards[:cards[0].seq]
    need(below[-1].id == cards[0].prev, "need_bundle")
    return Chain(below + cards)


def compare(held, seen, offered, offered_seen):
    """How an offered chain stands to the held one, and whether they disagree."""
    need(held.raw == offered.raw)
    n = 0
    while n < min(len(held.cards), len(offered.cards)) and held.cards[n].id == offered.cards[n].id:
        n += 1
    if n == len(held.cards) or n == len(offered.cards):
        size = len(offered.cards) - len(held.cards)
        return {"standing": "newer" if size > 0 else "older" if size else "same", "disagree": False}
    a, b = held.cards[n], offered.cards[n]
    at, bt = (s[n] if n < len(s) else None for s in (seen, offered_seen))
    if at is None or bt is None:
        wins = False
    elif a.rank != b.rank:
        wins = bt - at < 7 * DAY if b.rank < a.rank else at - bt >= 7 * DAY
    else:
        wins = (bt, b.id) < (at, a.id)
    return {"standing": "wins" if wins else "loses", "disagree": True}


class Ticket(Statement):
    """A server's word that it hosts a user."""

    def __init__(self, frame):
        super().__init__("ticket", frame, KIB, "Ticket")
        t = self.says
        self.server, self.user, self.time, self.expires = who(t["server"]), who(t["user"]), when(t["time"]), when(t["expires"])
        need(self.expires > self.time)

    def check(self, server, now):
        """Checks it against the server's cards."""
        need(server.address == self.server and server.head.role == 2)
        need(self.time <= now + 10 * MINUTE, "clock")
        need(self.expires > now, "expired")
        server.signs(self)


def purposes(r, address_of):
    """The services of a user's route."""
    need(not r["hosts"] and len(r["services"]) <= 4)
    out = []
    for s in r["services"]:
        need(1 <= s["purpose"] <= 4)
        server, ticket = who(s["server"]), Ticket(s["ticket"])
        need(ticket.server == server and ticket.user == address_of)
        out.append({"purpose": s["purpose"], "server": server})
    return out


def route(c, frame):
    """Verifies a route against its chain."""
    s = Statement("route", frame, 8 * KIB, "Route")
    r = s.says
    of = who(r["address"])
    need(len(r["card_id"]) == 32 and when(r["time"]) < when(r["expires"]) <= r["time"] + 366 * DAY)
    need(of == c.address)
    services, hosts = [], []
    if c.head.role == 1:
        services = purposes(r, of)
    else:
        need(not r["services"] and 1 <= len(r["hosts"]) <= 4)
        for h in r["hosts"]:
            host_url(h["url"])
            need(not h["pin"] or len(h["pin"]) == 32 and any(h["pin"]))
            hosts.append({"url": h["url"], "pinned": bool(h["pin"])})
    c.signs(s, r["card_id"])
    return {"id": s.id.hex(), "address": of, "pair": [c.seq(r["card_id"]), r["seq"]], "time": r["time"], "expires": r["expires"],
            "services": services, "hosts": hosts}


def name(c, frame):
    """Verifies a name record against its tracker's chain."""
    s = Statement("name", frame, KIB, "NameRecord")
    n = s.says
    user_name(n["name"])
    need(who(n["tracker"]) == c.address and c.head.role == 3)
    out = {"name": n["name"], "address": who(n["address"]), "time": when(n["time"])}
    c.signs(s)
    return out


def identity(i, known=None):
    """Verifies a bundle."""
    need(not i["first_seen"] or len(i["first_seen"]) == len(i["cards"]))
    for t in i["first_seen"]:
        when(t)
    need(i["cards"] or i["route"])
    whole = i["cards"] and Card(i["cards"][0]).seq == 0
    need(whole or not i["first_seen"])
    if known is None and not whole:
        need(i["route"])
        raise Bad("need_bundle")
    c = branch(known, i["cards"])
    return c, route(c, i["route"]) if i["route"] is not None else None


def measured(raw):
    """Refuses an answer with more fields than it may have, before it is read."""
    parts = [f for f in wire.fields(raw)]
    need(len(parts) <= 64, "too_large")
    for number, sort, value, _ in parts:
        if number in (6, 7) and sort == 2:
            need(sum(1 for _ in wire.fields(value)) <= 768, "too_large")


def answer(c, frame, now, question=None, pin=None):
    """Verifies an answer to (address, name), or about the answerer itself (question None and c None)."""
    s = Statement("answer", frame, 3 * KIB * KIB, None)
    measured(s.body)
    a = s.says = wire.parse("Answer", s.body)
    tracker, time = who(a["tracker"]), when(a["time"])
    asked, called = question or (None, "")
    need((who(a["address"]) if a["address"] else None, a["name"]) == (asked, called))
    need((a["subject"] is not None) == a["found"] and len(a["servers"]) <= 4)
    need((a["name_record"] is not None) == bool(a["name"] and a["found"]))
    itself = not asked and not called
    need(a["found"] or not itself)
    need(time <= now + 10 * MINUTE, "clock")
    need(now <= time + 10 * MINUTE, "expired")
    subject = None
    if c is None:
        need(a["subject"]["cards"])
        subject = identity(a["subject"])
        need(pin in (None, subject[0].address), "bad_signature")
        c = subject[0]
    need(tracker == c.address and c.head.role in (2, 3))
    c.signs(s)
    if subject is None and a["subject"] is not None:
        subject = identity(a["subject"])
    if called and subject:
        asked = name(c, a["name_record"])
        need(asked["name"] == called)
        asked = asked["address"]
    if itself:
        asked = tracker
    need(subject is None or subject[0].address == asked, "invalid" if called else "bad_signature")
    for i in a["servers"]:
        identity(i)
    out = {"tracker": tracker, "time": time, "found": a["found"], "stale": a["stale"], "servers": len(a["servers"])}
    if subject:
        out["subject"] = subject[0].says()
    return out


def access(text, cards, audience, now):
    """Verifies a header of access."""
    scheme, _, raw = text.partition(" ")
    need(scheme.lower() == "airdispatch", "unauthenticated")
    need(len(raw) <= 2 * KIB, "too_large")
    need(re.fullmatch("[A-Za-z0-9_-]+", raw, re.A) and len(raw) % 4 != 1)
    frame = base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4))
    need(base64.urlsafe_b64encode(frame).decode().rstrip("=") == raw)
    s = Statement("access", signed(frame), KIB, "Access")
    a = s.says
    of, server, time, expires = who(a["from"]), who(a["audience"]), when(a["time"]), when(a["expires"])
    need(len(a["card_id"]) == 32 and time < expires <= time + 10 * MINUTE)
    c = chain(cards)
    need(of == c.address and server == audience, "unauthenticated")
    need(a["card_id"] in [x.id for x in c.cards], "need_bundle")
    need(time - 2 * MINUTE <= now <= expires + 2 * MINUTE, "clock")
    c.signs(s, a["card_id"])
    return {"from": of, "time": time, "expires": expires}


def receipt(c, frame):
    """Verifies a receipt against its issuer's chain."""
    s = Statement("receipt", frame, KIB, "Receipt")
    r = s.says
    need(1 <= r["kind"] <= 5 and len(r["id"]) == 32)
    out = {"issuer": who(r["issuer"]), "kind": r["kind"], "id": r["id"].hex(), "accepted_at": when(r["accepted_at"]),
           "epoch": r["epoch"], "log_seq": r["log_seq"]}
    if r["for"]:
        out["for"] = who(r["for"])
    need(("for" in out) == (r["kind"] in (2, 4, 5)) and (r["kind"] != 5 or out["for"] == out["issuer"]))
    need(out["issuer"] == c.address)
    c.signs(s)
    return out

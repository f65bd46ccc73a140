"""The second reader: checks test vectors of Airdispatch, with nothing but Python's standard library.

It was written from docs/protocol.md and the RFCs that it names, and shares nothing with the Go program. Called with files
of vectors it prints one line of JSON for each case: file, name, whether it agrees, and what it found where it does not.
"""

import base64
import hashlib
import json
import pathlib
import sys

import doors
import messages
import statements
import text
import wire
from wire import Bad


class Case:
    """The inputs of a case, decoded."""

    BYTES = {"bytes", "statement", "next", "identity", "key", "context", "payload", "connection", "token", "peer", "beacon"}
    LISTS = {"cards", "other_cards", "slots"}

    def __init__(self, given):
        self.given = given

    def __getattr__(self, name):
        v = self.given.get(name)
        if name in self.BYTES:
            return base64.b64decode(v or "")
        if name in self.LISTS:
            return [base64.b64decode(x or "") for x in v or []]
        if name == "boxes":
            return [(b["kind"], base64.b64decode(b["seed"])) for b in v or []]
        return v if v is not None else {"now": 0, "size": 0, "seen": [], "other_seen": []}.get(name, "")

    def plain(self):
        """The bytes given, or as many as said, counting up."""
        return bytes(i & 255 for i in range(self.size)) if self.size else self.bytes

    def filled(self):
        """The bytes given, and zeros up to the size."""
        return self.bytes + bytes(max(0, self.size - len(self.bytes)))

    def chain(self):
        """The chain of the cards."""
        return statements.chain(self.cards)

    def frame(self):
        """The statement's frame."""
        return statements.signed(self.statement)

    def head(self):
        """The statement as a head."""
        return messages.Head(self.chain(), self.frame())

    def read_slots(self):
        """The slots."""
        return [wire.parse("Slot", s) for s in self.slots]

    def question(self):
        """Address and name of the question."""
        return (messages.address_of(self.address) if self.address else None, self.name)


def b64(raw):
    """Bytes as the vectors have them; none are null."""
    return base64.b64encode(raw).decode() if raw else None


def statement(c):
    """A frame under a kind."""
    s = statements.Statement(c.kind, c.frame(), 16 * 1024, "NameRecord")
    s.verify()
    return {"id": s.id.hex()}


def verify_key(c):
    """A verification key."""
    statements.key(c.key)
    return {}


def box(c):
    """A box."""
    found = statements.box(c.size, c.key)
    return {"passed_over": True} if found is None else {"id": found.hex()}


def checked(check):
    """An operation that only judges a name."""
    def run(c):
        check(c.given.get("name", ""))
        return {}
    return run


def parse_reference(c):
    """A reference."""
    url, whole = text.reference(c.text)
    return {"url": url, "text": whole}


def compare(c):
    """Two chains."""
    return statements.compare(c.chain(), c.seen, statements.chain(c.other_cards), c.other_seen)


def branch(c):
    """Cards on top of a chain."""
    return statements.branch(c.chain(), [statements.signed(r) for r in c.other_cards]).says()


def open_identity(c):
    """A bundle."""
    chain, route = statements.identity(wire.parse("Identity", c.identity), c.chain() if c.cards else None)
    return chain.says() | {"pair": route["pair"] if route else [chain.head.seq, 0]}


def ticket(c):
    """A ticket."""
    t = statements.Ticket(c.frame())
    t.check(c.chain(), c.now)
    return {"server": t.server, "user": t.user, "expires": t.expires}


def open_self_answer(c):
    """An answer about the answerer."""
    return statements.answer(None, c.frame(), c.now, None, messages.address_of(c.address) if c.address else None)


def check_next(c):
    """Two heads."""
    c.head().followed(messages.Head(c.chain(), statements.signed(c.next)))
    return {}


def check_slots(c):
    """A head and its slots."""
    c.head().slots(c.read_slots())
    return {}


def open_message(c):
    """A whole message."""
    head, reader, slots = c.head(), statements.chain(c.other_cards), c.read_slots()
    return messages.open_message(head, reader.address, c.boxes, slots[0] if slots else None, c.payload)


def seal_payload(c):
    """A payload sealed."""
    sealed = messages.seal_payload(messages.derive(c.key, c.context)[0], c.plain())
    out = {"size": len(sealed), "sha256": hashlib.sha256(sealed).hexdigest()}
    return out | ({"payload": b64(sealed)} if len(sealed) <= 512 else {})


OPS = {
    "parse_address": lambda c: {"bytes": b64(text.parse_address(c.text))},
    "address_from_bytes": lambda c: {"address": text.address(c.bytes)},
    "parse_target": lambda c: text.target(c.text),
    "parse_reference": parse_reference,
    "check_user_name": checked(text.user_name), "check_post_name": checked(text.post_name),
    "named_mid": lambda c: {"mid": text.named_mid(c.name).hex()},
    "parse_mid": lambda c: {"mid": text.parse_mid(c.text).hex()},
    "statement": statement, "verify_key": verify_key, "box": box,
    "open_chain": lambda c: c.chain().says(), "branch": branch, "compare": compare, "open_identity": open_identity,
    "open_route": lambda c: statements.route(c.chain(), c.frame()), "ticket": ticket,
    "open_name": lambda c: statements.name(c.chain(), c.frame()),
    "open_answer": lambda c: statements.answer(c.chain(), c.frame(), c.now, c.question()), "open_self_answer": open_self_answer,
    "access": lambda c: statements.access(c.text, c.cards, messages.address_of(c.address), c.now),
    "open_receipt": lambda c: statements.receipt(c.chain(), c.frame()),
    "open_head": lambda c: c.head().shown(), "check_next": check_next, "check_slots": check_slots, "open": open_message,
    "derive": lambda c: {"commit": messages.derive(c.key, c.context)[1].hex()}, "seal_payload": seal_payload,
    "open_payload": lambda c: {"bytes": b64(messages.open_payload(messages.derive(c.key, c.context)[0], c.payload))},
    "pad": lambda c: {"bytes": b64(messages.pad(c.bytes))}, "unpad": lambda c: {"bytes": b64(messages.unpad(c.bytes))},
    "blob_id": lambda c: {"id": messages.blob_id(c.plain()).hex(), "size": len(c.plain())},
    "parse_content": lambda c: messages.content(c.bytes),
    "attachment_name": lambda c: {"text": text.file_name(c.text)},
    "frame": lambda c: doors.frame(c.form, c.text.encode() if c.form == "json" else c.filled()),
    "handshakes": lambda c: doors.handshakes(c.connection, c.leaves), "direct_handshake": lambda c: {"name": "ad-direct/1/" + c.token.hex()},
    "offer": lambda c: doors.offer(c.filled()), "preface": lambda c: doors.preface(c.filled()), "messages": lambda c: doors.framed(c.filled()),
    "datagram": lambda c: doors.datagram(c.filled()), "hello": lambda c: doors.hello(c.cards, c.statement, c.peer, c.port, c.now),
    "beacon": lambda c: doors.beacon(c.address, c.now),
    "recognise": lambda c: doors.around(c.address, c.now, doors.shown_by, c.beacon, "not_found"),
    "knocked": lambda c: doors.around(c.address, c.now, doors.knock, c.knock, "denied"),
    "object": lambda c: doors.Said(c.text).says(), "passed_on": lambda c: doors.Said(c.text).passed_on(), "signed": lambda c: doors.Said(c.text).signed(),
    "stream": lambda c: doors.stream(c.text), "marked": lambda c: doors.marked(c.id, c.addr),
    "gob": lambda c: doors.gob(c.filled()), "json": lambda c: doors.passed(c.text), "told": lambda c: doors.told(c.bytes),
    "check_name": lambda c: doors.check_name(c.given.get("name", "")),
}


def empty(v):
    """One spelling for no bytes: the vectors have an empty string or null."""
    if isinstance(v, dict):
        return {k: empty(x) for k, x in v.items()}
    if isinstance(v, list):
        return [empty(x) for x in v]
    return None if v == "" else v


def judge(vector):
    """Whether this reader agrees with a vector, and what it found."""
    try:
        found = OPS[vector["op"]](Case(vector["in"]))
    except Bad as e:
        return vector.get("error") == str(e), str(e)
    return "error" not in vector and empty(found) == empty(vector["want"]), found


def main():
    """Judges all vectors of the files given."""
    for path in map(pathlib.Path, sys.argv[1:]):
        for vector in json.loads(path.read_text(encoding="utf-8")):
            agrees, found = judge(vector)
            room = "" if path.parent.name == "vectors" else path.parent.name + "/"
            line = {"file": room + path.stem, "name": vector["name"], "agrees": agrees}
            print(json.dumps(line if agrees else line | {"found": found}))


if __name__ == "__main__":
    main()

"""Protocol Buffers of the second reader: the wire format, and the shapes of wire/airdispatch/v1/*.proto that the vectors need."""


class Bad(Exception):
    """A refusal: its reason."""


SHAPES = {
    "Signed": {1: ("body", "bytes"), 2: ("key", "bytes"), 3: ("signature", "bytes")},
    "Box": {1: ("kind", "u32"), 2: ("key", "bytes")},
    "Card": {1: ("seq", "u64"), 2: ("prev", "bytes"), 3: ("rotation", "bytes*"), 4: ("signers", "bytes*"), 5: ("boxes", "Box*"),
             6: ("time", "i64"), 7: ("role", "i32"), 8: ("closed", "bool"), 9: ("rank", "u32")},
    "Ticket": {1: ("server", "bytes"), 2: ("user", "bytes"), 3: ("time", "i64"), 4: ("expires", "i64")},
    "Service": {1: ("purpose", "i32"), 2: ("server", "bytes"), 3: ("ticket", "Signed")},
    "Host": {1: ("url", "text"), 2: ("pin", "bytes")},
    "Route": {1: ("address", "bytes"), 2: ("card_id", "bytes"), 3: ("seq", "u64"), 4: ("time", "i64"), 5: ("expires", "i64"),
              6: ("services", "Service*"), 7: ("hosts", "Host*")},
    "NameRecord": {1: ("tracker", "bytes"), 2: ("name", "text"), 3: ("address", "bytes"), 4: ("time", "i64")},
    "Identity": {1: ("cards", "Signed*"), 2: ("route", "Signed"), 3: ("first_seen", "i64*")},
    "Answer": {1: ("tracker", "bytes"), 2: ("time", "i64"), 3: ("address", "bytes"), 4: ("name", "text"), 5: ("found", "bool"),
               6: ("subject", "Identity"), 7: ("servers", "Identity*"), 8: ("stale", "bool"), 9: ("name_record", "Signed")},
    "Binding": {1: ("from", "bytes"), 2: ("card_id", "bytes"), 3: ("mid", "bytes"), 4: ("version", "u64"), 5: ("prev", "bytes"),
                6: ("time", "i64"), 7: ("kind", "i32"), 8: ("audience", "i32"), 9: ("to", "bytes*"), 10: ("suite", "u32"),
                11: ("contract", "i32"), 12: ("expires", "i64"), 13: ("name", "text")},
    "Head": {1: ("binding", "bytes"), 2: ("payload_hash", "bytes"), 3: ("payload_len", "u64"), 4: ("commit", "bytes")},
    "Slot": {1: ("address", "bytes"), 2: ("box", "bytes"), 3: ("sealed", "bytes")},
    "Component": {1: ("type", "text"), 2: ("data", "bytes"), 3: ("blob", "Attachment")},
    "Attachment": {1: ("name", "text"), 2: ("media_type", "text"), 3: ("size", "u64"), 4: ("hash", "bytes"), 5: ("key", "bytes")},
    "Content": {1: ("components", "Component*"), 2: ("attachments", "Attachment*")},
    "Access": {1: ("from", "bytes"), 2: ("card_id", "bytes"), 3: ("audience", "bytes"), 4: ("time", "i64"), 5: ("expires", "i64")},
    "Receipt": {1: ("issuer", "bytes"), 2: ("kind", "i32"), 3: ("id", "bytes"), 4: ("accepted_at", "i64"), 5: ("epoch", "u64"),
                6: ("log_seq", "u64"), 7: ("for", "bytes")},
    "Refusal": {1: ("reason", "i32"), 2: ("server_time", "i64"), 3: ("address", "bytes")},
    "LiveFrame": {1: ("hello", "LiveHello"), 2: ("welcome", "LiveWelcome"), 3: ("refusal", "Refusal"), 4: ("serve", "LiveServe"), 5: ("serving", "LiveServing"),
                  6: ("call", "LiveCall"), 7: ("answer", "LiveAnswer"), 8: ("data", "LiveData"), 9: ("credit", "LiveCredit"), 10: ("close", "LiveClose"),
                  11: ("resume", "LiveResume"), 12: ("ping", "LivePing"), 13: ("pong", "LivePing"), 14: ("direct", "LiveDirect")},
    "LiveHello": {1: ("session", "bytes"), 2: ("authorization", "text"), 3: ("bundle", "Identity")},
    "LiveWelcome": {1: ("address", "bytes"), 2: ("resume_for", "i64"), 3: ("direct", "bool")},
    "LiveServe": {1: ("protocols", "text*")},
    "LiveServing": {},
    "LiveCall": {1: ("connection", "bytes"), 2: ("from", "bytes"), 3: ("to", "bytes"), 4: ("protocol", "text"), 5: ("bundle", "Identity")},
    "LiveAnswer": {1: ("connection", "bytes"), 2: ("reason", "i32")},
    "LiveData": {1: ("connection", "bytes"), 2: ("offset", "u64"), 3: ("bytes", "bytes")},
    "LiveCredit": {1: ("connection", "bytes"), 2: ("consumed", "u64")},
    "LiveClose": {1: ("connection", "bytes"), 2: ("reason", "i32"), 3: ("offset", "u64")},
    "LiveResume": {1: ("connection", "bytes"), 2: ("received", "u64")},
    "LivePing": {},
    "LiveDirect": {1: ("connection", "bytes"), 2: ("step", "i32"), 3: ("received", "u64"), 4: ("consumed", "u64")},
    "LiveOffer": {1: ("candidates", "text*"), 2: ("token", "bytes")},
    "NearbyID": {1: ("value", "bytes")},
    "NearbyPeer": {1: ("id", "NearbyID"), 2: ("port", "i32"), 4: ("ip", "text"), 5: ("is_public_ip", "bool"), 16: ("hello", "Signed"), 17: ("beacon", "bytes"),
                   18: ("answer", "bool"), 19: ("padding", "bytes")},
    "Hello": {1: ("address", "bytes"), 2: ("card_id", "bytes"), 3: ("peer", "bytes"), 4: ("port", "i32"), 5: ("time", "i64"), 6: ("expires", "i64")},
}
EMPTY = {"bytes": b"", "text": "", "bool": False, "u32": 0, "u64": 0, "i32": 0, "i64": 0}
NUMBERS = {"bool": bool, "u32": lambda v: v & 2**32 - 1, "u64": int,
           "i32": lambda v: (v & 2**32 - 1 ^ 2**31) - 2**31, "i64": lambda v: (v ^ 2**63) - 2**63}


def varint(raw, at):
    """One number and where it ends."""
    out = 0
    for i in range(10):
        if at + i >= len(raw):
            break
        b = raw[at + i]
        if i == 9 and b > 1:
            break
        out |= (b & 127) << 7 * i
        if b < 128:
            return out, at + i + 1
    raise Bad("invalid")


def fields(raw, at=0, group=None):
    """Each field: number, sort, value, and where it ends. Groups are passed over."""
    while at < len(raw):
        tag, at = varint(raw, at)
        number, sort = tag >> 3, tag & 7
        if not 1 <= number < 2**29:
            raise Bad("invalid")
        if sort == 0:
            value, at = varint(raw, at)
        elif sort == 2:
            size, at = varint(raw, at)
            value, at = raw[at:at + size], at + size
        elif sort in (1, 5):
            value, at = None, at + (8 if sort == 1 else 4)
        elif sort == 3:
            value = None
            for inner in fields(raw, at, number):
                at = inner[3]
        elif sort == 4 and number == group:
            yield number, sort, None, at
            return
        else:
            raise Bad("invalid")
        if at > len(raw):
            raise Bad("invalid")
        yield number, sort, value, at
    if group is not None:
        raise Bad("invalid")


def blank(shape):
    """A message with nothing in it."""
    return {name: [] if sort.endswith("*") else EMPTY.get(sort) for name, sort in SHAPES[shape].values()}


def parse(shape, raw, into=None):
    """Reads a message; what a shape does not know is passed over."""
    out = blank(shape) if into is None else into
    for number, sort, value, _ in fields(raw):
        name, want = SHAPES[shape].get(number, (None, None))
        if name is None:
            continue
        many, want = want.endswith("*"), want.rstrip("*")
        if want in NUMBERS and many and sort == 2:
            at = 0
            while at < len(value):
                v, at = varint(value, at)
                out[name].append(NUMBERS[want](v))
            continue
        if sort != (0 if want in NUMBERS else 2):
            continue
        if want in NUMBERS:
            value = NUMBERS[want](value)
        elif want == "text":
            try:
                value = value.decode("utf-8")
            except UnicodeDecodeError:
                raise Bad("invalid") from None
        elif want != "bytes":
            value = parse(want, value, None if many else out[name])
        if many:
            out[name].append(value)
        else:
            out[name] = value
    return out


def length(n):
    """How many bytes a number takes."""
    return max(1, -(-(n & 2**64 - 1).bit_length() // 7))


def size(shape, message):
    """How many bytes a message takes; those of lists of numbers are packed."""
    out = 0
    for number, (name, sort) in SHAPES[shape].items():
        values, kind = message[name], sort.rstrip("*")
        if kind in NUMBERS:
            n = sum(length(int(v)) for v in values) if sort.endswith("*") else length(int(values)) if values else 0
            out += n and length(number << 3) + n + (length(n) if sort.endswith("*") else 0)
            continue
        for v in values if sort.endswith("*") else [values] if values not in (None, b"", "") else []:
            n = len(v) if kind == "bytes" else len(v.encode()) if kind == "text" else size(kind, v)
            out += length(number << 3) + length(n) + n
    return out

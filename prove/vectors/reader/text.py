"""Texts of the second reader: addresses, references, names and file names (docs/protocol.md §4, §7.8)."""

import hashlib
import ipaddress
import re
import urllib.parse

from wire import Bad

CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
EDGE = "[a-z0-9]"
PART = f"{EDGE}(?:[a-z0-9._-]*{EDGE})?"


def tagged(label, *parts):
    """Hash of §1."""
    return hashlib.sha256(b"airdispatch/1 " + label.encode() + b"\n" + b"".join(parts)).digest()


def need(ok, reason="invalid"):
    """Refuses unless something holds."""
    if not ok:
        raise Bad(reason)


def checksum(values):
    """The polynomial of BIP-173."""
    c = 1
    for v in values:
        top = c >> 25
        c = (c & 0x1FFFFFF) << 5 ^ v
        for i, g in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            c ^= g if top >> i & 1 else 0
    return c


HRP = [ord("a") >> 5, ord("d") >> 5, 0, ord("a") & 31, ord("d") & 31]
BECH32M = 0x2BC830A3


def address(raw):
    """The text of an address of 26 bytes."""
    need(len(raw) == 26 and raw[0] == 0 and any(raw))
    n = int.from_bytes(raw[1:], "big")
    values = [0] + [n >> 5 * i & 31 for i in range(39, -1, -1)]
    c = checksum(HRP + values + [0] * 6) ^ BECH32M
    return "ad1" + "".join(CHARSET[v] for v in values + [c >> 5 * i & 31 for i in range(5, -1, -1)])


def parse_address(text):
    """The 26 bytes of an address."""
    need(len(text) == 50 and text in (text.lower(), text.upper()))
    text = text.lower()
    need(text.startswith("ad1") and all(c in CHARSET for c in text[3:]))
    values = [CHARSET.index(c) for c in text[3:]]
    need(checksum(HRP + values) == BECH32M and values[0] == 0)
    n = 0
    for v in values[1:41]:
        n = n << 5 | v
    need(n)
    return b"\0" + n.to_bytes(25, "big")


def parse_mid(text):
    """The 16 bytes of a mid."""
    need(re.fullmatch("[0-9a-fA-F]{32}", text) and int(text, 16))
    return bytes.fromhex(text)


def user_name(text):
    """Judges the name of a user."""
    need(len(text) <= 32 and re.fullmatch(PART, text, re.A) and not text.startswith("ad1"))


def post_name(text):
    """Judges the name of a post."""
    need(len(text) <= 64 and re.fullmatch(f"{PART}(?:/{PART})*", text, re.A) and not re.fullmatch("[0-9a-f]{32}", text))


def named_mid(text):
    """The mid of a named post."""
    post_name(text)
    return tagged("name", text.encode())[:16]


def host(text):
    """Judges host[:port]."""
    m = re.fullmatch(r"(\[[^\[\]%]*\]|[^:\[\]]*)(?::([1-9][0-9]{0,4}))?", text, re.A)
    need(m and (m[2] is None or int(m[2]) < 65536))
    name = m[1]
    try:
        if name.startswith("["):
            ipaddress.IPv6Address(name[1:-1])
            return
        labels = name.lower().split(".")
        need(len(name) <= 253 and all(re.fullmatch("[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", l, re.A) for l in labels))
        if re.fullmatch("[0-9]+|0x[0-9a-f]*", labels[-1], re.A):
            ipaddress.IPv4Address(name)
    except ipaddress.AddressValueError:
        raise Bad("invalid") from None


def host_url(text):
    """Judges a URL of a host, as it is signed."""
    need(text.startswith("https://"))
    host(text[8:])


def reference(text):
    """A reference: its URL, and itself in the one spelling."""
    text, pinned, pin = text.strip(" \t\r\n\v\f").partition("#")
    url = text.removesuffix("/").lower()
    host_url(url)
    return url, url + ("#" + address(parse_address(pin)) if pinned else "")


def target(text):
    """What a person types."""
    need(len(text.encode()) <= 2000)
    out = {"host": "", "user_name": "", "post_name": "", "trackers": []}
    if text[:12].lower() == "airdispatch:":
        text, _, query = text[12:].partition("?")
        need(";" not in query and not re.search("%(?![0-9a-fA-F]{2})", query))
        for key, value in urllib.parse.parse_qsl(query, keep_blank_values=True):
            if key == "tracker":
                out["trackers"].append(reference(value)[1])
    if "@@" in text:
        who, _, where = text.partition("@@")
        out["address"], out["host"] = address(parse_address(who)), where.lower()
        host(out["host"])
    elif "@" in text:
        who, _, where = text.lower().partition("@")
        out["user_name"], out["host"] = who, where
        user_name(who)
        host(where)
    else:
        who, which, what = text.partition("::")
        out["address"] = address(parse_address(who))
        if which and re.fullmatch("[0-9a-fA-F]{32}", what):
            out["mid"] = parse_mid(what).hex()
        elif which:
            out["post_name"] = what.lower()
            post_name(out["post_name"])
    return out


UNSEEN = [(0, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180E, 0x180E),
          (0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF9, 0xFFFB),
          (0xE0000, 0xE0FFF)]


def file_name(text):
    """A harmless name for an attachment."""
    parts = [p for p in text.replace("\\", "/").split("/") if p]
    text = parts[-1] if parts else ("/" if text else "")
    text = "".join("_" if c in '/:*?"<>|' or any(a <= ord(c) <= b for a, b in UNSEEN) else c for c in text)
    text = text.lstrip(". ")
    if text.startswith("-") or re.fullmatch("con|prn|aux|nul|conin\\$|conout\\$|clock\\$|(com|lpt)[0-9¹²³]", text.lower().split(".")[0].rstrip(" ")):
        text = "_" + text
    while len(text.encode()) > 200:
        text = text[:-1]
    return text.rstrip(". ") or "attachment"

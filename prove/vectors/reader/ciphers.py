"""Ciphers of the second reader: ChaCha20-Poly1305, XSalsa20-Poly1305, HKDF and the boxes that use them
(RFC 8439, RFC 5869, RFC 9180, libsodium's sealed box)."""

import hashlib
import hmac
import struct

import curves
import mlkem

MASK = 0xFFFFFFFF
CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")


def _turn(v, n):
    return (v << n | v >> 32 - n) & MASK


def _chacha_rounds(s):
    for _ in range(10):
        for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                           (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            w, x, y, z = s[a], s[b], s[c], s[d]
            w = w + x & MASK
            z ^= w
            z = (z << 16 | z >> 16) & MASK
            y = y + z & MASK
            x ^= y
            x = (x << 12 | x >> 20) & MASK
            w = w + x & MASK
            z ^= w
            z = (z << 8 | z >> 24) & MASK
            y = y + z & MASK
            x ^= y
            x = (x << 7 | x >> 25) & MASK
            s[a], s[b], s[c], s[d] = w, x, y, z


def _salsa_rounds(s):
    for _ in range(10):
        for a, b, c, d in ((0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11),
                           (0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14)):
            s[b] ^= _turn(s[a] + s[d] & MASK, 7)
            s[c] ^= _turn(s[b] + s[a] & MASK, 9)
            s[d] ^= _turn(s[c] + s[b] & MASK, 13)
            s[a] ^= _turn(s[d] + s[c] & MASK, 18)


def _block(rounds, start):
    s = list(start)
    rounds(s)
    return struct.pack("<16I", *((a + b) & MASK for a, b in zip(s, start)))


def _xor(a, b):
    n = min(len(a), len(b))
    return (int.from_bytes(a[:n], "little") ^ int.from_bytes(b[:n], "little")).to_bytes(n, "little")


def chacha(key, nonce, first, size):
    """Key stream of ChaCha20 from a block on."""
    k, n = struct.unpack("<8I", key), struct.unpack("<3I", nonce)
    blocks = (_block(_chacha_rounds, CONSTANTS + k + (first + i,) + n) for i in range((size + 63) // 64))
    return b"".join(blocks)[:size]


def _salsa_start(key, middle):
    k = struct.unpack("<8I", key)
    return (CONSTANTS[0], *k[:4], CONSTANTS[1], *middle, CONSTANTS[2], *k[4:], CONSTANTS[3])


def hsalsa(key, nonce):
    """HSalsa20: a key from a key and 16 bytes."""
    s = list(_salsa_start(key, struct.unpack("<4I", nonce)))
    _salsa_rounds(s)
    return struct.pack("<8I", *(s[i] for i in (0, 5, 10, 15, 6, 7, 8, 9)))


def salsa(key, nonce, size):
    """Key stream of Salsa20 under 8 bytes of nonce."""
    n = struct.unpack("<2I", nonce)
    blocks = (_block(_salsa_rounds, _salsa_start(key, n + (i & MASK, i >> 32))) for i in range((size + 63) // 64))
    return b"".join(blocks)[:size]


def poly1305(key, text):
    """The tag of RFC 8439."""
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    a = 0
    for i in range(0, len(text), 16):
        a = (a + int.from_bytes(text[i:i + 16] + b"\1", "little")) * r % (2**130 - 5)
    return (a + int.from_bytes(key[16:], "little") & 2**128 - 1).to_bytes(16, "little")


def _aead_tag(key, nonce, sealed, aad):
    def padded(b):
        return b + bytes(-len(b) % 16)

    return poly1305(chacha(key, nonce, 0, 32), padded(aad) + padded(sealed) + struct.pack("<QQ", len(aad), len(sealed)))


def aead_seal(key, nonce, plain, aad=b""):
    """ChaCha20-Poly1305."""
    sealed = _xor(plain, chacha(key, nonce, 1, len(plain)))
    return sealed + _aead_tag(key, nonce, sealed, aad)


def aead_open(key, nonce, sealed, aad=b""):
    """ChaCha20-Poly1305; None where the tag does not fit."""
    if len(sealed) < 16 or _aead_tag(key, nonce, sealed[:-16], aad) != sealed[-16:]:
        return None
    return _xor(sealed[:-16], chacha(key, nonce, 1, len(sealed) - 16))


def extract(salt, ikm):
    """HKDF-Extract with SHA-256."""
    return hmac.digest(salt or bytes(32), ikm, "sha256")


def expand(prk, info, size):
    """HKDF-Expand with SHA-256."""
    out = block = b""
    while len(out) < size:
        block = hmac.digest(prk, block + info + bytes([len(out) // 32 + 1]), "sha256")
        out += block
    return out[:size]


def open_nacl(scalar, sealed):
    """A sealed box of libsodium."""
    if len(sealed) < 48:
        return None
    ephemeral, box = sealed[:32], sealed[32:]
    public = curves.x25519(scalar, curves.X_BASE)
    nonce = hashlib.blake2b(ephemeral + public, digest_size=24).digest()
    key = hsalsa(hsalsa(curves.x25519(scalar, ephemeral), bytes(16)), nonce[:16])
    stream = salsa(key, nonce[16:], 32 + len(box) - 16)
    if poly1305(stream[:32], box[16:]) != box[:16]:
        return None
    return _xor(box[16:], stream[32:])


def open_hybrid(seed, info, sealed):
    """HPKE in base mode with MLKEM768-X25519, HKDF-SHA256 and ChaCha20-Poly1305."""
    if len(sealed) < 1120:
        return None
    shared = mlkem.hybrid_decapsulate(seed, sealed[:1120])
    suite = b"HPKE" + bytes.fromhex("647a00010003")

    def labeled_extract(salt, label, ikm):
        return extract(salt, b"HPKE-v1" + suite + label + ikm)

    def labeled_expand(prk, label, about, size):
        return expand(prk, size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + about, size)

    about = b"\0" + labeled_extract(b"", b"psk_id_hash", b"") + labeled_extract(b"", b"info_hash", info)
    secret = labeled_extract(shared, b"secret", b"")
    key, nonce = labeled_expand(secret, b"key", about, 32), labeled_expand(secret, b"base_nonce", about, 12)
    return aead_open(key, nonce, sealed[1120:])

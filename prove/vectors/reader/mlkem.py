"""ML-KEM-768 (FIPS 203), as far as opening needs it, and its join with X25519 (X-Wing, HPKE KEM 0x647a)."""

import hashlib

import curves

Q, K = 3329, 3


def _reversed7(i):
    return int(f"{i:07b}"[::-1], 2)


ZETAS = [pow(17, _reversed7(i), Q) for i in range(128)]
GAMMAS = [pow(17, 2 * _reversed7(i) + 1, Q) for i in range(128)]


def _ntt(f):
    f, i, size = list(f), 1, 128
    while size >= 2:
        for start in range(0, 256, 2 * size):
            z, i = ZETAS[i], i + 1
            for j in range(start, start + size):
                t = z * f[j + size] % Q
                f[j], f[j + size] = (f[j] + t) % Q, (f[j] - t) % Q
        size //= 2
    return f


def _inverse(f):
    f, i, size = list(f), 127, 2
    while size <= 128:
        for start in range(0, 256, 2 * size):
            z, i = ZETAS[i], i - 1
            for j in range(start, start + size):
                t = f[j]
                f[j], f[j + size] = (t + f[j + size]) % Q, z * (f[j + size] - t) % Q
        size *= 2
    return [v * 3303 % Q for v in f]


def _product(a, b):
    out = []
    for i in range(128):
        x, y, u, v = a[2 * i], a[2 * i + 1], b[2 * i], b[2 * i + 1]
        out += [(x * u + y * v * GAMMAS[i]) % Q, (x * v + y * u) % Q]
    return out


def _sum(*all_of):
    return [sum(v) % Q for v in zip(*all_of)]


def _bits(raw, width):
    n = int.from_bytes(raw, "little")
    return [n >> width * i & (1 << width) - 1 for i in range(256)]


def coefficients(raw):
    """The numbers in a part of an encapsulation key."""
    return _bits(raw, 12)


def _pack(values, width):
    return sum(v << width * i for i, v in enumerate(values)).to_bytes(32 * width, "little")


def _compress(v, d):
    return ((v << d + 1) + Q) // (2 * Q) & (1 << d) - 1


def _decompress(v, d):
    return (v * Q * 2 + (1 << d)) >> d + 1


def _uniform(rho, i, j):
    raw, out = hashlib.shake_128(rho + bytes([j, i])).digest(1500), []
    for at in range(0, len(raw), 3):
        a, b, c = raw[at:at + 3]
        out += [v for v in (a + 256 * (b % 16), b // 16 + 16 * c) if v < Q]
    if len(out) < 256:
        raise ValueError("mlkem: unlikely")
    return out[:256]


def _noise(seed, n):
    bits = int.from_bytes(hashlib.shake_256(seed + bytes([n])).digest(128), "little")
    out = []
    for i in range(256):
        x = bits >> 4 * i
        out.append(((x & 1) + (x >> 1 & 1) - (x >> 2 & 1) - (x >> 3 & 1)) % Q)
    return out


def keys(d):
    """The secret vector and the encapsulation key of a seed."""
    g = hashlib.sha3_512(d + bytes([K])).digest()
    rho, sigma = g[:32], g[32:]
    s = [_ntt(_noise(sigma, i)) for i in range(K)]
    e = [_ntt(_noise(sigma, K + i)) for i in range(K)]
    t = [_sum(e[i], *(_product(_uniform(rho, i, j), s[j]) for j in range(K))) for i in range(K)]
    return s, b"".join(_pack(v, 12) for v in t) + rho


def encrypt(key, m, r):
    """K-PKE.Encrypt."""
    t = [_bits(key[384 * i:384 * i + 384], 12) for i in range(K)]
    rho = key[384 * K:]
    y = [_ntt(_noise(r, i)) for i in range(K)]
    u = [_sum(_inverse(_sum(*(_product(_uniform(rho, j, i), y[j]) for j in range(K)))), _noise(r, K + i)) for i in range(K)]
    mu = [_decompress(b, 1) for b in _bits(m, 1)]
    v = _sum(_inverse(_sum(*(_product(t[j], y[j]) for j in range(K)))), _noise(r, 2 * K), mu)
    return b"".join(_pack([_compress(x, 10) for x in p], 10) for p in u) + _pack([_compress(x, 4) for x in v], 4)


def decapsulate(d, z, ct):
    """The shared secret of a ciphertext of the right length."""
    s, key = keys(d)
    u = [_ntt([_decompress(v, 10) for v in _bits(ct[320 * i:320 * i + 320], 10)]) for i in range(K)]
    v = [_decompress(x, 4) for x in _bits(ct[960:], 4)]
    w = _sum(v, [-x for x in _inverse(_sum(*(_product(s[j], u[j]) for j in range(K))))])
    m = _pack([_compress(x, 1) for x in w], 1)
    g = hashlib.sha3_512(m + hashlib.sha3_256(key).digest()).digest()
    if encrypt(key, m, g[32:]) == ct:
        return g[:32]
    return hashlib.shake_256(z + ct).digest(32)


def hybrid_keys(seed):
    """Seeds and public key of a hybrid box."""
    raw = hashlib.shake_256(seed).digest(96)
    public = keys(raw[:32])[1] + curves.x25519(raw[64:], curves.X_BASE)
    return raw[:32], raw[32:64], raw[64:], public


def hybrid_decapsulate(seed, ct):
    """X-Wing's decapsulation."""
    d, z, scalar, public = hybrid_keys(seed)
    shared = decapsulate(d, z, ct[:1088]) + curves.x25519(scalar, ct[1088:]) + ct[1088:] + public[1184:]
    return hashlib.sha3_256(shared + b"\\.//^\\").digest()

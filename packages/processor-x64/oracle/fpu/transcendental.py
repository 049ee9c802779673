"""Exact results of the x87's transcendental functions, rounded to the nearest, by mpmath.

    python3 transcendental.py COUNT > tests/fpu/fixtures/transcendental.json

Angles are reduced by the 66 bits of pi that the processor has (Intel SDM 1, 8.3.8).
"""
import json
import random
import sys

from mpmath import atan2, cos, expm1, floor, fabs, frexp, log, mp, mpf, nint, sign, sin, tan

mp.prec = 400
PI66 = mpf(0x3243F6A8885A308D3) / mpf(2) ** 64
HALF = PI66 / 2


def decode(text):
    se, sig = int(text[:4], 16), int(text[4:], 16)
    value = mpf(sig) * mpf(2) ** (max(se & 0x7FFF, 1) - 16383 - 63)
    return -value if se & 0x8000 else value


def encode(value):
    se = 0x8000 if value < 0 else 0
    value = fabs(value)
    if value == 0:
        return "%04x%016x" % (se, 0)
    _, exponent = frexp(value)
    exponent = int(exponent) - 1
    sig = int(nint(value * mpf(2) ** (63 - exponent)))
    if sig == 1 << 64:
        sig >>= 1
        exponent += 1
    assert -16382 <= exponent <= 16383
    return "%04x%016x" % (se | (exponent + 16383), sig)


def number(low, high, signed=True):
    exponent = random.randint(low, high)
    sig = (1 << 63) | random.getrandbits(63)
    if random.random() < 0.3:
        sig &= ~((1 << random.randint(8, 60)) - 1)
    se = exponent + 16383
    if signed and random.random() < 0.5:
        se |= 0x8000
    return "%04x%016x" % (se, sig)


def reduced(x):
    n = nint(x / HALF)
    return x - n * HALF, int(n)


def turned(x, quarters):
    r, n = reduced(x)
    return [sin(r), cos(r), -sin(r), -cos(r)][(n + quarters) % 4]


def tangent(x):
    r, n = reduced(x)
    return tan(r) if n % 2 == 0 else -1 / tan(r)


def log2p1(x):
    return log(1 + x) / log(2)


FUNCTIONS = {
    "f2xm1": (lambda: number(-70, -1), lambda: number(0, 0), lambda x, y: expm1(x * log(2))),
    "fyl2x": (lambda: number(random.choice([-1, 0, -40, -16000]), random.choice([0, 0, 40, 16000]), False),
              lambda: number(-40, 40), lambda x, y: y * log(x) / log(2)),
    "fyl2xp1": (lambda: number(-70, -3), lambda: number(-40, 40), lambda x, y: y * log2p1(x)),
    "fsin": (lambda: number(*random.choice([(-70, 62), (-2, 3)])), lambda: number(0, 0), lambda x, y: turned(x, 0)),
    "fcos": (lambda: number(*random.choice([(-70, 62), (-2, 3)])), lambda: number(0, 0), lambda x, y: turned(x, 1)),
    "fptan": (lambda: number(*random.choice([(-70, 62), (-2, 3)])), lambda: number(0, 0), lambda x, y: tangent(x)),
    "fpatan": (lambda: number(-30, 30), lambda: number(-30, 30), lambda x, y: atan2(y, x)),
}

random.seed(1)
vectors = []
for name, (first, second, function) in FUNCTIONS.items():
    for _ in range(int(sys.argv[1])):
        x, y = first(), second()
        if decode(x) == 1 and name == "fyl2x":
            continue
        vectors.append([name, x, y, encode(function(decode(x), decode(y)))])
print("[\n" + ",\n".join(json.dumps(v) for v in vectors) + "\n]")

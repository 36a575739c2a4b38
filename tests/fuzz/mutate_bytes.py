"""Mutations of bytes of any format, and the numbers and texts that break parsers."""

from __future__ import annotations

from random import Random

#: Around the limits of the widths that formats use, and far beyond them.
NUMBERS = (
    0, 1, -1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 46, 47, 64, 127, 128, 255, 256, -128, -129, 32767, 65535, 65536,
    2**24, 2**24 + 1, 2**31 - 1, 2**31, -(2**31), 2**32 - 1, 2**32, 10**12, 2**53 + 1, 2**63 - 1, -(2**63),
)  # fmt: skip

TEXTS = (
    "", " ", "x", "y", "..", "../../outside", "/etc/passwd", "a/../b", "C:\\x", "\\\\host\\share", "a\x00b", "\x1b[31mred",
    "line\nline", "\u202eevil", "é" * 40, "名前", "\x9b0m", "n" * 2000, "%s%n", "{}", "__class__", "NaN", "model.onnx", "1e999",
)  # fmt: skip


def mutate_bytes(random: Random, data: bytes) -> bytes:
    """One change: bits, numbers, a cut, a repeated or foreign stretch."""
    changed = bytearray(data)
    kind = random.randrange(9)
    start = random.randrange(len(changed) + 1)
    length = min(random.choice((1, 2, 4, 8, 16, 64, 512)), len(changed) - start)
    if kind == 0 and changed:
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    elif kind == 1 and changed:
        for _ in range(random.randrange(1, 9)):
            changed[random.randrange(len(changed))] = random.randrange(256)
    elif kind == 2:
        del changed[start:]
    elif kind == 3:
        del changed[start : start + length]
    elif kind == 4:
        changed[start:start] = changed[start : start + length] * random.choice((1, 2, 50))
    elif kind == 5:
        width = random.choice((1, 2, 4, 8))
        number = random.choice(NUMBERS) % (1 << 8 * width)
        changed[start : start + width] = number.to_bytes(width, random.choice(("little", "big")))
    elif kind == 6:
        changed[start:start] = random.randbytes(random.choice((1, 4, 300)))
    elif kind == 7:
        other = random.randrange(len(changed) + 1)
        changed[start : start + length] = changed[other : other + length]
    else:
        return random.choice(
            (b"", b"\0", data[:1], data[: len(data) // 2], random.randbytes(64), data + data, b"\xff" * 100)
        )
    return bytes(changed)


def mutate_words(random: Random, data: bytes) -> bytes:
    """Aligned words of 32 bits, of which formats with offsets are made: another place of the file, a little off, or swapped."""
    changed = bytearray(data)
    words = len(changed) // 4
    for _ in range(random.choice((1, 1, 2, 6)) if words else 0):
        place = 4 * random.randrange(words)
        other = 4 * random.randrange(words)
        old = int.from_bytes(changed[place : place + 4], "little")
        new = random.choice(
            (
                random.randrange(len(changed)),
                old + random.choice((-8, -4, -1, 1, 4, 8)),
                -place,
                other - place,
                int.from_bytes(changed[other : other + 4], "little"),
                random.choice(NUMBERS),
            )
        )
        changed[place : place + 4] = (new % (1 << 32)).to_bytes(4, "little")
    return bytes(changed)

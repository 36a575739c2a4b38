"""Text for a terminal: what a file says must not steer the terminal that shows it."""

from __future__ import annotations

__all__ = ["LONGEST_MESSAGE", "printable"]

#: Longer messages hide their end, which says what to do next.
LONGEST_MESSAGE = 3000


def printable(text: str, *, longest: int | None = None) -> str:
    r"""``text`` with control characters (but line ends) and lone surrogates written as ``\x1b`` or ``\ud800``.

    Args:
        text: what is shown, names from files among it.
        longest: characters beyond it are left out of the middle; None for no bound.
    """
    shown = text if _is_plain(text) else "".join(_escaped(character) for character in text)
    if longest is not None and len(shown) > longest:
        shown = f"{shown[: longest * 2 // 3]} … {shown[-(longest // 4) :]}"
    return shown


def _is_plain(text: str) -> bool:
    return text.isascii() and text.replace("\n", "").isprintable()


def _escaped(character: str) -> str:
    code = ord(character)
    if character == "\n":
        return character
    if code < 32 or 127 <= code < 160:
        return f"\\x{code:02x}"
    # Surrogates cannot be encoded; the marks of direction (U+202A to U+202E, U+2066 to U+2069) turn what follows around.
    if 0xD800 <= code < 0xE000 or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069:
        return f"\\u{code:04x}"
    return character

"""The functions that generated C calls, as text: one a file, its fast paths beside it.

``NAME.c`` is plain C, the reference. ``NAME_SUFFIX.c`` does the same with the instructions of one processor; the
preprocessor takes the first that the compiler's target has. A line ``/* needs: OTHER */`` at a file's start names a kernel
that it calls.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

__all__ = ["CONDITIONS", "identifiers", "kernel_names", "kernel_text", "needed", "variants"]

_X86_LAYOUT = "MODEL_TILE == 16 && MODEL_OFFSET == 0"
_ARM64_LAYOUT = "MODEL_TILE == 16 && MODEL_OFFSET == 128 && defined(__aarch64__)"
_ARM32_LAYOUT = "MODEL_TILE == 4 && MODEL_OFFSET == 128 && defined(__arm__)"
_PLAIN_LAYOUT = "MODEL_TILE == 4 && MODEL_OFFSET == 0"

CONDITIONS = {
    "avx512vnni": f"{_X86_LAYOUT} && defined(__AVX512VNNI__) && defined(__AVX512BW__)",
    "avxvnni": f"{_X86_LAYOUT} && defined(__AVXVNNI__) && defined(__AVX2__)",
    "avx2": f"{_X86_LAYOUT} && defined(__AVX2__)",
    "neon_dot": f"{_ARM64_LAYOUT} && defined(__ARM_FEATURE_DOTPROD)",
    "neon": f"(({_ARM64_LAYOUT}) || ({_ARM32_LAYOUT})) && defined(__ARM_NEON)",
    "dsp": f"{_PLAIN_LAYOUT} && defined(__ARM_FEATURE_SIMD32)",
}
"""By suffix of a file, when the compiler's target can run it, the fastest first. Each reads one layout of the weights only:
sources of the target ``generic`` are right on every processor, and none of its own paths reads another's tiles."""

_NEEDS = re.compile(r"^/\* needs: (\w+(?:, \w+)*) \*/\n", re.MULTILINE)


@cache
def _sources() -> dict[str, str]:
    return {
        entry.name.removesuffix(".c"): entry.read_text(encoding="utf-8")
        for entry in files(__name__).iterdir()
        if entry.name.endswith(".c")
    }


def kernel_names() -> list[str]:
    """Every kernel, without its variants."""
    return sorted(name for name in _sources() if _base(name) == name)


def variants(name: str) -> list[str]:
    """The suffixes of a kernel's fast paths, in the order in which the preprocessor tries them."""
    return [suffix for suffix in CONDITIONS if f"{name}_{suffix}" in _sources()]


@cache
def kernel_text(name: str, *, plain: bool = False) -> str:
    """A kernel with all its variants, or with ``plain`` without them; never with the kernels that it needs.

    Raises KeyError where there is no such kernel.
    """
    reference = _body(name)
    found = [] if plain else variants(name)
    if not found:
        return reference
    parts: list[str] = []
    for place, suffix in enumerate(found):
        parts.append(f"#{'el' if place else ''}if {CONDITIONS[suffix]}\n{_body(f'{name}_{suffix}')}")
    return "".join([*parts, f"#else\n{reference}#endif\n"])


def needed(names: set[str]) -> list[str]:
    """These kernels and all that they call, each behind what it calls."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        for text in (name, *(f"{name}_{suffix}" for suffix in variants(name))):
            for match in _NEEDS.finditer(_sources()[text]):
                for other in match[1].split(", "):
                    visit(other)
        order.append(name)

    for name in sorted(names):
        visit(name)
    return order


@cache
def identifiers() -> frozenset[str]:
    """Names that the kernels' texts give to functions, macros and constants; nothing else in a source may be called so."""
    texts = "\n".join(_sources().values())
    functions = re.findall(r"^(?:__attribute__\(\(unused\)\) )?static [\w *]*?(\w+)\(", texts, re.MULTILINE)
    macros = re.findall(r"^ *#define (\w+)", texts, re.MULTILINE)
    constants = re.findall(r"^enum \{ (\w+)", texts, re.MULTILINE)
    types = re.findall(r"^\} (\w+);", texts, re.MULTILINE)
    return frozenset((*functions, *macros, *constants, *types))


def _body(name: str) -> str:
    return _NEEDS.sub("", _sources()[name]).strip("\n") + "\n"


def _base(name: str) -> str:
    for suffix in CONDITIONS:
        stem = name.removesuffix(f"_{suffix}")
        if stem != name and stem in _sources():
            return stem
    return name

"""By which rule LiteRT's own quantized operators round: one table, measured, of runtimes, kernel sets and processors.

``python -m tests.rounding`` measures it anew: layers whose accumulators hit ties, both signs and the ends of int32, on this
machine and on emulated processors. Whoever states that a file with such operators gives the same bits somewhere states it
from this table.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from qdeploy.runtime.rounding import DOUBLE_HALF_UP, GEMMLOWP, HALF_AWAY, HALF_EVEN, HALF_UP, SINGLE_PRECISION

__all__ = [
    "ARM32",
    "ARM64",
    "CONVOLUTION",
    "DEPTHWISE",
    "FULLY_CONNECTED",
    "KERNELS",
    "MEASURED",
    "PROCESSORS",
    "X86_AVX",
    "X86_SSE",
    "Kernel",
    "KernelUse",
    "claim",
    "holds",
    "kernel_rule",
    "processor",
    "version_ranges",
]

LITERT, TFLITE = "ai-edge-litert", "tflite-runtime"
FULLY_CONNECTED, CONVOLUTION, DEPTHWISE = "FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"
_ALL = (FULLY_CONNECTED, CONVOLUTION, DEPTHWISE)
X86_AVX, X86_SSE, ARM64, ARM32 = "x86-64 with AVX", "x86-64 without AVX", "arm64", "armv7"
_WITH_LITERT = (X86_AVX, X86_SSE, ARM64)
PROCESSORS = {LITERT: _WITH_LITERT, TFLITE: (*_WITH_LITERT, ARM32)}
"""Kinds of processors that choose kernels of other rules, of those that a package has wheels for."""

MEASURED = {LITERT: ((1, 1), (2, 3)), TFLITE: ((2, 14), (2, 14))}
"""The first and the last minor version of each package that was measured."""

_LEAST_OUTPUTS, _LEAST_INPUTS = 4, 8
"""From these sizes on one row times a matrix is a kernel of its own, where there is one."""


@dataclass(frozen=True)
class Kernel:
    """One row of the table: what computes by one rule.

    Attributes:
        package: the runtime.
        resolvers: its kernel sets.
        operators: its quantized operators, int8 to int8 with weights per tensor or per channel.
        processors: where.
        rule: a name of ``rounding.RULES``; None where one layer's outputs are rounded by several rules, by their place.
        one_row: whether it is for FULLY_CONNECTED of one row, four outputs or more and eight inputs or more; False: for
            all others; None: for both.
        versions: first and last minor version, both inclusive.
    """

    package: str
    resolvers: tuple[str, ...]
    operators: tuple[str, ...]
    processors: tuple[str, ...]
    rule: str | None
    one_row: bool | None = None
    versions: tuple[tuple[int, int], tuple[int, int]] | None = None


_PRODUCTS = (FULLY_CONNECTED, CONVOLUTION)
_FIRST_AWAY = (1, 3)

KERNELS = (
    # XNNPACK, in single precision.
    Kernel(LITERT, ("default",), _ALL, _WITH_LITERT, SINGLE_PRECISION),
    # ruy: its kernels for AVX round twice, elsewhere the build's own MultiplyByQuantizedMultiplier rounds once.
    Kernel(LITERT, ("plain",), _PRODUCTS, (X86_AVX,), DOUBLE_HALF_UP),
    Kernel(LITERT, ("plain",), _PRODUCTS, (X86_SSE, ARM64), HALF_UP, one_row=False),
    # One row times a matrix: NEON, which the wheels for x86-64 translate to SSE; AVX goes by the row above.
    Kernel(LITERT, ("plain",), (FULLY_CONNECTED,), (X86_SSE, ARM64), DOUBLE_HALF_UP, one_row=True),
    # Vectors of channels twice half up, the rest by gemmlowp's rule.
    Kernel(LITERT, ("plain",), (DEPTHWISE,), _WITH_LITERT, None),
    Kernel(LITERT, ("reference",), (CONVOLUTION, DEPTHWISE), _WITH_LITERT, GEMMLOWP),
    Kernel(LITERT, ("reference",), (FULLY_CONNECTED,), _WITH_LITERT, GEMMLOWP, versions=((1, 1), (1, 2))),
    Kernel(LITERT, ("reference",), (FULLY_CONNECTED,), _WITH_LITERT, HALF_AWAY, versions=(_FIRST_AWAY, (2, 3))),
    # tflite-runtime gives int8 layers to no delegate by itself: default and plain are the same kernels.
    Kernel(TFLITE, ("default", "plain"), _PRODUCTS, (X86_AVX,), DOUBLE_HALF_UP),
    Kernel(TFLITE, ("default", "plain"), _PRODUCTS, (X86_SSE,), HALF_UP),
    Kernel(TFLITE, ("default", "plain"), _PRODUCTS, (ARM64, ARM32), GEMMLOWP, one_row=False),
    Kernel(TFLITE, ("default", "plain"), (FULLY_CONNECTED,), (ARM64, ARM32), DOUBLE_HALF_UP, one_row=True),
    Kernel(TFLITE, ("default", "plain"), (DEPTHWISE,), (X86_AVX, X86_SSE), GEMMLOWP),
    Kernel(TFLITE, ("default", "plain"), (DEPTHWISE,), (ARM64, ARM32), None),
    Kernel(TFLITE, ("reference",), _ALL, PROCESSORS[TFLITE], GEMMLOWP),
)
"""Measured on a Sapphire Rapids, on emulated Haswell, Sandy Bridge and Nehalem, Cortex-A72 and A76, and tflite-runtime on A7."""


@dataclass(frozen=True)
class KernelUse:
    """A layer that one of LiteRT's quantized operators computes.

    Attributes:
        layer: its name.
        operator: FULLY_CONNECTED, CONV_2D or DEPTHWISE_CONV_2D.
        rounding: the rule that the layer names.
        outputs, inputs: of FULLY_CONNECTED; None where they are not known.
        rows: of FULLY_CONNECTED; None where they are not known, or steps of a sequence, one or many.
    """

    layer: str
    operator: str
    rounding: str
    outputs: int | None = None
    inputs: int | None = None
    rows: int | None = None

    @property
    def one_row(self) -> tuple[bool, ...]:
        """Which of both kinds of kernel may be meant: for one row, or for others."""
        if self.operator != FULLY_CONNECTED or (self.rows or 1) > 1:
            return (False,)
        if any(size is not None and size < least for size, least in self._sizes):
            return (False,)
        return (True,) if self.rows == 1 and None not in (self.outputs, self.inputs) else (True, False)

    @property
    def _sizes(self) -> tuple[tuple[int | None, int], ...]:
        return (self.outputs, _LEAST_OUTPUTS), (self.inputs, _LEAST_INPUTS)


def kernel_rule(package: str, version: str, resolver: str, where: str, use: KernelUse) -> set[str | None]:
    """By which rules a runtime may round a layer: one where it is known; None among them where it is not.

    Args:
        package: ``ai-edge-litert`` or ``tflite-runtime``.
        version: of it.
        resolver: its kernel set.
        where: the processor, as :func:`processor` names it.
        use: the layer.
    """
    minor = _minor(version)
    first, last = MEASURED.get(package, ((0, 0), (-1, 0)))
    if minor is None or not first <= minor <= last:
        return {None}
    found: set[str | None] = set()
    for kind in use.one_row:
        rules = {
            kernel.rule
            for kernel in KERNELS
            if kernel.package == package
            and resolver in kernel.resolvers
            and use.operator in kernel.operators
            and where in kernel.processors
            and kernel.one_row in (None, kind)
            and (kernel.versions is None or kernel.versions[0] <= minor <= kernel.versions[1])
        }
        found |= rules or {None}
    return found


def holds(rounding: str, rule: str | None) -> bool:
    """Whether a layer that names a rule gets its bits from a kernel of another: the same, or single precision that is exact.

    A layer with ``half_even`` is proven to stay where single precision is exact.
    """
    return rounding == rule or (rounding == HALF_EVEN and rule == SINGLE_PRECISION)


def claim(uses: tuple[KernelUse, ...], package: str, version: str, resolver: str, where: str | None) -> str | None:
    """Why the bits of these layers are not claimed for a runtime, or None where they are.

    Without such layers every runtime is claimed.
    """
    if not uses:
        return None
    if where is None:
        return f"its kernels were not measured on this processor ({platform.machine() or 'unknown'})"
    for use in uses:
        rules = kernel_rule(package, version, resolver, where, use)
        if None in rules and len(rules) == 1:
            known = _measured(package, version) and where in PROCESSORS[package]
            why = "is not one rule" if known else "was not measured"
            return f"its rounding of {use.operator} there {why}, and {use.layer} names {use.rounding}"
        wrong = [str(rule) for rule in rules if not holds(use.rounding, rule)]
        if wrong:
            return (
                f"it rounds {use.operator} there by {' or '.join(sorted(wrong))}, and {use.layer} names {use.rounding}"
            )
    return None


def version_ranges(package: str) -> list[tuple[str, str]]:
    """First and last minor version of each range of a package's versions that round alike."""
    first, last = MEASURED[package]
    starts = {first, *(kernel.versions[0] for kernel in KERNELS if kernel.package == package and kernel.versions)}
    ends = {last, *(kernel.versions[1] for kernel in KERNELS if kernel.package == package and kernel.versions)}
    pairs = zip(sorted(starts), sorted(ends), strict=True)
    return [(".".join(map(str, start)), ".".join(map(str, end))) for start, end in pairs]


@cache
def processor() -> str | None:
    """This machine's processor as the table names it; None for one that was not measured."""
    machine = platform.machine().lower()
    if machine in ("arm64", "aarch64"):
        return ARM64
    if machine in ("armv7l", "armv8l"):
        return ARM32
    if machine not in ("x86_64", "amd64"):
        return None
    try:
        umath = import_module("numpy._core._multiarray_umath")
    except ImportError:  # NumPy 1, which tflite-runtime needs
        umath = import_module("numpy.core._multiarray_umath")
    return X86_AVX if umath.__cpu_features__.get("AVX") else X86_SSE


def _measured(package: str, version: str) -> bool:
    minor = _minor(version)
    first, last = MEASURED.get(package, ((0, 0), (-1, 0)))
    return minor is not None and first <= minor <= last


def _minor(version: str) -> tuple[int, int] | None:
    parts = version.split(".")
    return (int(parts[0]), int(parts[1])) if len(parts) > 1 and parts[0].isdigit() and parts[1].isdigit() else None

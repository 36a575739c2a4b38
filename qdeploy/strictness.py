"""What a bundle says of layers with kernels of their own: which single precision computes, which lack what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.runtime.ops import NOT_STRICT

if TYPE_CHECKING:
    from qdeploy.runtime.manifest import Manifest

__all__ = ["not_strict", "portable_because", "remark", "strict_because"]

_WHERE = (
    "requantize in single precision, exactly; their bits hold in onnxruntime, which rounds half to even: on x86-64 with and "
    "without VNNI, and on arm64. ONNX leaves that rounding open to other runtimes"
)
"""Measured by verify: on x86-64 with VNNI, on an emulated Haswell and Nehalem, on emulated Raspberry Pis 3, 4 and 5."""


def not_strict(manifest: Manifest) -> tuple[str, ...]:
    """Names of the layers that are not computed by integers alone."""
    return tuple(layer.name for layer in manifest.layers if layer.operator in NOT_STRICT)


def remark(layers: tuple[str, ...]) -> str:
    """A line about those layers, for inspect and verify."""
    return f"not integer-only: {len(layers)} of its convolutions {_WHERE}"


def strict_because(manifest: Manifest) -> dict[str, str]:
    """Convolutions that were asked not to be strict and are, with the reason."""
    return _reasons(manifest, "strict_because")


def portable_because(manifest: Manifest) -> dict[str, str]:
    """Layers that were to be computed by LiteRT's own kernels and are not, with the reason."""
    return _reasons(manifest, "portable_because")


def _reasons(manifest: Manifest, key: str) -> dict[str, str]:
    return {layer.name: str(layer.extra[key]) for layer in manifest.layers if key in layer.extra}

"""What the kinds of several libraries share: the shapes of components, and keys of quaternion products."""

from __future__ import annotations

from ..stored import Stored
from .kind import BIAS, CONVOLUTION, OUTPUT_PADDING, Spec, quaternions
from .real import absent_bias, bias_shape

__all__ = ["CONVOLUTION_ENDS", "LINEAR_ENDS", "QUATERNION_CONVOLUTION", "QUATERNION_LINEAR", "TRANSPOSED", "products"]

LINEAR_ENDS = ("in_features", "out_features")
CONVOLUTION_ENDS = ("in_channels", "out_channels")
QUATERNION_LINEAR = {"in_features": quaternions(), "out_features": quaternions(), "bias": BIAS}
QUATERNION_CONVOLUTION = {"in_channels": quaternions(), "out_channels": quaternions()} | CONVOLUTION
TRANSPOSED = QUATERNION_CONVOLUTION | {"output_padding": OUTPUT_PADDING}


def products(spec: Spec, stored: Stored, shape: tuple[int, ...], out: int) -> Stored:
    """The layer's tensors once four components of ``shape`` are there, and a bias [out] or none, as the file says."""
    parts = {f"{part}_weight": shape for part in "rijk"}
    return stored.expecting(parts | bias_shape(spec, out), absent_bias(spec))

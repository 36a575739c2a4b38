"""QLinearConv for LiteRT: the rounding of onnxruntime's kernel, in integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.tflite.conv import convolved
from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.half_even import requantize_half_even
from qdeploy.export.tflite.windows import channels_second
from qdeploy.runtime.ops.qlinear_conv import accumulator_reach

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("QLinearConv")
def qlinear_conv(site: Site) -> None:
    """The products of Conv; what single precision computes exactly needs no floating point."""
    attributes, code = site.attributes, site.code
    accumulator, out, _ = convolved(site)
    y = requantize_half_even(
        code,
        accumulator,
        site.constant("multiplier"),
        attributes["shift"],
        attributes["y_zero_point"],
        attributes["low"],
        attributes["high"],
        bounds=accumulator_reach(site.constant("weight"), site.constant("bias"), attributes["x_zero_point"]),
    )
    site.set("y", channels_second(code, code.reshape(y, out)))

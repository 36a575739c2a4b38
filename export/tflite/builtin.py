"""Layers by LiteRT's own quantized operators, where the rule of their rounding is one of LiteRT's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.byte_tensor import OFFSET, ByteTensor, new
from qdeploy.export.tflite.windows import Windows
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.rounding import HALF_UP

if TYPE_CHECKING:
    from qdeploy.export.tflite.arithmetic import Code
    from qdeploy.export.tflite.site import Site
    from qdeploy.export.tflite.writer import Shape, Value
    from qdeploy.runtime.numeric import IntArray

__all__ = ["convolution", "fully_connected", "is_builtin", "max_pooled", "quantized"]

_MOST_AXES = 4
"""Of a kernel: outputs, channels, height and width."""

_SAME, _VALID = 0, 1
_RELU = 1
_LARGEST_SCALE = 2.0**7
_SMALLEST_SCALE = 2.0**-31
"""What XNNPACK takes as the ratio of scales."""


def is_builtin(site: Site) -> bool:
    """Whether a layer's rule of rounding is not the contract's own."""
    return bool(site.attributes.get("rounding", HALF_UP) != HALF_UP)


def fully_connected(site: Site) -> None:
    """Linear: FULLY_CONNECTED of rows. Columns follow an image whose channels stand last, so that nothing is moved."""
    code, weight = site.code, site.constant("weight")
    tensor, x = site.tensor("x"), site.bytes("x", site.attributes["x_zero_point"])
    zero_point = site.attributes["y_zero_point"]
    if None in site.shape("x"):
        y = _of_steps(site, x, weight)
        site.set_bytes("y", ByteTensor(y, zero_point, last=False))
        return
    inputs = tensor.shape[-1]
    if x.last and len(x.value.shape) > 2 and tensor.time_axis is None and tensor.entries == inputs:
        channels = x.value.shape[-1] or 1
        weight = weight.reshape(len(weight), channels, -1).transpose(0, 2, 1).reshape(len(weight), inputs)
    else:
        x = x.channels_second(code)
    rows = x.reshaped(code, site.row_shape("x"))
    y = _product(site, "FULLY_CONNECTED", rows, weight, (rows.shape[0], len(weight)), axis=0)
    shape = site.shape("y")
    site.set_bytes("y", ByteTensor(ByteTensor(y, zero_point, last=False).reshaped(code, shape), zero_point, last=False))


def _of_steps(site: Site, x: ByteTensor, weight: IntArray) -> Value:
    """Of a sequence of any number of steps, in the graph's shape: XNNPACK reshapes no int8 tensor whose size is open."""
    site.row_shape("x")
    shape = site.shape("x")
    if x.value.shape != shape:
        x = ByteTensor.of_int32(site.code, site.input("x"), x.zero_point)
    whole = (*shape[:-1], len(weight))
    return _product(site, "FULLY_CONNECTED", x.value, weight, whole, axis=0, keep_num_dims=1)


def convolution(site: Site) -> None:
    """Conv over one axis or two: CONV_2D, or DEPTHWISE_CONV_2D, of an image whose channels stand last.

    CONV_2D reads from its kernel's channels how many groups there are.

    Raises:
        UnsupportedModelError: three axes.
    """
    attributes, weight, code = site.attributes, site.constant("weight"), site.code
    group = int(attributes["group"])
    if weight.ndim > _MOST_AXES:
        raise UnsupportedModelError(
            f"node {site.layer.name} (Conv): a kernel of shape {list(weight.shape)} has no operator of LiteRT; expected one or "
            "two axes. Export again with --tflite-kernels portable."
        )
    x = _image(site, site.bytes("x", attributes["x_zero_point"]))
    windows = Windows(
        tuple(site.tensor("x").shape[2:]),
        weight.shape[2:],
        tuple(attributes["strides"]),
        tuple(attributes["dilations"]),
        tuple(attributes["pads"]),
    )
    image, padding = _padded(code, x, windows)
    kernel = weight if weight.ndim == _MOST_AXES else weight[:, :, None]
    strides, dilations = (_two(getattr(windows, name)) for name in ("strides", "dilations"))
    options = {
        "padding": padding,
        "stride_h": strides[0],
        "stride_w": strides[1],
        "dilation_h": dilations[0],
        "dilation_w": dilations[1],
    }
    shape = (1, *_two(windows.out), len(weight))
    if group > 1 and weight.shape[1] == 1:
        by_channel = kernel.transpose(1, 2, 3, 0)
        multiple = len(weight) // group
        y = _product(site, "DEPTHWISE_CONV_2D", image, by_channel, shape, axis=3, depth_multiplier=multiple, **options)
    else:
        y = _product(site, "CONV_2D", image, kernel.transpose(0, 2, 3, 1), shape, axis=0, **options)
    _set_image(site, y, windows, attributes["y_zero_point"])


def max_pooled(site: Site) -> bool:
    """MaxPool without dilations of an image that stands in bytes: MAX_POOL_2D. Returns whether it was that.

    Its pads are those of SAME, or any where the zero point, with which images are padded, is the smallest byte.
    """
    attributes, code, held = site.attributes, site.code, site.held_bytes("x")
    kernel = tuple(attributes["kernel"])
    if held is None or len(kernel) > 2 or set(attributes["dilations"]) != {1}:
        return False
    tensor = site.tensor("x")
    strides = tuple(attributes["strides"])
    windows = Windows(
        tuple(tensor.shape[2:]), kernel, strides, tuple(attributes["dilations"]), tuple(attributes["pads"])
    )
    if any(windows.pads) and held.zero_point > 0 and not _is_same(windows):
        return False
    x = _image(site, held)
    image, padding = _padded(code, x, windows)
    y = new(code, (1, *_two(windows.out), tensor.shape[1]), x.zero_point)
    options = {
        "stride_h": _two(strides)[0],
        "stride_w": _two(strides)[1],
        "filter_height": _two(kernel)[0],
        "filter_width": _two(kernel)[1],
    }
    code.subgraph.add_several("MAX_POOL_2D", [image], [y], padding=padding, **options)
    _set_image(site, y, windows, x.zero_point)
    return True


def _image(site: Site, held: ByteTensor) -> ByteTensor:
    """The input x, ``[1, *S, C]``, of a tensor that holds it in whatever shape."""
    _, channels, *places = site.tensor("x").shape
    if held.last and held.value.shape == (1, *places, channels):
        return held
    value = held.channels_second(site.code).reshaped(site.code, (1, channels, *places))
    return ByteTensor(value, held.zero_point, last=False).channels_last(site.code)


def _padded(code: Code, x: ByteTensor, windows: Windows) -> tuple[Value, int]:
    """An image ``[1, H, W, C]`` and how its operator pads: SAME where that is what the layer does, else of a padded image."""
    shape = (1, *_two(windows.size), x.value.shape[-1])
    image = x.reshaped(code, shape)
    axes = len(windows.size)
    if not any(windows.pads):
        return image, _VALID
    if _is_same(windows):
        return image, _SAME
    before, after = (_two(windows.pads[start : start + axes], 0) for start in (0, axes))
    sizes = [[0, 0], *map(list, zip(before, after, strict=True)), [0, 0]]
    larger = (1, *(size + sum(pads) for size, pads in zip(shape[1:3], sizes[1:3], strict=True)), shape[-1])
    result = new(code, larger, x.zero_point)
    code.subgraph.add_several("PAD", [image, code.subgraph.constant(sizes)], [result])
    return result, _VALID


def _is_same(windows: Windows) -> bool:
    """Whether the pads are those that the runtime adds for SAME."""
    axes = len(windows.size)
    return all(_same(windows, axis) == (windows.pads[axis], windows.pads[axis + axes]) for axis in range(axes))


def _same(windows: Windows, axis: int) -> tuple[int, int]:
    """Pads before and behind that the runtime adds for SAME; (-1, -1) where that gives another size."""
    stride, size = windows.strides[axis], windows.size[axis]
    out = -(-size // stride)
    if out != windows.out[axis]:
        return -1, -1
    total = max(0, (out - 1) * stride + windows.dilations[axis] * (windows.kernel[axis] - 1) + 1 - size)
    return total // 2, total - total // 2


def _two(values: Sequence[int], fill: int = 1) -> tuple[int, int]:
    """Of height and width, for images of one axis, too."""
    height, width = values if len(values) > 1 else (fill, *values)
    return height, width


def _set_image(site: Site, y: Value, windows: Windows, zero_point: int) -> None:
    image = ByteTensor(y, zero_point, last=True)
    site.set_bytes(
        "y", ByteTensor(image.reshaped(site.code, (1, *windows.out, y.shape[-1] or 1)), zero_point, last=True)
    )


def _product(site: Site, kind: str, x: Value, weight: IntArray, shape: Shape, *, axis: int, **options: int) -> Value:
    """A quantized operator of a layer's weight and bias, and what else bounds its result.

    Args:
        site: the layer.
        kind: FULLY_CONNECTED, CONV_2D or DEPTHWISE_CONV_2D.
        x: int8, as the operator takes it.
        weight: int8, as the operator takes it.
        shape: of the result.
        axis: of the weight, along its outputs.
        options: of the operator.

    Raises:
        UnsupportedModelError: the operator cannot say this layer's numbers.
    """
    attributes = site.attributes
    return quantized(
        site,
        kind,
        x,
        weight,
        site.constant("bias"),
        shape,
        axis=axis,
        zero_point=int(attributes["y_zero_point"]),
        options=options,
    )


def quantized(
    site: Site,
    kind: str,
    x: Value,
    weight: IntArray,
    bias: IntArray,
    shape: Shape,
    *,
    zero_point: int,
    code: Code | None = None,
    axis: int = 0,
    options: Mapping[str, int] | None = None,
) -> Value:
    """A quantized operator with a layer's multipliers and bounds; arguments as of ``_product``.

    Args:
        bias: int32 ``[N]``.
        code: where it goes, if not where the layer is.
        zero_point: of the result.
        options: of the operator.
    """
    attributes, code = site.attributes, code or site.code
    scale = _scales(site, weight, axis)
    low, high = int(attributes["low"]), int(attributes["high"])
    rectified = low == zero_point and low > 0
    result = new(code, shape, zero_point)
    inputs = [
        x,
        code.subgraph.constant(weight, np.int8, scale=scale, scaled_axis=axis),
        code.subgraph.constant(bias, np.int32, scale=scale),
    ]
    code.subgraph.add_several(kind, inputs, [result], fused_activation=_RELU if rectified else 0, **(options or {}))
    if low > 0 and not rectified:
        result = _bounded(code, "MAXIMUM", result, low, zero_point)
    if high < 2 * OFFSET - 1:
        result = _bounded(code, "MINIMUM", result, high, zero_point)
    return result


def _bounded(code: Code, kind: str, x: Value, bound: int, zero_point: int) -> Value:
    result = new(code, x.shape, zero_point)
    limit = code.subgraph.constant(np.array([bound - OFFSET]), np.int8, scale=1.0, zero_point=zero_point - OFFSET)
    code.subgraph.add_several(kind, [x, limit], [result])
    return result


def _scales(site: Site, weight: IntArray, axis: int) -> list[float]:
    """multiplier / 2^shift of each output, which single precision holds exactly."""
    attributes = site.attributes
    exact = np.broadcast_to(site.constant("multiplier").astype(np.float64), weight.shape[axis]) * 2.0 ** -int(
        attributes["shift"]
    )
    scale = exact.astype(np.float32)
    problem = ""
    if (scale != exact).any():
        problem = "its multipliers have more bits than single precision"
    elif scale.min() < _SMALLEST_SCALE or scale.max() > _LARGEST_SCALE:
        problem = f"its multipliers reach from {scale.min():g} to {scale.max():g}; LiteRT takes 2^-31 to 2^7"
    elif weight.min() < -OFFSET + 1:
        problem = "it has weights of -128, which overflow on some processors"
    elif site.tensor("x").dtype.name != "uint8" or attributes["dtype"] != 2:
        problem = "it does not go from uint8 to uint8"
    if problem:
        raise UnsupportedModelError(
            f"node {site.layer.name} ({site.layer.operator}): {problem}; export again with --tflite-kernels portable."
        )
    return [float(value) for value in scale]

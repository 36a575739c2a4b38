"""ConvInteger: every sign, zero points, windows and groups; QLinearConv: onnxruntime's rule in single precision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from onnx import parser  # noqa: E402  # after the skip
from torch import nn  # noqa: E402  # after the skip

from qdeploy.runtime.errors import QdeployError  # noqa: E402  # after the skip
from qdeploy.runtime.standard import BodyModel  # noqa: E402  # after the skip


@given(
    x_type=st.sampled_from(["uint8", "int8"]),
    w_type=st.sampled_from(["uint8", "int8"]),
    rank=st.integers(1, 3),
    group=st.integers(1, 3),
    stride=st.integers(1, 2),
    pad=st.integers(0, 2),
    dilation=st.integers(1, 2),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_zero_points_windows_and_groups(compare, x_type, w_type, rank, group, stride, pad, dilation, seed):
    rng = np.random.default_rng(seed)
    dims, kernel = ", ".join("DHW"[:rank]), rng.integers(1, 4, rank).tolist()
    pads = [pad] * rank + [max(0, pad - 1)] * rank
    attributes = f"strides = {[stride] * rank}, pads = {pads}, dilations = {[dilation] * rank}, group = {group}"
    text = (
        f"g ({x_type}[B,C,{dims}] x, {w_type}[N,G,{', '.join('IJK'[:rank])}] w, {x_type} xz, {w_type} wz) => "
        f"(int32[B,N,{', '.join('PQR'[:rank])}] y, int32[B,N,{', '.join('STU'[:rank])}] p) "
        f"{{ y = ConvInteger<{attributes}>(x, w, xz, wz) p = ConvInteger<{attributes}>(x, w) }}"
    )
    sizes = [dilation * (size - 1) + int(rng.integers(1, 4)) for size in kernel]
    shapes = {"x": (2, 2 * group, *sizes), "w": (3 * group, 2, *kernel), "xz": (), "wz": ()}
    kinds = {"x": x_type, "w": w_type, "xz": x_type, "wz": w_type}
    feeds = {
        name: np.asarray(rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, shapes[name], kind, endpoint=True))
        for name, kind in kinds.items()
    }
    # onnxruntime multiplies pairs in 16 bits on processors without VNNI where u8 meets s8; onnx.reference has no groups.
    found = compare(text, feeds, onnxruntime=x_type == w_type == "uint8", reference=False)
    convolve = (nn.functional.conv1d, nn.functional.conv2d, nn.functional.conv3d)[rank - 1]
    for y, (x_zero, w_zero) in zip(found, ((feeds["xz"], feeds["wz"]), (0, 0)), strict=True):
        around = [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]
        image = torch.from_numpy(np.pad(feeds["x"].astype(np.float64) - x_zero, around))
        kernels = torch.from_numpy(feeds["w"].astype(np.float64) - w_zero)
        assert (y == convolve(image, kernels, None, stride, 0, dilation, group).numpy()).all()


@pytest.mark.parametrize(
    ("attributes", "shape", "message"),
    [
        ('auto_pad = "VALID"', (1, 1, 4), "auto_pad 'VALID', expected pads"),
        ("group = 2", (1, 1, 4), "which do not fit"),
        ("strides = [0]", (1, 1, 4), r"strides \[0\]"),
        ("pads = [0]", (1, 1, 4), r"pads \[0\]"),
        ("pads = [0, 0]", (1, 1, 1), r"images of \(1,\), smaller than the kernel"),
    ],
)
def test_what_does_not_fit(attributes, shape, message):
    text = (
        '<ir_version: 10, opset_import: ["": 18]> g (uint8[B,C,L] x, uint8[N,G,K] w) => (int32[B,N,M] y) '
        f"{{ y = ConvInteger<{attributes}>(x, w) }}"
    )
    with pytest.raises(QdeployError, match=message):
        BodyModel(parser.parse_model(text)).run({"x": np.zeros(shape, np.uint8), "w": np.zeros((2, 1, 2), np.uint8)})


@given(
    rank=st.integers(1, 3),
    group=st.integers(1, 3),
    stride=st.integers(1, 2),
    bias=st.booleans(),
    exact=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_qlinear_conv_is_onnxruntimes(compare, rank, group, stride, bias, exact, seed):
    """Any scales, so that accumulators and products lose bits, and powers of two, which tie. Weights of 7 bits, ours alone:
    others saturate on some processors."""
    rng = np.random.default_rng(seed)
    kernel = rng.integers(1, 4, rank).tolist()
    axes = [", ".join(names[:rank]) for names in ("DHW", "IJK", "PQR")]
    text = (
        f"g (uint8[B,C,{axes[0]}] x, float xs, uint8 xz, int8[N,G,{axes[1]}] w, float[N] ws, int8 wz, float ys, uint8 yz"
        f"{', int32[N] b' * bias}) => (uint8[B,N,{axes[2]}] y) "
        f"{{ y = QLinearConv<strides = {[stride] * rank}, pads = {[1] * rank + [0] * rank}, group = {group}>"
        f"(x, xs, xz, w, ws, wz, ys, yz{', b' * bias}) }}"
    )
    scale = 2.0 ** rng.integers(-12, -2, 3 * group) if exact else rng.uniform(1e-5, 0.1, 3 * group)
    feeds = {
        "x": rng.integers(0, 256, (2, 2 * group, *(size + 2 for size in kernel))).astype(np.uint8),
        "xs": np.float32(1 if exact else rng.uniform(0.01, 2)),
        "xz": np.uint8(rng.integers(0, 256)),
        "w": rng.integers(-63, 64, (3 * group, 2, *kernel)).astype(np.int8),
        "ws": scale.astype(np.float32),
        "wz": np.int8(0),
        "ys": np.float32(1 if exact else rng.uniform(0.01, 2)),
        "yz": np.uint8(rng.integers(0, 256)),
    }
    if bias:
        feeds["b"] = (rng.integers(-(2**30), 2**30, 3 * group) >> rng.integers(0, 30)).astype(np.int32)
    compare(text, {name: np.asarray(value) for name, value in feeds.items()}, reference=False)

"""ConvInteger: every sign, zero points, windows and groups."""

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

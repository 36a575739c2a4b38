"""MaxPool and Pad of integers, beside onnxruntime and onnx.reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import parser

from qdeploy.runtime.errors import QdeployError
from qdeploy.runtime.standard import BodyModel


@given(
    kind=st.sampled_from(["uint8", "int8"]),
    kernel=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    data=st.data(),
)
@settings(max_examples=40)
def test_the_largest_of_every_window(compare, kind, kernel, stride, dilation, data):
    rank = len(kernel)
    pads = [data.draw(st.integers(0, size - 1)) for size in kernel * 2]
    dims = ", ".join("DHW"[:rank])
    attributes = f"kernel_shape = {kernel}, strides = {[stride] * rank}, pads = {pads}, dilations = {[dilation] * rank}"
    out = ", ".join("PQR"[:rank])
    sizes = [dilation * (size - 1) + data.draw(st.integers(1, 4)) for size in kernel]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    limits = np.iinfo(kind)
    x = rng.integers(limits.min, limits.max, (2, 2, *sizes), kind, endpoint=True)
    # onnx.reference takes pads of bytes for the largest of them.
    compare(
        f"g ({kind}[B,C,{dims}] x) => ({kind}[B,C,{out}] y) {{ y = MaxPool<{attributes}>(x) }}",
        {"x": x},
        reference=False,
    )


@given(
    kind=st.sampled_from(["uint8", "int32"]), shape=st.lists(st.integers(1, 3), min_size=1, max_size=4), data=st.data()
)
@settings(max_examples=30)
def test_constants_around(compare, kind, shape, data):
    pads = data.draw(st.lists(st.integers(0, 2), min_size=2 * len(shape), max_size=2 * len(shape)))
    x = np.arange(np.prod(shape), dtype=kind).reshape(shape)
    dims = ", ".join("ABCD"[: len(shape)])
    text = f"g ({kind}[{dims}] x, int64[N] p, {kind} v) => ({kind}[{', '.join('PQRS'[: len(shape)])}] y) {{ y = Pad(x, p, v) }}"
    compare(text, {"x": x, "p": np.array(pads), "v": np.array(7, kind)})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("y = MaxPool<kernel_shape = [2, 2], ceil_mode = 1>(x)", "ceil_mode"),
        ('y = MaxPool<kernel_shape = [2, 2], auto_pad = "VALID">(x)', "auto_pad"),
        ("y = MaxPool<kernel_shape = [2, 2], strides = [1]>(x)", "strides"),
        ("y = MaxPool<kernel_shape = [4, 4]>(x)", "smaller than a window"),
        ("y = MaxPool<kernel_shape = [2]>(x)", "rank 3"),
        ('p = Constant<value_ints = [0]>() y = Pad<mode = "edge">(x, p)', "mode or axes"),
        ("p = Constant<value_ints = [0, 1]>() y = Pad(x, p)", "expected 8 numbers"),
        ("p = Constant<value_ints = [0, 0, 0, 0, 99999999, 0, 0, 0]>() y = Pad(x, p)", "at most"),
    ],
)
def test_what_no_body_holds_is_refused(body, message):
    head = '<ir_version: 8, opset_import: ["" : 18]> g (uint8[1,1,3,3] x) => (uint8[A,B,C,D] y)'
    model = parser.parse_model(f"{head} {{ {body} }}")
    with pytest.raises(QdeployError, match=message):
        BodyModel(model).run({"x": np.zeros((1, 1, 3, 3), np.uint8)})

"""What stands between convolutions, from torch and from ONNX files; capture compares each network with its source."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402  # after the skip
from torch.nn import functional  # noqa: E402  # after the skip

from qdeploy.capture import CapturedModel, capture  # noqa: E402  # after the skip
from qdeploy.runtime.errors import UnsupportedModelError  # noqa: E402  # after the skip


def images(*shape: int) -> dict[str, Any]:
    return {"x": np.random.default_rng(0).normal(size=(6, *shape)).astype(np.float32)}


def operators(captured: CapturedModel) -> list[str]:
    return [node.op_type for node in captured.model.graph.node]


class Many(nn.Module):
    """Functions of one convolution's result; tracing one module is faster than tracing many."""

    def __init__(self, **functions: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 3, padding=1)
        self.layers = nn.ModuleDict({name: one for name, one in functions.items() if isinstance(one, nn.Module)})
        self.functions = {name: one for name, one in functions.items() if not isinstance(one, nn.Module)}

    def forward(self, x: Any) -> Any:
        h = self.conv(x)
        return {name: one(h) for name, one in {**self.layers, **self.functions}.items()}


def produced(captured: CapturedModel) -> dict[str, list[str]]:
    """By output, the operators between the convolution and it."""
    producers = {name: node for node in captured.model.graph.node for name in node.output}
    found = {}
    for name in captured.outputs:
        chain, pending = [], [name]
        while pending:
            node = producers.get(pending.pop())
            if node is not None and node.op_type != "Conv":
                chain.append(node.op_type)
                pending += node.input
        found[name] = chain
    return found


def test_pools_from_torch_are_written_in_one_way() -> None:
    expected: dict[str, tuple[Any, list[str]]] = {
        "maximum": (nn.MaxPool2d(3, 2, 1), ["MaxPool"]),
        "ceil": (nn.MaxPool2d(3, 2, ceil_mode=True), ["MaxPool"]),
        "mean": (nn.AvgPool2d(2), ["AveragePool"]),
        "inside": (nn.AvgPool2d(3, 2, 1, count_include_pad=False), ["AveragePool"]),
        "whole": (nn.AvgPool2d(8), ["GlobalAveragePool"]),
        "adaptive": (nn.AdaptiveAvgPool2d(1), ["GlobalAveragePool"]),
        "adaptive_4": (nn.AdaptiveAvgPool2d((4, 2)), ["AveragePool"]),
        "adaptive_max": (nn.AdaptiveMaxPool2d(1), ["GlobalMaxPool"]),
        "adaptive_max_2": (nn.AdaptiveMaxPool2d(2), ["MaxPool"]),
        "mean_of_image": (lambda h: h.mean((2, 3)), ["Squeeze", "GlobalAveragePool"]),
        "one_after_the_other": (lambda h: h.mean(-1).mean(-1), ["Squeeze", "GlobalAveragePool"]),
        "flat": (lambda h: h.flatten(2).mean(2), ["Squeeze", "GlobalAveragePool", "Reshape"]),
        "largest": (lambda h: h.relu().amax((-2, -1), keepdim=True), ["GlobalMaxPool", "Relu"]),
        "rows": (lambda h: h.mean(2), ["ReduceMean"]),
    }
    captured = capture(Many(**{name: one for name, (one, _) in expected.items()}), images(4, 8, 8))
    assert produced(captured) == {name: chain for name, (_, chain) in expected.items()}


def test_layout_from_torch() -> None:
    expected: dict[str, tuple[Any, set[str]]] = {
        "upsampled": (nn.Upsample(scale_factor=2), {"Gather"}),
        "resized": (lambda h: functional.interpolate(h, size=(16, 24)), {"Gather"}),
        "shuffled": (nn.ChannelShuffle(4), {"Gather"}),
        "pixels": (nn.PixelShuffle(2), {"Reshape", "Transpose"}),
        "blocks": (nn.PixelUnshuffle(2), {"Reshape", "Transpose"}),
        "quaternions": (
            lambda h: torch.cat(
                [part for pair in zip(h.chunk(4, 1), h.relu().chunk(4, 1), strict=True) for part in pair], 1
            ),
            {"Concat", "Slice", "Relu"},
        ),
        "flat": (nn.Flatten(), {"Reshape"}),
        "padded": (nn.ZeroPad2d((1, 2, 0, 1)), {"Pad"}),
    }
    captured = capture(Many(**{name: one for name, (one, _) in expected.items()}), images(4, 8, 8))
    assert {name: set(chain) for name, chain in produced(captured).items()} == {
        name: chain for name, (_, chain) in expected.items()
    }


def test_functions_of_one_value_from_torch() -> None:
    """Layers that torch writes as one operator, and those that it takes apart."""
    expected: dict[str, tuple[Any, list[str]]] = {
        "leaky": (nn.LeakyReLU(0.1), ["LeakyRelu"]),
        "slopes": (nn.PReLU(8), ["PRelu"]),
        "gelu": (nn.GELU(), ["Elementwise"]),
        "gelu_tanh": (nn.GELU("tanh"), ["Elementwise"]),
        "silu": (nn.SiLU(), ["Elementwise"]),
        "softplus": (nn.Softplus(), ["Elementwise"]),
        "softshrink": (nn.Softshrink(), ["Elementwise"]),
        "hardswish": (nn.Hardswish(), ["HardSwish"]),
        "mish": (nn.Mish(), ["Mish"]),
        "product": (lambda h: h * torch.sigmoid(h + 1) / 2, ["Elementwise"]),
    }
    captured = capture(Many(**{name: one for name, (one, _) in expected.items()}), images(4, 4, 4))
    assert produced(captured) == {name: chain for name, (_, chain) in expected.items()}


@pytest.mark.parametrize("rank", [1, 3])
def test_pools_over_one_and_three_axes(rank: int) -> None:
    kinds = {
        1: (nn.Conv1d, nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d),
        3: (nn.Conv3d, nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveAvgPool3d),
    }
    conv, largest, mean, whole = kinds[rank]
    module = nn.Sequential(conv(2, 4, 3), largest(2, 1), mean(2, padding=1), whole(1))
    captured = capture(module, images(2, *[8] * rank))
    assert [name for name in operators(captured) if name not in {"Squeeze", "Unsqueeze"}] == [
        "Conv", "MaxPool", "AveragePool", "GlobalAveragePool",
    ]  # fmt: skip


def saved(text: str, path: Any) -> Any:
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]>\n{text}'), path)
    return path


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("pool", ["MaxPool", "AveragePool"])
def test_automatic_pads_of_files(mode: str, pool: str, tmp_path: Any) -> None:
    text = f"""g (float[B, 2, 7, 6] x) => (float[B, 2, H, W] y)
    {{ y = {pool} <kernel_shape = [3, 2], strides = [2, 2], auto_pad = "{mode}"> (x) }}"""
    captured = capture(saved(text, tmp_path / "pool.onnx"), images(2, 7, 6))
    (node,) = captured.model.graph.node
    assert "auto_pad" not in {attribute.name for attribute in node.attribute}


POOL = "MaxPool <kernel_shape = [2, 2], strides = [2, 2]>"
PADS = "p = Constant <value = int64[8] {0, 0, 1, 1, 0, 0, 1, 1}> ()"


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (f"m = {POOL} (a) y = Relu (m)", ["Conv", "Relu", "MaxPool"]),
        (f"m = {POOL} (a) h = Constant <value = float {{6.0}}> () y = Clip (m, , h)", ["Conv", "Clip", "MaxPool"]),
        (f"t = Tanh (a) y = {POOL} (t)", ["Conv", "MaxPool", "Tanh"]),
        ("t = Tanh (a) y = GlobalMaxPool (t)", ["Conv", "GlobalMaxPool", "Tanh"]),
        # Of a function that was joined of several, nobody knows whether it falls.
        ("s = Sigmoid (a) t = Tanh (s) y = GlobalMaxPool (t)", ["Conv", "Elementwise", "GlobalMaxPool"]),
        (f"m = {POOL} (a) r = Relu (m) z = {POOL} (a) y = Add (r, z)", ["Conv", "MaxPool", "Relu", "MaxPool", "Add"]),
        (f"{PADS} r = Relu (a) q = Pad (r, p) y = {POOL} (q)", ["Conv", "Relu", "MaxPool"]),
        (f"{PADS} q = Pad (a, p) y = {POOL} (q)", ["Conv", "Pad", "MaxPool"]),
        (f"{PADS} q = Pad (a, p) y = AveragePool <kernel_shape = [3, 3]> (q)", ["Conv", "AveragePool"]),
        (f"{PADS} q = Pad (a, p) y = AveragePool <kernel_shape = [1, 1]> (q)", ["Conv", "Pad", "AveragePool"]),
    ],
)
def test_what_commutes_with_a_pool_stands_where_it_costs_least(nodes: str, expected: list[str], tmp_path: Any) -> None:
    text = f"g (float[B, 2, 6, 6] x) => (float[P, Q, R, S] y) {{ a = Conv <kernel_shape = [1, 1]> (x, w) {nodes} }}"
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]>\n{text}')
    weight = np.random.default_rng(1).normal(size=(3, 2, 1, 1)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "model.onnx")
    assert operators(capture(tmp_path / "model.onnx", images(2, 6, 6))) == expected


RESIZE = "sizes = Constant <value = int64[4] {%s}> () y = Resize <%s> (x, , , sizes)"
FLOOR = 'coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"'


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("y, places = MaxPool <kernel_shape = [2, 2]> (x)", ""),
        ("y, places = MaxPool <kernel_shape = [2, 2], strides = [3, 3]> (x)", "places of the maxima"),
        ("a = Constant <value = int64[2] {1, 2}> () y = ReduceMean (x, a)", "the axes"),
        ("p = Constant <value = int64[8] {0, 1, 0, 0, 0, 0, 0, 0}> () y = Pad (x, p)", "behind samples and channels"),
        ("p = Constant <value = int64[8] {0, 0, -1, 0, 0, 0, 0, 0}> () y = Pad (x, p)", "crop with a slice"),
        (
            "p = Constant <value = int64[8] {0, 0, 1, 0, 0, 0, 0, 0}> () v = Constant <value = float {2.0}> () y = Pad (x, p, v)",
            "expected zeros",
        ),
        (RESIZE % ("1, 2, 12, 9", FLOOR), "Resize"),
        (RESIZE % ("1, 2, 12, 12", 'mode = "linear"'), "Resize"),
        ("y = LpPool <kernel_shape = [2, 2]> (x)", "LpPool"),
    ],
)
def test_refusals_of_files(nodes: str, message: str, tmp_path: Any) -> None:
    places = ", int64[P, Q, R, S] places" if "places" in message else ""
    text = f"g (float[1, 2, 6, 6] x) => (float[P, Q, R, S] y{places}) {{ {nodes} }}"
    path = saved(text, tmp_path / "model.onnx")
    if not message:
        assert operators(capture(path, images(2, 6, 6))) == ["MaxPool"]
        return
    with pytest.raises(UnsupportedModelError, match=message):
        capture(path, images(2, 6, 6))


@pytest.mark.parametrize("layer", [nn.AdaptiveAvgPool2d(3), nn.AdaptiveMaxPool2d((3, 8))])
def test_adaptive_pools_that_do_not_divide_are_refused_by_name(layer: nn.Module) -> None:
    with pytest.raises(UnsupportedModelError, match=r"layer 1 \(Adaptive.*8.*does not divide by 3"):
        capture(nn.Sequential(nn.Conv2d(4, 8, 1), layer), images(4, 8, 8))


def test_a_divisor_of_its_own_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedModelError, match=r"layer 0 \(torch.nn.AvgPool2d\).*divisor_override"):
        capture(nn.Sequential(nn.AvgPool2d(2, divisor_override=3)), images(4, 8, 8))

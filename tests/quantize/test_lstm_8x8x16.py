"""LSTM as LiteRT has it built in, on request only: near the float model, and portable with a reason where it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qdeploy
from qdeploy.quantize import IntegerModel, load_recipe, quantize
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.litert_interpreter import RESOLVERS

from .networks import float_model, quantized
from .test_lstm import HIDDEN, INPUTS, check, network

torch = pytest.importorskip("torch")

BUILTIN = load_recipe("default").changed(tflite_kernels="builtin")
BESIDE = """g (float[time, batch, 3] x) => (float[batch, 5] last, float[batch, 5] other) {
  states, last, cell = qdeploy.float.LSTM <hidden_size = 5> (x, u, w, b)
  sequence, end = qdeploy.float.GRU <hidden_size = 3> (x, gu, gw, gb, gr)
  others, other, held = qdeploy.float.LSTM <hidden_size = 5> (sequence, u, w, b)
}"""
ONE_LAYER = """g (float[time, batch, 3] x) => (float[batch, 5] last) {
  states, last, cell = qdeploy.float.LSTM <hidden_size = 5> (x, u, w, b)
}"""


def operators(integers: IntegerModel) -> list[str]:
    return [layer["operator"] for layer in integers.graph.layers]


@pytest.mark.parametrize(
    ("layers", "gain", "changes", "largest"),
    [
        (1, 1.0, {}, 0.02),
        (2, 1.0, {}, 0.03),
        (1, 4.0, {}, 0.06),
        (1, 1.0, {"weight_bits": 6, "state_bits": 16}, 0.06),
    ],
)
def test_every_engine_gives_the_same_bits_and_the_float_is_near(
    layers: int, gain: float, changes: dict[str, Any], largest: float
) -> None:
    found = network(layers, gain)
    asked = {"tflite_kernels": "builtin", **changes}
    check(*found, asked, largest)
    integers = quantize(found[0].model, found[1], load_recipe("default").changed(**asked))
    assert operators(integers).count("LSTM8x8x16") == layers
    assert "LSTM" not in operators(integers)


def weights(gain: float = 1.0, hidden: int = 5) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    shapes = {"u": (4 * hidden, 3), "w": (4 * hidden, hidden), "b": (4 * hidden,)}
    return {name: gain * generator.uniform(-0.5, 0.5, shape) for name, shape in shapes.items()}


def samples() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (9, 4, 3)).astype(np.float32)


def test_without_being_asked_for_it_is_not_taken() -> None:
    integers = quantized(float_model(ONE_LAYER, weights()), samples(), load_recipe("default"), batch_axis=1)
    assert operators(integers) == ["LSTM"]


def test_an_input_of_16_bits_keeps_a_layer_portable() -> None:
    drawn = weights()
    drawn |= {"gu": drawn["u"][:9], "gw": drawn["w"][:9, :3], "gb": drawn["b"][:9], "gr": drawn["b"][:3]}
    integers = quantized(float_model(BESIDE, drawn), samples(), BUILTIN, batch_axis=1)
    layers = {layer["operator"]: layer for layer in integers.graph.layers}
    assert layers.keys() == {"LSTM8x8x16", "GRU", "LSTM"}
    assert layers["LSTM"]["portable_because"] == "it takes int16, and LiteRT's LSTM takes 8 bits"


def test_a_trained_grid_comes_back_exactly() -> None:
    grid = {
        name: np.clip(np.rint(array * 15), -7, 7) / 16 if name != "b" else array for name, array in weights().items()
    }
    integers = quantized(float_model(ONE_LAYER, grid), samples(), BUILTIN, batch_axis=1)
    (layer,) = integers.graph.layers
    assert layer["operator"] == "LSTM8x8x16"
    assert layer["exact_grid"]
    assert layer["weight_error"] == 0


def test_cell_states_beyond_litert_s_keep_the_layer_portable() -> None:
    drawn = weights()
    drawn["b"] = np.repeat([30.0, 30.0, 30.0, 30.0], 5)
    long = np.random.default_rng(1).uniform(0, 1, (90, 4, 3)).astype(np.float32)
    with pytest.raises(
        UnsupportedModelError, match=r"lstm_0: its states reach 1 and 90, and LiteRT's LSTM holds 128 and 64"
    ):
        quantized(float_model(ONE_LAYER, drawn), long, BUILTIN, batch_axis=1)


@pytest.mark.litert
def test_a_bundle_streams_and_every_kernel_set_gives_its_bits(tmp_path: Path) -> None:
    torch.manual_seed(1)

    class Tagger(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = torch.nn.LSTM(INPUTS, HIDDEN, batch_first=True)
            self.head = torch.nn.Linear(HIDDEN, 4)

        def forward(self, x: Any) -> Any:
            return self.head(self.rnn(x)[0])

    x = np.random.default_rng(7).uniform(0, 1, (6, 10, INPUTS)).astype(np.float32)
    bundle = qdeploy.export_model(
        Tagger().eval(),
        tmp_path / "tagger",
        formats=("onnx", "tflite"),
        tflite_kernels="builtin",
        calibration={"x": x},
    )
    assert "LSTM8x8x16" in {layer.operator for layer in bundle.manifest.layers}
    report = bundle.verify(runtimes=("numpy", "onnxruntime", "litert"), samples=2)
    assert report.passed
    spoken = {voice.name for voice in report.voices if voice.name.startswith("litert")}
    assert len(spoken) == len(RESOLVERS)

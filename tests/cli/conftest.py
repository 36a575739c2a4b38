"""The command line in this process, and small networks to give it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from qdeploy.cli.group import run

FEATURES, CLASSES, HIDDEN, STEPS = 8, 3, 8, 12


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def qdeploy_command(capsys):
    """Call a command as the shell would, and see what the shell would see."""

    def call(*arguments: object) -> Done:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return call


def dense_model(**weights: np.ndarray) -> onnx.ModelProto:
    """Two linear layers with a ReLU between; weights may be replaced by name."""
    rng = np.random.default_rng(1)
    model = onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : 18]>
        dense (float[batch, {FEATURES}] x) => (float[batch, {CLASSES}] logits)
        {{
            hidden = Gemm<transB = 1>(x, first, first_bias)
            active = Relu(hidden)
            logits = Gemm<transB = 1>(active, second, second_bias)
        }}""")
    made = {
        "first": rng.normal(size=(HIDDEN, FEATURES)),
        "first_bias": rng.normal(size=HIDDEN),
        "second": rng.normal(size=(CLASSES, HIDDEN)),
        "second_bias": rng.normal(size=CLASSES),
    } | weights
    for name, values in made.items():
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    return model


def recurrent_model() -> onnx.ModelProto:
    """A ReLU RNN over [time, batch, 1], every step's class."""
    rng = np.random.default_rng(2)
    model = onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : 18]>
        recurrent (float[time, batch, 1] x) => (float[time, batch, {CLASSES}] logits)
        {{
            states, last = RNN<hidden_size = {HIDDEN}, activations = ["Relu"]>(x, input_weight, recurrent_weight)
            axis = Constant<value_ints = [1]>()
            flat = Squeeze(states, axis)
            logits = MatMul(flat, output_weight)
        }}""")
    orthogonal = np.linalg.qr(rng.normal(size=(HIDDEN, HIDDEN)))[0]
    made = {
        "input_weight": rng.normal(size=(1, HIDDEN, 1)),
        "recurrent_weight": 0.9 * orthogonal[None],
        "output_weight": rng.normal(size=(HIDDEN, CLASSES)),
    }
    for name, values in made.items():
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    return model


def dense_samples(count: int = 64) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, FEATURES)).astype(np.float32) / 256


def recurrent_samples(count: int = 32) -> np.ndarray:
    """Samples first, as calibration data are: [samples, time, 1]."""
    return np.random.default_rng(4).integers(0, 256, (count, STEPS, 1)).astype(np.float32) / 256


@dataclass(frozen=True)
class Exported:
    """A float model's file, its calibration data, and its bundle."""

    model: object
    data: object
    bundle: object


def _export(folder, model, samples, *options) -> Exported:
    onnx.save(model, folder / "net.onnx")
    np.savez(folder / "data.npz", x=samples)
    arguments = [
        "export",
        folder / "net.onnx",
        "--calibration",
        folder / "data.npz",
        "-o",
        folder / "out",
        *options,
        "-q",
    ]
    assert run([str(argument) for argument in arguments]) == 0
    return Exported(folder / "net.onnx", folder / "data.npz", folder / "out")


@pytest.fixture(scope="session")
def dense(tmp_path_factory) -> Exported:
    return _export(tmp_path_factory.mktemp("dense"), dense_model(), dense_samples())


@pytest.fixture(scope="session")
def recurrent(tmp_path_factory) -> Exported:
    folder = tmp_path_factory.mktemp("recurrent")
    return _export(folder, recurrent_model(), recurrent_samples(), "--time-axis", "0")

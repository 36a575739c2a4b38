"""The same bits on a processor without VNNI, whose u8 x s8 product saturates in 16 bits. Emulated by qemu as a Haswell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import qdeploy

from ..ops.agreement import one_node
from ..quantize.networks import float_model
from ..quantize.test_networks import MLP, RNN, mlp_weights, pixels, rnn_weights

pytestmark = [pytest.mark.qemu, pytest.mark.slow]

TRAP = """
import json, sys
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
print(json.dumps(session.run(None, {"x": numpy.full((1, 64), 255, numpy.uint8)})[0].tolist()))
"""


def haswell(*arguments: str) -> str:
    """What a Python process prints on the emulated processor."""
    command = ["qemu-x86_64", "-cpu", "Haswell", sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_trap_is_real_and_our_bodies_avoid_it(tmp_path: Path) -> None:
    """MatMulInteger of 255 and 127 as u8 x s8 is wrong there; the body that Linear takes for such weights is right."""
    weight = np.full((2, 64), 127, np.int8)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "naive",
        [value("x", onnx.TensorProto.UINT8, ["n", 64])],
        [value("y", onnx.TensorProto.INT32, ["n", 2])],
        [onnx.numpy_helper.from_array(weight.T.copy(), "w")],
    )
    naive = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(naive, tmp_path / "naive.onnx")
    from qdeploy.export.onnx import attach_bodies

    constants = {"w": weight, "b": np.zeros(2, np.int32), "m": np.ones(1, np.int32)}
    ours = one_node(
        "Linear",
        {"x": np.zeros((1, 64), np.uint8)},
        constants,
        ["x", "w", "b", "m"],
        {"y": "int32"},
        x_zero_point=0,
        shift=0,
        y_zero_point=0,
        low=-(2**31),
        high=2**31 - 1,
        dtype=6,
    )
    onnx.save(attach_bodies(ours), tmp_path / "ours.onnx")
    expected = [[64 * 255 * 127] * 2]
    assert json.loads(haswell("-c", TRAP, str(tmp_path / "naive.onnx"))) != expected
    assert json.loads(haswell("-c", TRAP, str(tmp_path / "ours.onnx"))) == expected


@pytest.mark.parametrize("family", ["perceptron", "recurrence on a trained grid"])
def test_bundles_verify_there(tmp_path: Path, family: str) -> None:
    if family == "perceptron":
        model, x = float_model(MLP, mlp_weights()), pixels((16, 16))
        options: dict[str, Any] = {}
    else:
        model, x = float_model(RNN % ("relu", ""), rnn_weights(bits=4)), pixels((16, 12, 1))
        options = {"time_axis": 0}
    onnx.save(model, tmp_path / "float.onnx")
    bundle = qdeploy.export_model(tmp_path / "float.onnx", tmp_path / "bundle", calibration={"x": x}, **options)
    command = ["-m", "qdeploy", "verify", str(bundle.path), "--runtime", "onnxruntime", "--samples", "16", "--json"]
    report = json.loads(haswell(*command))
    assert report["passed"]
    assert report["mismatched_integers"] == 0
    assert report["compared_integers"] > 1000

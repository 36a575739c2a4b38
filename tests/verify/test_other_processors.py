"""The same bits on older processors, emulated: Haswell without VNNI, whose u8 x s8 product saturates; Nehalem without AVX."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import qdeploy

from ..golden.convolutions import CONVOLUTIONS
from ..golden.networks import NETWORKS, Network
from ..ops.agreement import one_node
from . import processors
from .emulated import PROCESSORS, emulated, features

pytestmark = [pytest.mark.qemu, pytest.mark.slow]

TRAP = """
import json, sys
import numpy, onnxruntime
x = {"x": numpy.full((1, 64), 255, numpy.uint8)}
for path in sys.argv[1:]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    print(json.dumps(session.run(None, x)[0].tolist()))
"""

VERIFY = """
import json, sys
import qdeploy
for path in sys.argv[1:]:
    print(json.dumps(qdeploy.load(path).verify(samples=4).to_dict()))
"""

FAMILIES: dict[str, Network] = {
    name: (NETWORKS | CONVOLUTIONS)[name]
    for name in (
        "rnn-relu-grid4",
        "rnn-modrelu-state12",
        "rnn-linear-state8",
        "quaternion-blocked",
        "mlp",
        "conv-rows-2d",
        "qlinear-conv-2d",
    )
}


def output_of(processor: str, script: str, *paths: Path) -> list[Any]:
    """What the script prints there, a line of JSON for each path."""
    done = emulated(processor, "-c", script, *map(str, paths))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(paths)
    return lines


@cache
def found(processor: str) -> set[str]:
    return features(processor)


def test_the_emulated_processors_are_what_they_say() -> None:
    assert "AVX2" in found("Haswell")
    assert not {name for name in found("Haswell") if "AVX512" in name or "VNNI" in name}
    assert "SSE42" in found("Nehalem")
    assert not {name for name in found("Nehalem") if "AVX" in name}


@pytest.mark.parametrize("processor", PROCESSORS)
def test_the_trap_is_real_and_our_bodies_avoid_it(tmp_path: Path, processor: str) -> None:
    """MatMulInteger of 255 and 127 as u8 x s8 is wrong on the one; the body that Linear takes for such weights is right.

    Weights of 7 bits are right as they are, on both.
    """
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
    naive.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.full((64, 2), -63, np.int8), "w"))
    onnx.save(naive, tmp_path / "seven.onnx")
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
    naively, right, seven = output_of(
        processor, TRAP, tmp_path / "naive.onnx", tmp_path / "ours.onnx", tmp_path / "seven.onnx"
    )
    # The kernel that onnxruntime takes for SSE does not saturate.
    assert (naively == expected) == (processor == "Nehalem")
    assert right == expected
    assert seven == [[64 * 255 * -63] * 2]


@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_bundle_of_each_family_verifies_there(tmp_path: Path, processor: str) -> None:
    """Exported here: the golden vectors bring this processor's integers along."""
    for name, network in FAMILIES.items():
        onnx.save(network.model(), tmp_path / f"{name}.onnx")
        qdeploy.export_model(
            tmp_path / f"{name}.onnx",
            tmp_path / name,
            calibration={"x": network.samples()},
            recipe=network.chosen_recipe(),
            **network.options,
        )
    reports = output_of(processor, VERIFY, *(tmp_path / name for name in FAMILIES))
    for name, report in zip(FAMILIES, reports, strict=True):
        assert report["passed"], (name, report)
        assert report["mismatched_integers"] == 0
        assert report["cases"]["golden"] == 2
        assert report["compared_integers"] > 1000, name
        assert any(voice["name"].startswith("onnxruntime, optimized") for voice in report["voices"])


@pytest.mark.needs("torch")
@pytest.mark.needs("sklearn")
def test_the_table_of_make_verify_cpus(tmp_path: Path) -> None:
    """One shipped network as the command does it, on one processor."""
    present, _ = processors.shipped()
    assert "lenet300-digits" in present
    row = processors.verify(processors.export("lenet300-digits", tmp_path), "Haswell", samples=1)
    assert (row.network, row.processor, row.steps, row.differing) == ("lenet300-digits", "Haswell", None, 0)
    assert row.passed
    assert row.compared > 10_000


def test_without_the_emulator_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(processors, "emulator", lambda: None)
    monkeypatch.setattr("sys.argv", ["processors"])
    with pytest.raises(SystemExit) as left:
        processors.main()
    assert left.value.code == 4
    assert "apt-get install qemu-user" in capsys.readouterr().err

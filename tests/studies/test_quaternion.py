"""The table of quaternion networks: its figures are those of bundles and of onnxruntime's own files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

import qdeploy
from qdeploy.evaluation import load_samples, run_float
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.static_quantization import quantized_statically
from qdeploy.studies import quaternion
from qdeploy.studies.subject import Subject

pytestmark = pytest.mark.needs("torch")
NAME = "quaternion-lenet300-digits"


def test_every_form_is_the_file_that_its_tool_writes(tmp_path: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    report = quaternion.run("digits", limit=100, progress=lambda *stage: stages.append(stage))
    (row,) = report.rows
    assert (row.name, row.data, row.float_form.answers) == (NAME, "digits", 100)
    assert stages == [("networks", 0, 1), ("networks", 1, 1)]
    for form, (recipe, storage) in zip(row.forms, quaternion.FORMS.values(), strict=True):
        bundle = qdeploy.export_model(NAME, tmp_path / form.setting, recipe=recipe, storage=storage)
        assert form.bytes == (bundle.path / "model.onnx").stat().st_size
        assert form.accuracy == pytest.approx(bundle.validate("digits", limit=100).integer_value, abs=1e-12)
        assert form.differing == 0 < form.compared
    default, sevens, expanded = row.forms
    assert (default.weight_bits, sevens.weight_bits, expanded.weight_bits) == (8, 7, 8)
    assert (default.accuracy, default.disagreements) == (expanded.accuracy, expanded.disagreements)
    assert row.of_expanded == default.bytes / expanded.bytes < 0.5
    assert row.of_float == default.bytes / row.float_form.bytes < 0.1
    assert row.static.bytes > expanded.bytes
    (table,) = quaternion.write(report, tmp_path / "out")
    assert json.loads(table.read_text(encoding="utf-8"))["rows"][0]["of_expanded"] == row.of_expanded
    assert f"default is {row.of_expanded:.1%} of expanded" in "\n".join(report.lines())


def test_the_other_tools_file_is_quantized_and_answers_alike() -> None:
    subject = Subject.load(NAME, None, 100)
    captured = subject.captured
    samples = captured.arrange(load_samples("digits", "train", 70).named(captured))
    model = quantized_statically(captured.model, samples, {spec.name: spec.batch_axis for spec in captured.inputs})
    operators = Counter(node.op_type for node in model.graph.node)
    assert operators["Gemm"] == 3
    assert operators["QuantizeLinear"] >= 4
    weights = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT8]
    assert {tuple(sorted(tensor.dims)) for tensor in weights} >= {(64, 300), (100, 300), (10, 100)}
    logits = run_float(model, subject.feeds(), captured)[captured.outputs[0]]
    assert np.mean(logits.argmax(axis=1) == subject.float_logits().argmax(axis=1)) > 0.95


def test_which_networks_are_quaternion() -> None:
    assert quaternion.is_quaternion({"architecture": "quaternion-lenet-300-100", "hyperparameters": {}})
    assert quaternion.is_quaternion({"architecture": "conv-net", "hyperparameters": {"kind": "quaternion"}})
    assert quaternion.is_quaternion({"architecture": "recurrent", "hyperparameters": {"cell": "quaternion-lstm"}})
    assert not quaternion.is_quaternion({"architecture": "conv-net", "hyperparameters": {"kind": "real", "depth": 2}})


def test_what_it_cannot_judge_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no shipped quaternion network; expected all, or one of"):
        quaternion.run("lenet300-digits")
    monkeypatch.setenv("QDEPLOY_DATA", str(tmp_path))
    with pytest.raises(InvalidInputError, match="the data of mnist are not here"):
        quaternion.run("quaternion-lenet300-mnist")

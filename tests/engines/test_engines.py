"""Engines: the same interface and bits, and what happens where something is missing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import parser

from qdeploy.runtime.engines import DEFAULTS, ENGINES, Engine, available, open_engine
from qdeploy.runtime.engines.onnxruntime import ignores_overloads
from qdeploy.runtime.errors import (
    ContractError,
    InvalidFileError,
    InvalidInputError,
    MissingRequirementError,
    UnsupportedModelError,
)

TEXT = """<ir_version: 10, opset_import: ["": 18, "qdeploy": 1]>
g (uint8[batch, 3] x) => (uint8[batch, 3] y) {
    z = qdeploy.Twice(x)
    y = Identity(z)
}
<domain: "qdeploy", opset_import: ["": 18]>
Twice (v) => (r) { r = Add(v, v) }"""
#: For the reference: layout only, since its operators are its own.
LAYOUT = """<ir_version: 10, opset_import: ["": 18]>
g (uint8[batch, 3] x) => (uint8[?, ?] y) { y = Transpose(x) }"""
X = np.arange(6, dtype=np.uint8).reshape(2, 3)


@pytest.mark.parametrize("name", ["bodies", "onnxruntime"])
@pytest.mark.parametrize("form", ["model", "bytes", "path", "text path"])
@pytest.mark.parametrize("optimize", [False, True])
def test_every_form_of_a_model(name, form, optimize, tmp_path):
    model = parser.parse_model(TEXT)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    source = {"model": model, "bytes": model.SerializeToString(), "path": path, "text path": str(path)}[form]
    engine = open_engine(name, source, optimize=optimize)
    assert engine.name == name
    assert engine.version
    assert engine.run({"x": X})["y"].tolist() == (X * 2).tolist()


@pytest.mark.parametrize("name", DEFAULTS)
def test_all_engines_have_one_interface(name):
    engine: Engine = open_engine(name, parser.parse_model(LAYOUT), threads=2)
    result = engine.run({"x": X})
    assert list(result) == ["y"]
    assert result["y"].dtype == np.uint8
    assert (result["y"] == X.T).all()


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("feeds", [{}, {"x": X, "z": X}])
def test_wrong_names_are_refused(name, feeds):
    with pytest.raises(InvalidInputError):
        open_engine(name, parser.parse_model(LAYOUT)).run(feeds)


@pytest.mark.parametrize("name", ["bodies", "onnxruntime"])
@pytest.mark.parametrize(
    ("x", "found"),
    [
        (X.astype(np.int32), "input 'x': found .*int32"),
        (X[:, :2], r"input 'x': found .*\[2, 2\]"),
        (X[0], r"input 'x': found .*\[3\]"),
    ],
)
def test_wrong_arrays_are_refused(name, x, found):
    with pytest.raises(InvalidInputError, match=found):
        open_engine(name, parser.parse_model(TEXT)).run({"x": x})


def test_what_an_operator_does_not_define_is_an_error_of_both():
    model = parser.parse_model(
        '<ir_version: 10, opset_import: ["": 18]> g (int32[N] x, int64[M] i) => (int32[M] y) { y = Gather(x, i) }'
    )
    feeds = {"x": np.zeros(3, np.int32), "i": np.array([7])}
    for name in ("bodies", "onnxruntime"):
        with pytest.raises(ContractError):
            open_engine(name, model).run(feeds)


def test_an_unknown_name_lists_those_that_exist():
    with pytest.raises(InvalidInputError, match="'tflite', expected one of numpy, bodies, onnxruntime"):
        open_engine("tflite", parser.parse_model(LAYOUT))
    with pytest.raises(InvalidInputError, match="threads=0"):
        open_engine("numpy", parser.parse_model(LAYOUT), threads=0)


@pytest.mark.parametrize("name", DEFAULTS)
def test_no_model(name):
    with pytest.raises(InvalidFileError):
        open_engine(name, b"\xff\xff no model")


def test_a_model_that_onnxruntime_cannot_load_names_the_versions():
    model = parser.parse_model(LAYOUT)
    model.ir_version = 99
    with pytest.raises(UnsupportedModelError, match=r"onnxruntime \d.* cannot load the model \(IR version 99, .* 18\)"):
        open_engine("onnxruntime", model)


def test_overloads_are_refused_where_onnxruntime_ignores_them(monkeypatch):
    """Up to 1.26 onnxruntime takes one body for all overloads of a name and says nothing."""
    import onnxruntime

    model = parser.parse_model(TEXT)
    copy = model.functions.add()
    copy.CopyFrom(model.functions[0])
    copy.overload = "other"
    model.graph.node[0].overload = "other"
    if not ignores_overloads(onnxruntime.__version__):
        assert open_engine("onnxruntime", model).run({"x": X})["y"].tolist() == (X * 2).tolist()
    monkeypatch.setattr(onnxruntime, "__version__", "1.26.0")
    with pytest.raises(UnsupportedModelError, match=r"several for qdeploy::Twice; .*1\.27 or later.*--inline"):
        open_engine("onnxruntime", model)
    del model.functions[0]
    open_engine("onnxruntime", model)


def test_available_names_every_engine():
    import onnxruntime

    found = available()
    assert list(found) == list(ENGINES)
    assert found["onnxruntime"] == onnxruntime.__version__
    assert found["numpy"] == found["bodies"] == np.__version__


def test_a_missing_onnxruntime(monkeypatch):
    from importlib import metadata

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert available()["onnxruntime"] is None
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingRequirementError, match=r"pip install 'onnxruntime>=1\.21'") as caught:
        open_engine("onnxruntime", parser.parse_model(LAYOUT))
    assert caught.value.exit_code == 4


def test_telemetry_is_off_and_nothing_heavy_is_imported_before_it_is_needed():
    """In a fresh process without the variable: opening the numpy engine leaves onnxruntime alone."""
    code = """
import os, sys
os.environ.pop("ORT_DISABLE_TELEMETRY", None)
from onnx import parser
from qdeploy.runtime.engines import available, open_engine
head = '<ir_version: 10, opset_import: ["": 18]> '
model = parser.parse_model(head + 'g (uint8[N] x) => (uint8[N] y) { y = Identity(x) }')
available()
open_engine("numpy", model), open_engine("bodies", model)
assert "onnxruntime" not in sys.modules
open_engine("onnxruntime", model)
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""

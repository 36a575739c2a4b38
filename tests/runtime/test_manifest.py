"""manifest.json: a round trip, and every kind of damage refused with its place."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeploy.runtime.errors import InvalidFileError
from qdeploy.runtime.manifest import parse_manifest

MANIFEST: dict[str, Any] = {
    "schema": 1,
    "qdeploy": "0.1.0",
    "created_from": {"kind": "torch", "sha256": "0" * 64},
    "recipe": {"name": "default", "weight_bits": 4},
    "rounding": "half_up",
    "inputs": [
        {
            "name": "x",
            "float_name": "pixels",
            "dtype": "uint8",
            "shape": ["batch", "time", 1],
            "scale": 0.00392156862745098,
            "zero_point": 0,
            "time_axis": 1,
            "batch_axis": 0,
        }
    ],
    "outputs": [{"name": "logits", "dtype": "int16", "shape": ["batch", 10], "scale": 2.5e-4, "zero_point": 0}],
    "states": [
        {
            "input": "rnn_state",
            "output": "rnn_state_out",
            "dtype": "int16",
            "shape": ["batch", 170],
            "scale": 0.001,
            "zero_point": 0,
            "bits": 12,
        }
    ],
    "tensors": {
        "y": {"dtype": "int16", "scale": 0.001, "zero_point": 0, "bits": 12},
        "w": {"dtype": "int8", "scale": [0.1, 0.2], "zero_point": 0, "bits": 4},
        "i": {"dtype": "uint8", "scale": None, "zero_point": 0, "bits": 8},
    },
    "layers": [
        {"name": "rnn", "operator": "RNN", "weight_bits": 4, "exact_grid": True, "gain_error": 0.0},
        {"name": "head", "operator": "Linear", "weight_bits": 8},
    ],
    "files": {"model.onnx": {"sha256": "ab" * 32, "bytes": 1234}},
    "note": "kept",
}


def changed(path: list[Any], value: Any) -> str:
    root = copy.deepcopy(MANIFEST)
    place = root
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(root)


def test_round_trip():
    manifest = parse_manifest(json.dumps(MANIFEST))
    assert manifest.to_dict() == MANIFEST
    assert parse_manifest(manifest.to_json()) == manifest
    assert parse_manifest(manifest.to_json().encode()) == manifest


def test_what_it_holds():
    manifest = parse_manifest(json.dumps(MANIFEST))
    (spec,) = manifest.inputs
    assert (spec.name, spec.shape, spec.time_axis) == ("x", ("batch", "time", 1), 1)
    assert manifest.outputs[0].time_axis is None
    assert manifest.states[0].bits == 12
    assert manifest.tensors["w"].scale == (0.1, 0.2)
    assert manifest.layers[0].extra["gain_error"] == 0.0
    assert manifest.extra == {"note": "kept"}


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        (["schema"], 2, "found schema 2, this version reads schema 1"),
        (["schema"], ..., "schema: found nothing, expected an integer"),
        (["schema"], True, "schema: found bool 'True', expected an integer"),
        (["rounding"], ..., "rounding: found nothing, expected a text"),
        (["recipe"], [], r"recipe: found list '\[\]', expected an object"),
        (["inputs"], [], "inputs: found none, expected at least one"),
        (["outputs"], {}, "outputs: found dict .*, expected a list"),
        (["inputs", 0], 3, r"inputs\[0\]: found int, expected an object"),
        (["inputs", 0, "scale"], 0, r"inputs\[0\].scale: found 0, expected a positive finite number"),
        (["inputs", 0, "scale"], -1.5, "expected a positive finite number"),
        (["inputs", 0, "scale"], "1", r"inputs\[0\].scale: found str '1', expected a positive number"),
        (["inputs", 0, "scale"], 10**400, "expected a positive number"),
        (["inputs", 0, "zero_point"], 0.5, "expected an integer"),
        (["inputs", 0, "zero_point"], 1 << 40, "expected an integer in"),
        (["inputs", 0, "dtype"], "float64", "found 'float64', expected one of uint8, int8, int16"),
        (["inputs", 0, "shape"], ["batch", 0], "found 0, expected names and integers in 1"),
        (["inputs", 0, "shape"], ["batch", 1 << 40, 1], "expected names and integers"),
        (["inputs", 0, "shape"], ["batch", "time", True], "expected names and integers"),
        (["inputs", 0, "shape"], [1] * 17, "found 17 dimensions"),
        (["inputs", 0, "time_axis"], 3, "found 3, expected an axis of"),
        (["inputs", 0, "name"], "", "a text of 1 to 1024 printable characters"),
        (["inputs", 0, "name"], "a\x00b", "printable"),
        (["inputs", 0, "name"], "rnn_state", "the name 'rnn_state' twice"),
        (["states", 0, "bits"], 0, r"states\[0\].bits: found 0, expected an integer in 1"),
        (["tensors", "w", "scale"], [0.1, "x"], r"tensors\['w'\].scale: found x"),
        (["layers", 1, "operator"], ..., r"layers\[1\].operator: found nothing"),
        (["layers", 0, "gain_error"], "small", r"layers\[0\].gain_error: found str 'small', expected a number"),
        (["layers", 0, "gain_error"], None, "gain_error: found null, expected a number"),
        (["layers", 0, "weight_bits"], 1 << 70, "weight_bits: found 1180591620717411303424, expected an integer in 0"),
        (["layers", 0, "exact_grid"], 1, "exact_grid: found int '1', expected true, false or null"),
        (["layers", 0, "singular_values_integer"], [1, 2], "expected a value beside those of singular_values_float"),
        (["layers", 0, "state_range"], "minmax", "state_largest_integer_means: found nothing, expected a value beside"),
        (["created_from", "float_bytes_expanded"], 10**400, "created_from.float_bytes_expanded: found 1000"),
        (["outputs", 0, "name"], "rnn_state_out", "outputs: found the name 'rnn_state_out' twice"),
        (["outputs", 0, "shape"], [1 << 20, 1 << 20], "expected at most 67108864 elements"),
        (["files", "model.onnx", "sha256"], "xyz", "expected 64 hexadecimal digits"),
        (["files", "model.onnx", "bytes"], -1, "expected an integer in 0"),
        (["files", "../model.onnx"], {"sha256": "ab" * 32, "bytes": 1}, "the file name '../model.onnx'"),
        (["files", "lib/../../x"], {"sha256": "ab" * 32, "bytes": 1}, "or one in a folder, lib/pi4/libmodel.so"),
        (["files", "lib//x"], {"sha256": "ab" * 32, "bytes": 1}, "plain name"),
        (["files", "lib/.x"], {"sha256": "ab" * 32, "bytes": 1}, "plain name"),
        (["files", "lib/x/"], {"sha256": "ab" * 32, "bytes": 1}, "plain name"),
        (["files", "a/b/c/d/e/f"], {"sha256": "ab" * 32, "bytes": 1}, "plain name"),
        (["files", "/etc/passwd"], {"sha256": "ab" * 32, "bytes": 1}, "plain name"),
        (["files", "c:\\x"], {"sha256": "ab" * 32, "bytes": 1}, "plain name"),
        (["files", ".."], {"sha256": "ab" * 32, "bytes": 1}, "plain name"),
    ],
)
def test_damage_is_named(path, value, found):
    with pytest.raises(InvalidFileError, match=found):
        parse_manifest(changed(path, value))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[1]", "the top level: found list, expected an object"),
        ('{"schema": 1, "schema": 1}', "a key stands twice"),
        ('{"schema": NaN}', "found NaN, expected a finite number"),
        ("[" * 100_000, "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (" " * (17 << 20), "expected at most"),
    ],
)
def test_what_is_no_manifest(text, found):
    with pytest.raises(InvalidFileError, match=found):
        parse_manifest(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[list[Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [[*path, key] for key, _ in items] + [p for key, item in items for p in _paths(item, (*path, key))]


@given(path=st.sampled_from(_paths(MANIFEST)), value=_JSON)
@settings(max_examples=300)
def test_anything_anywhere_is_read_or_refused(path, value):
    """No other exception than InvalidFileError, and what is read is written back as it was."""
    text = changed(path, value)
    try:
        manifest = parse_manifest(text)
    except InvalidFileError:
        return
    assert json.loads(manifest.to_json()) == manifest.to_dict()

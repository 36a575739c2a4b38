"""Architecture files: what they may say, and what is told of those that say something else."""

from __future__ import annotations

import copy
import json

import pytest

from qdeploy.models.importers.architecture import parse_architecture, read_architecture
from qdeploy.models.importers.kinds import QUATERNION_LIBRARIES
from qdeploy.runtime.errors import InvalidFileError

GOOD = {
    "schema_version": 1,
    "library": "htorch",
    "input": [8, 12, 10],
    "layers": [
        {
            "kind": "QConv2d",
            "name": "a.0",
            "in_channels": 8,
            "out_channels": 16,
            "kernel_size": [3, 2],
            "activation": "relu",
        },
        {
            "kind": "Residual",
            "layers": [
                {"kind": "QConv2d", "name": "b", "in_channels": 16, "out_channels": 16, "kernel_size": 3, "padding": 1},
                {"kind": "QBatchNorm2d", "name": "n", "num_features": 16},
            ],
            "activation": "relu",
        },
        {"kind": "MaxPool2d", "kernel_size": 2},
        {"kind": "Flatten"},
        {"kind": "Linear", "name": "out", "in_features": 320, "out_features": 10, "bias": False},
    ],
    "ignored": ["steps"],
    "dataset": "cifar10",
}


def test_what_the_file_says(tmp_path):
    path = tmp_path / "net.json"
    path.write_text(json.dumps(GOOD))
    found = read_architecture(path)
    assert (found.library, found.channels_last, found.input, found.dataset) == ("htorch", False, (8, 12, 10), "cifar10")
    first, residual, pool, _, last = found.layers
    assert (first.kind, first.name, first.activation) == ("QConv2d", "a.0", "relu")
    assert (first["kernel_size"], first["stride"], first["bias"], last["bias"]) == ((3, 2), 1, True, False)
    assert [spec.name for spec in residual.layers] == ["b", "n"]
    assert residual.shortcut == ()
    assert pool["stride"] is None
    assert "layers[0] (QConv2d a.0)" in first.where


def test_the_place_of_the_channels():
    layers = [{"kind": "Flatten"}]
    base = {"schema_version": 1, "input": [4, 4, 8], "layers": layers}
    assert parse_architecture(base | {"library": "speechbrain"}).channels_last
    assert parse_architecture(base | {"library": "gaudet", "data_format": "channels_last"}).channels_last
    assert not parse_architecture(base | {"library": "gaudet", "data_format": "channels_first"}).channels_last
    assert parse_architecture(
        base | {"library": "orkis", "data_format": "channels_last", "input": [None, 8]}
    ).input == (None, 8)
    for given, words in (
        ({"library": "gaudet"}, "data_format is missing"),
        (
            {"library": "htorch", "data_format": "channels_last"},
            "data_format='channels_last', expected one of channels_first",
        ),
        ({"library": "orkis", "input": [None, 8]}, "of a sequence the first may be null"),
        ({"library": "speechbrain", "input": [None, 4, 8]}, "of a sequence the first may be null"),
    ):
        with pytest.raises(InvalidFileError, match=words):
            parse_architecture(base | given)


def changed(*path, value=None, drop=False):
    """The good file with one value changed or dropped."""
    found = copy.deepcopy(GOOD)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    if drop:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return found


def nested(depth):
    layers = [{"kind": "Flatten"}]
    for _ in range(depth):
        layers = [{"kind": "Residual", "layers": layers}]
    return changed("layers", value=layers)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "found list, expected a JSON object"),
        (changed("schema_version", value=2), "schema_version=2, expected 1"),
        (changed("schema_version", value=True), "schema_version=True"),
        (changed("library", value="keras"), "library='keras', expected one of orkis"),
        (changed("library", value=["orkis"]), "expected one of"),
        (changed("input", drop=True), "missing keys input"),
        (changed("input", value=[]), "input=.*, expected the shape"),
        (changed("input", value=[8, 0, 10]), "the shape of a sample"),
        (changed("input", value=[8, 12.0, 10]), "the shape of a sample"),
        (changed("input", value=[8, 1 << 20, 1 << 20]), "16777216 numbers at most"),
        (changed("optimizer", value="adam"), "unknown keys optimizer"),
        (changed("dataset", value="../data.npy"), "dataset='../data.npy', expected null or the name of a data set"),
        (changed("ignored", value="steps"), "a list of names"),
        (changed("layers", value=[]), "at least one layer"),
        (changed("layers", value={"kind": "Flatten"}), "found dict, expected a list"),
        (changed("layers", 0, value="QConv2d"), r"layers\[0\]: found str"),
        (changed("layers", 0, "kind", drop=True), r"layers\[0\]: missing keys kind"),
        (changed("layers", 0, "kind", value="QuaternionConv"), "kind='QuaternionConv', expected one of"),
        (changed("layers", 0, "name", drop=True), r"layers\[0\] \(QConv2d\): missing keys name"),
        (changed("layers", 0, "name", value=""), "name=''"),
        (changed("layers", 0, "name", value=3), "name=3"),
        (changed("layers", 0, "in_channels", drop=True), "missing keys in_channels"),
        (changed("layers", 0, "in_channels", value=10), "in_channels=10, expected a positive multiple of 4"),
        (changed("layers", 0, "in_channels", value=-4), "in_channels=-4"),
        (changed("layers", 0, "in_channels", value=True), "in_channels=True"),
        (changed("layers", 0, "kernel_size", value=0), "kernel_size=0"),
        (changed("layers", 0, "kernel_size", value=[3] * 4), "one for each axis"),
        (changed("layers", 0, "kernel_size", value=1 << 20), "kernel_size=1048576"),
        (changed("layers", 0, "stride", value="2"), "stride='2'"),
        (changed("layers", 0, "padding", value=-1), "padding=-1"),
        (changed("layers", 0, "bias", value=1), "bias=1, expected true or false"),
        (changed("layers", 0, "swap", value=True), "unknown keys swap"),
        (changed("layers", 0, "activation", value="gelu"), "activation='gelu', expected null or one of relu"),
        (changed("layers", 2, "name", value="pool"), "unknown keys name"),
        (changed("layers", 1, "layers", value=[]), "at least one layer beside"),
        (
            changed("layers", 1, "layers", 0, "name", value="a.0"),
            r"name='a.0' is that of .*layers\[0\] \(QConv2d a.0\)",
        ),
        (changed("layers", 1, "layers", 1, "eps", value=1e-5), "unknown keys eps"),
        (nested(9), "8 deep at most"),
    ],
)
def test_another_file_is_refused(values, words):
    with pytest.raises(InvalidFileError, match=words):
        parse_architecture(values)


def test_every_kind_has_what_it_needs():
    """Its ends are keys of it, and required."""
    for library in QUATERNION_LIBRARIES.values():
        for kind in library.kinds.values():
            assert set(kind.ranks) <= {0, 1, 2, 3}
            for key in kind.ends or ():
                assert kind.keys[key].required

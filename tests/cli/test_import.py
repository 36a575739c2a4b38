"""`qdeploy export --architecture`: a state dict of another library and its side-car to a bundle."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from qdeploy.models.importers.architecture import Architecture, parse_architecture  # noqa: E402  # torch may be missing
from qdeploy.models.importers.kinds import QUATERNION_LIBRARIES  # noqa: E402
from qdeploy.models.importers.libraries import LIBRARIES  # noqa: E402
from qdeploy.models.importers.side_car import parse_side_car  # noqa: E402

SIDE_CAR = {
    "schema_version": 1,
    "library": "hadamrnn",
    "activation": "linear",
    "output_activation": "relu",
    "steps": "last",
    "block_size": 4,
    "input_weight_bits": 4,
}


@pytest.fixture
def folder(tmp_path):
    """A checkpoint, its side-car, and calibration data."""
    torch.manual_seed(0)
    state = {
        "recurrent_layer.sign_vector": torch.randn(1, 16),
        "recurrent_layer.bias": torch.randn(16) / 10,
        "recurrent_layer.parametrizations.weight.original": torch.randn(16, 16),
        "input_layer.parametrizations.weight.original": torch.randn(16, 2),
        "output_layer.weight": torch.randn(3, 16),
        "output_layer.bias": torch.randn(3),
    }
    torch.save(state, tmp_path / "net.pt")
    (tmp_path / "net.json").write_text(json.dumps(SIDE_CAR))
    np.save(tmp_path / "data.npy", np.random.default_rng(0).random((20, 30, 2), dtype=np.float32))
    return tmp_path


def test_export_and_verify(qdeploy_command, folder):
    done = qdeploy_command(
        "export", folder / "net.pt", "--architecture", folder / "net.json", "--calibration", folder / "data.npy",
        "-o", folder / "out",
    )  # fmt: skip
    assert done.code == 0, done.err
    model = onnx.load(folder / "out" / "model.onnx")
    assert [node.op_type for node in model.graph.node if node.op_type.startswith("Hadamard")] == [
        "HadamardMatrix_parity"
    ]
    signs = next(one for one in model.graph.initializer if one.name.endswith(".signs"))
    given = torch.load(folder / "net.pt", weights_only=True)["recurrent_layer.sign_vector"][0].numpy()
    assert np.unpackbits(onnx.numpy_helper.to_array(signs), bitorder="little").tolist() == (given < 0).tolist()
    assert qdeploy_command("verify", folder / "out").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["net.pt", "--architecture", "none.json"], 2, "no such file; expected the JSON"),
        (["none.pt", "--architecture", "net.json"], 2, "no such file; expected a state dict"),
        (["--entry", "a:b", "--architecture", "net.json"], 2, "--architecture describes the checkpoint"),
        (["net.pt"], 2, "expected a dict of architecture"),
    ],
)
def test_what_is_missing_is_told_and_nothing_written(qdeploy_command, folder, monkeypatch, arguments, code, words):
    monkeypatch.chdir(folder)
    before = {path.name for path in folder.iterdir()}
    done = qdeploy_command("export", *arguments, "--calibration", "data.npy", "-o", "out")
    assert done.code == code
    assert words in done.err
    assert {path.name for path in folder.iterdir()} == before


def test_no_calibration_and_no_data_set(qdeploy_command, folder):
    done = qdeploy_command("export", folder / "net.pt", "--architecture", folder / "net.json", "-o", folder / "out")
    assert done.code == 2
    assert "no calibration data" in done.err


def test_a_module_needs_no_side_car(folder):
    import qdeploy

    with pytest.raises(qdeploy.InvalidInputError, match="describes a checkpoint; found a Linear"):
        qdeploy.export_model(torch.nn.Linear(2, 2), folder / "out", architecture="net.json")


def test_side_cars_of_the_page_are_side_cars():
    page = (Path(__file__).parents[2] / "docs" / "importing.md").read_text()
    blocks = re.findall(r"```json\n(.*?)```", page, flags=re.DOTALL)
    values = [json.loads(block) for block in blocks]
    side_cars = [parse_side_car(one) for one in values if one["library"] in LIBRARIES]
    assert {one.library for one in side_cars} == {"projunn", "exprnn", "geotorch", "torch-orthogonal", "hadamrnn"}
    architectures = [parse_architecture(one) for one in values if one["library"] not in LIBRARIES]
    assert {one.library for one in architectures} == {"htorch", "gaudet", "speechbrain"}
    described = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`[^|]*`) \|", page, flags=re.MULTILINE))))
    assert {field for field in parse_side_car(SIDE_CAR).__dataclass_fields__ if field != "source"} <= described


def test_the_page_names_every_kind_of_layer_and_every_key():
    page = (Path(__file__).parents[2] / "docs" / "importing.md").read_text()
    named = set(re.findall(r"`(\w+)`", page))
    for library in QUATERNION_LIBRARIES.values():
        assert set(library.kinds) <= named
        assert {key for kind in library.kinds.values() for key in kind.keys} <= named
    assert {field for field in Architecture.__dataclass_fields__ if field not in ("source", "channels_last")} <= named


def test_a_quaternion_network_of_another_library(qdeploy_command, tmp_path):
    parts = {f"fc.{part}_weight": torch.randn(4, 2) / 3 for part in "rijk"}
    torch.save(parts | {"fc.bias": torch.randn(8), "out.weight": torch.randn(3, 8)}, tmp_path / "net.pt")
    layers = [
        {"kind": "QuaternionLinear", "name": "fc", "in_features": 16, "out_features": 8, "activation": "relu"},
        {"kind": "Linear", "name": "out", "in_features": 8, "out_features": 3, "bias": False},
    ]
    description = {"schema_version": 1, "library": "orkis", "input": [16], "layers": layers}
    (tmp_path / "net.json").write_text(json.dumps(description))
    np.save(tmp_path / "data.npy", np.random.default_rng(0).random((20, 16), dtype=np.float32))
    arguments = [
        "--architecture",
        tmp_path / "net.json",
        "--calibration",
        tmp_path / "data.npy",
        "-o",
        tmp_path / "out",
    ]
    done = qdeploy_command("export", tmp_path / "net.pt", *arguments)
    assert done.code == 0, done.err
    assert qdeploy_command("verify", tmp_path / "out").code == 0
    (tmp_path / "net.json").write_text(json.dumps(description | {"library": "keras"}))
    refused = qdeploy_command("export", tmp_path / "net.pt", *arguments, "--force")
    assert refused.code == 2
    assert "library='keras', expected one of exprnn, gaudet, geotorch" in refused.err

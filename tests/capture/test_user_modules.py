"""Modules of the user's own code, their weights, and checkpoints of ours."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402  # after the skip
from torch import nn  # noqa: E402  # after the skip
from torch.nn.utils import prune  # noqa: E402  # after the skip

from qdeploy.capture import capture, load_entry, load_weights  # noqa: E402  # after the skip
from qdeploy.models import save_checkpoint  # noqa: E402  # after the skip
from qdeploy.models.registry import build  # noqa: E402  # after the skip
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError  # noqa: E402  # after the skip

CODE = """
from torch import nn

NUMBER = 3

def build():
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))

def with_arguments(size):
    return nn.Linear(size, size)

def no_module():
    return {}
"""


@pytest.fixture
def user_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user_networks_for_capture.py").write_text(CODE)
    yield "user_networks_for_capture"
    sys.modules.pop("user_networks_for_capture", None)


@pytest.fixture
def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def test_entry_with_weights(user_code, tmp_path, network):
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    before = list(sys.path)
    module = load_entry(f"{user_code}:build", tmp_path / "weights.safetensors")
    assert torch.equal(module[2].weight, network[2].weight)
    assert sys.path == before


def test_entry_with_pruned_weights(user_code, tmp_path, network):
    """A module without masks gets the products; one that prunes itself gets both factors."""
    prune.l1_unstructured(network[0], "weight", amount=7)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    module = load_entry(f"{user_code}:build", tmp_path / "weights.pt")
    assert torch.equal(module[0].weight, network[0].weight)
    assert int((module[0].weight == 0).sum()) == 7
    again = nn.Sequential(prune.identity(nn.Linear(4, 3), "weight"), nn.ReLU(), nn.Linear(3, 2))
    load_weights(again, tmp_path / "weights.pt")
    assert torch.equal(again[0].weight_mask, network[0].weight_mask)


def test_a_mask_that_is_none(network, tmp_path):
    prune.custom_from_mask(network[0], "weight", torch.full((3, 4), 0.5))
    with pytest.raises(InvalidFileError, match=r"model: 0\.weight_mask holds 0\.5 at index \[0, 0\]"):
        capture(network, {"x": np.zeros((2, 4), np.float32)})
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(InvalidFileError, match=r"weights\.safetensors: 0\.weight_mask holds 0\.5"):
        load_weights(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("no_colon", "expected package.module:function"),
        (":build", "expected package.module:function"),
        ("no_such_module_here:build", "cannot be imported"),
        ("user_networks_for_capture:absent", "has no function absent"),
        ("user_networks_for_capture:NUMBER", "has no function NUMBER"),
        ("user_networks_for_capture:with_arguments", "expected a function without arguments"),
        ("user_networks_for_capture:no_module", "found dict, expected a torch.nn.Module"),
    ],
)
@pytest.mark.usefixtures("user_code")
def test_entries_that_are_refused(entry, words):
    with pytest.raises(InvalidInputError, match=words):
        load_entry(entry)


@pytest.mark.parametrize("ending", [".pt", ".pth", ".safetensors"])
def test_weights(tmp_path, network, ending):
    path = tmp_path / f"weights{ending}"
    if ending == ".safetensors":
        save_file(network.state_dict(), path)
    else:
        torch.save({"state_dict": network.state_dict(), "epoch": 3}, path)
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    load_weights(module, path)
    assert torch.equal(module[0].weight, network[0].weight)


def test_weights_do_not_change_the_users_module(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    before = module[0].weight.clone()
    captured = capture(module, {"x": np.ones((2, 4))}, weights=tmp_path / "weights.pt")
    assert torch.equal(module[0].weight, before)
    weights = {one.name: one for one in captured.model.graph.initializer}
    assert weights["0.weight"].raw_data == network[0].weight.detach().numpy().tobytes()


class Malicious:
    def __reduce__(self):
        return (print, ("code of a file was run",))


def test_a_pickle_with_code_is_not_run(tmp_path, network, capsys):
    path = tmp_path / "weights.pt"
    with path.open("wb") as file:
        pickle.dump({"weight": Malicious()}, file)
    with pytest.raises(InvalidFileError, match="would run code"):
        load_weights(network, path)
    torch.save(Malicious(), path)
    with pytest.raises(InvalidFileError, match="would run code"):
        load_weights(network, path)
    torch.save(network, path)
    with pytest.raises(InvalidFileError, match=r"save model\.state_dict"):
        load_weights(network, path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"no weights at all", b"PK\x03\x04broken"])
def test_files_of_another_kind(tmp_path, network, ending, content):
    path = tmp_path / f"weights{ending}"
    path.write_bytes(content)
    with pytest.raises(InvalidFileError, match="weights"):
        load_weights(network, path)


def test_truncated_weights(tmp_path, network):
    for ending in (".pt", ".safetensors"):
        path = tmp_path / f"weights{ending}"
        if ending == ".pt":
            torch.save(network.state_dict(), path)
        else:
            save_file(network.state_dict(), path)
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(InvalidFileError, match="truncated"):
            load_weights(network, path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("0.bias"), r"do not fit Sequential: Missing key.*0\.bias"),
        (lambda state: state.update(extra=torch.ones(1)), "Unexpected key.*extra"),
        (lambda state: state.update({"0.bias": torch.ones(9)}), r"size mismatch for 0\.bias"),
        (lambda state: state.update({"0.bias": torch.full((3,), torch.nan)}), r"tensor 0\.bias holds NaN"),
        (lambda state: state.update({"0.bias": 3}), r"entry 0\.bias is int"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, network, change, words):
    state = dict(network.state_dict())
    change(state)
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(InvalidFileError, match=words):
        load_weights(network, tmp_path / "weights.pt")


@pytest.mark.parametrize(("name", "words"), [("none.pt", "no such file"), ("weights.h5", "found the ending '.h5'")])
def test_other_paths(tmp_path, network, name, words):
    (tmp_path / "weights.h5").write_bytes(b"x")
    with pytest.raises(InvalidFileError, match=words):
        load_weights(network, tmp_path / name)


def test_a_checkpoint(tmp_path, rng):
    hyperparameters = {"input_size": 1, "hidden_size": 8, "num_classes": 3, "weight_bits": 4}
    module = build("orthogonal-classifier", hyperparameters)
    metadata = {"architecture": "orthogonal-classifier", "hyperparameters": hyperparameters}
    path = save_checkpoint(tmp_path / "small", module, metadata)
    for given in (path, tmp_path / "small", str(tmp_path / "small.json")):
        captured = capture(given, {"pixels": rng.random((2, 6, 1))})
        assert captured.time_axis == 1
        assert captured.source.startswith("small")


def test_an_unknown_name():
    with pytest.raises(InvalidFileError, match=r"model 'no-such-model': no such file.*--entry"):
        capture("no-such-model", {"x": np.zeros((2, 4))})

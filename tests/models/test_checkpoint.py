from __future__ import annotations

import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from qdeploy.models.checkpoint import MAX_FILE_BYTES, load_checkpoint, save_checkpoint
from qdeploy.models.registry import build
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, UnsupportedModelError

ARCHITECTURE = "orthogonal-classifier"
HYPERPARAMETERS = {"input_size": 1, "hidden_size": 8, "num_classes": 3, "activation": "relu", "weight_bits": 4}


@pytest.fixture
def module():
    torch.manual_seed(0)
    return build(ARCHITECTURE, HYPERPARAMETERS)


@pytest.fixture
def saved(tmp_path, module):
    metadata = {"architecture": ARCHITECTURE, "hyperparameters": HYPERPARAMETERS, "dataset": "sequential-digits"}
    return save_checkpoint(tmp_path / "net", module, metadata)


def edit_json(path, **changes):
    metadata = json.loads(path.with_suffix(".json").read_text())
    metadata.update(changes)
    path.with_suffix(".json").write_text(json.dumps(metadata))


def resave(path, tensors):
    """Other tensors under the same description, with a hash that fits."""
    import hashlib

    save_file(tensors, path)
    edit_json(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("name", ["net", "net.safetensors", "net.json"])
def test_round_trip(saved, module, name):
    loaded = load_checkpoint(saved.with_name(name))
    assert not loaded.module.training
    assert loaded.metadata["schema_version"] == 1
    assert loaded.metadata["dataset"] == "sequential-digits"
    assert loaded.metadata["torch_version"] == torch.__version__
    inputs = torch.rand(2, 6, 1)
    assert torch.equal(loaded.module(inputs), module.eval()(inputs))


def test_a_name_with_dots_is_a_stem(tmp_path, module):
    metadata = {"architecture": ARCHITECTURE, "hyperparameters": HYPERPARAMETERS}
    assert save_checkpoint(tmp_path / "net-v1.2", module, metadata).name == "net-v1.2.safetensors"
    assert load_checkpoint(tmp_path / "net-v1.2").metadata["architecture"] == ARCHITECTURE


def test_loaded_weights_can_be_trained_on(saved):
    module = load_checkpoint(saved).module.train()
    module(torch.rand(2, 6, 1)).sum().backward()
    gradient = module.recurrent.recurrent_weight.grad
    assert gradient is not None
    assert bool(gradient.abs().sum() > 0)


def test_no_temporary_file_is_left(saved):
    assert sorted(path.name for path in saved.parent.iterdir()) == ["net.json", "net.safetensors"]


@pytest.mark.parametrize("missing", ["net.json", "net.safetensors"])
def test_missing_file(saved, missing):
    (saved.parent / missing).unlink()
    with pytest.raises(InvalidFileError, match=f"{missing}: no such file"):
        load_checkpoint(saved)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_tensors(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(InvalidFileError, match="SHA-256"):
        load_checkpoint(saved)


def test_changed_tensors(saved):
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    with pytest.raises(InvalidFileError, match="SHA-256"):
        load_checkpoint(saved)


def test_corrupted_tensors_with_a_fitting_hash(saved):
    import hashlib

    saved.write_bytes(b"\xff" * 64)
    edit_json(saved, sha256=hashlib.sha256(saved.read_bytes()).hexdigest())
    with pytest.raises(InvalidFileError, match="not a safetensors file"):
        load_checkpoint(saved)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_corrupted_json(saved, content):
    saved.with_suffix(".json").write_bytes(content)
    with pytest.raises(InvalidFileError, match="not a JSON file"):
        load_checkpoint(saved)


@pytest.mark.parametrize("content", ["[]", "3", "null"])
def test_json_of_another_kind(saved, content):
    saved.with_suffix(".json").write_text(content)
    with pytest.raises(InvalidFileError, match="expected a JSON object"):
        load_checkpoint(saved)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_other_schema_version(saved, version):
    edit_json(saved, schema_version=version)
    with pytest.raises(InvalidFileError, match="this release reads 1"):
        load_checkpoint(saved)


def test_unknown_architecture(saved):
    edit_json(saved, architecture="transformer")
    with pytest.raises(UnsupportedModelError, match=r"'transformer' is not known; known are .*lenet-300-100"):
        load_checkpoint(saved)


@pytest.mark.parametrize("wrong", [None, 3, []])
def test_hyperparameters_of_another_kind(saved, wrong):
    edit_json(saved, hyperparameters=wrong)
    with pytest.raises(InvalidFileError, match="expected a name and an object"):
        load_checkpoint(saved)


def test_wrong_shape(saved):
    edit_json(saved, hyperparameters={**HYPERPARAMETERS, "hidden_size": 9})
    with pytest.raises(InvalidFileError, match=r"is torch.float32 \[3, 8\], expected torch.float32 \[3, 9\]"):
        load_checkpoint(saved)


def test_wrong_dtype(saved, module):
    resave(saved, {name: value.double() for name, value in module.state_dict().items()})
    with pytest.raises(InvalidFileError, match=r"torch\.float64"):
        load_checkpoint(saved)


def test_missing_and_unknown_tensors(saved, module):
    tensors = dict(module.state_dict())
    tensors["extra"] = tensors.pop("output_bias")
    resave(saved, tensors)
    with pytest.raises(InvalidFileError, match="missing: output_bias; not of orthogonal-classifier: extra"):
        load_checkpoint(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(saved, module, value):
    tensors = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    tensors["recurrent.bias"][3] = value
    resave(saved, tensors)
    with pytest.raises(InvalidFileError, match=r"recurrent\.bias holds NaN or infinity"):
        load_checkpoint(saved)


def test_weights_that_are_not_finite_are_not_saved(tmp_path, module):
    with torch.no_grad():
        module.output_bias[0] = float("nan")
    with pytest.raises(InvalidInputError, match="output_bias"):
        save_checkpoint(tmp_path / "net", module, {"architecture": ARCHITECTURE, "hyperparameters": HYPERPARAMETERS})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [16_385, 10**12])
def test_absurd_sizes_are_refused_before_memory_is_taken(saved, size):
    edit_json(saved, hyperparameters={**HYPERPARAMETERS, "hidden_size": size})
    with pytest.raises(InvalidFileError, match="hidden_size"):
        load_checkpoint(saved)


def test_largest_size_costs_no_memory_where_tensors_do_not_fit(saved):
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    edit_json(saved, hyperparameters={**HYPERPARAMETERS, "hidden_size": 16_384})
    with pytest.raises(InvalidFileError, match="expected"):
        load_checkpoint(saved)
    # 16384 x 16384 float32 would be a gigabyte; ru_maxrss counts kilobytes.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize("name", ["net.safetensors", "net.pt"])
def test_files_above_the_bound(saved, name):
    path = saved.with_name(name)
    # A hole: it takes no room on the disk.
    with path.open("ab") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(InvalidFileError, match="expected at most"):
        load_checkpoint(path)


def test_missing_metadata_is_refused(tmp_path, module):
    with pytest.raises(InvalidInputError, match="hyperparameters is missing"):
        save_checkpoint(tmp_path / "net", module, {"architecture": ARCHITECTURE})


def test_metadata_that_json_does_not_hold(tmp_path, module):
    metadata = {"architecture": ARCHITECTURE, "hyperparameters": HYPERPARAMETERS, "metrics": {"loss": float("nan")}}
    with pytest.raises(InvalidInputError, match="net"):
        save_checkpoint(tmp_path / "net", module, metadata)
    assert list(tmp_path.iterdir()) == []


def content_of(module):
    return {"architecture": ARCHITECTURE, "hyperparameters": HYPERPARAMETERS, "state_dict": module.state_dict()}


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_torch_file(tmp_path, module, suffix):
    path = tmp_path / f"net{suffix}"
    torch.save({**content_of(module), "note": "mine"}, path)
    loaded = load_checkpoint(path)
    assert loaded.metadata["note"] == "mine"
    inputs = torch.rand(2, 6, 1)
    assert torch.equal(loaded.module(inputs), module.eval()(inputs))


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("legacy", [False, True])
def test_pickle_with_code_is_refused_and_not_run(tmp_path, module, legacy):
    path, trace = tmp_path / "net.pt", tmp_path / "attacked"
    content = {**content_of(module), "note": Attack(str(trace))}
    if legacy:
        with path.open("wb") as stream:
            pickle.dump(Attack(str(trace)), stream, protocol=2)
    else:
        torch.save(content, path)
    with pytest.raises(InvalidFileError, match="would run code"):
        load_checkpoint(path)
    assert not trace.exists()


def test_whole_module_is_refused(tmp_path, module):
    torch.save(module, tmp_path / "net.pt")
    with pytest.raises(InvalidFileError, match="would run code"):
        load_checkpoint(tmp_path / "net.pt")


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_truncated_torch_file(tmp_path, module, part):
    path = tmp_path / "net.pt"
    torch.save(content_of(module), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(InvalidFileError, match=r"truncated, corrupted or not a file of torch.save|would run code"):
        load_checkpoint(path)


def test_missing_torch_file(tmp_path):
    with pytest.raises(InvalidFileError, match="no such file"):
        load_checkpoint(tmp_path / "net.pt")


@pytest.mark.parametrize("content", [[1], {"state_dict": {}}])
def test_torch_file_of_another_kind(tmp_path, content):
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(InvalidFileError, match="expected a dict of architecture"):
        load_checkpoint(tmp_path / "net.pt")


def test_torch_file_whose_state_is_not_of_tensors(tmp_path, module):
    torch.save({**content_of(module), "state_dict": {"output_bias": 3}}, tmp_path / "net.pt")
    with pytest.raises(InvalidFileError, match="not a dict of tensors"):
        load_checkpoint(tmp_path / "net.pt")

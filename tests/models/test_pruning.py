"""Iterative magnitude pruning: what is cut, what stays, what rewinds; masks in checkpoints."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn.utils import prune

from qdeploy.models.checkpoint import load_checkpoint, save_tensors
from qdeploy.models.config import TrainingConfig
from qdeploy.models.image_layers import BATCH_NORMS
from qdeploy.models.initialization import initial_module
from qdeploy.models.masks import apply_masks, masked_products, masks_of
from qdeploy.models.pruning import Pruning, iteration_name, next_masks, prunable, smallest_cut, train_pruned
from qdeploy.models.registry import build
from qdeploy.models.training import TrainingData, train
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, UnsupportedModelError

CONFIG = TrainingConfig(
    name="small",
    dataset="none",
    architecture="quaternion-lenet-300-100",
    hyperparameters={"in_features": 8, "num_classes": 3},
    epochs=2,
    batch_size=10,
    learning_rate=0.01,
    weight_decay=0.01,
    validation=10,
    pruning_iterations=2,
    pruning_part=0.3,
)
# Components of both hidden layers, and the output.
WEIGHTS = 4 * (75 * 2 + 25 * 75) + 3 * 100


def data() -> TrainingData:
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, 60)
    x = (generator.random((60, 8)) + (np.arange(8) % 3 == y[:, None])).astype(np.float32)
    return TrainingData(x[:50], y[:50], x[50:], y[50:])


def test_all_weights_and_no_bias():
    shapes = prunable(build("quaternion-lenet-300-100", CONFIG.hyperparameters))
    assert sum(parameter.numel() for parameter in shapes.values()) == WEIGHTS
    assert not any("bias" in name for name in shapes)
    real = prunable(build("lenet-300-100", CONFIG.hyperparameters))
    assert list(real) == ["hidden1.weight", "hidden2.weight", "output.weight"]


@pytest.mark.parametrize("batch_norm", BATCH_NORMS)
def test_convolutions_and_no_normalization(batch_norm):
    module = build("resnet", {"kind": "quaternion", "width": 8, "num_classes": 3, "batch_norm": batch_norm})
    normalizations = [f"{name}." for name, part in module.named_modules() if "BatchNorm" in type(part).__name__]
    expected = [
        name
        for name, parameter in module.named_parameters()
        if parameter.dim() > 1 and not name.startswith(tuple(normalizations))
    ]
    found = prunable(module)
    assert sorted(found) == sorted(expected)
    assert any(parameter.dim() == 4 for parameter in found.values())


def test_a_recurrent_network_is_refused():
    recurrent = build("recurrent-classifier", {"input_size": 2, "hidden_size": 4, "num_classes": 3, "cell": "gru"})
    with pytest.raises(UnsupportedModelError, match="weight_ih_l0 is a weight of GRU"):
        prunable(recurrent)


@settings(max_examples=30, deadline=None)
@given(part=st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0]), seed=st.integers(0, 999), levels=st.sampled_from([2, 1000]))
def test_a_cut_takes_the_smallest_of_all_layers_together(part, seed, levels):
    """Against torch.nn.utils.prune's count, and a sort in Python; with few levels most magnitudes are equal."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randint(-levels, levels + 1, shape, generator=generator) / levels
        for name, shape in (("a", (3, 5)), ("b", (2, 2, 4)))
    }
    masks = {name: (torch.rand(weight.shape, generator=generator) < 0.7).float() for name, weight in weights.items()}
    found = next_masks(weights, masks, part)
    magnitudes = torch.cat([weight.abs().flatten() for weight in weights.values()]).tolist()
    alive = torch.cat([mask.flatten() for mask in masks.values()]).tolist()
    order = sorted((magnitude, place) for place, magnitude in enumerate(magnitudes) if alive[place])
    gone = {place for _, place in order[: round(part * len(order))]}
    expected = [float(alive[place] and place not in gone) for place in range(len(alive))]
    assert torch.cat([mask.flatten() for mask in found.values()]).tolist() == expected
    assert {name: mask.shape for name, mask in found.items()} == {name: w.shape for name, w in weights.items()}


def test_the_count_is_the_one_of_torch():
    layer = torch.nn.Linear(7, 11)
    prune.global_unstructured([(layer, "weight")], prune.L1Unstructured, amount=0.2)
    assert int((layer.weight_mask == 0).sum()) == smallest_cut(77, 0.2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pruned")
    return folder, train_pruned(CONFIG, data(), folder, command="qdeploy train small")


def test_counts_of_every_iteration(trained):
    folder, report = trained
    remaining = WEIGHTS
    for iteration in range(3):
        name = iteration_name("small", iteration)
        record = json.loads((folder / name / f"{name}.json").read_text())["pruning"]
        assert record == {"iteration": iteration, "weights": WEIGHTS, "remaining": remaining}
        masks = masks_of(load_file(folder / name / f"{name}.safetensors"))
        assert sum(int(mask.sum()) for mask in masks.values()) == remaining
        remaining -= round(0.3 * remaining)
    assert report.checkpoint == folder / "small.safetensors"
    metadata = load_checkpoint(report.checkpoint).metadata
    assert (metadata["name"], metadata["config"]) == ("small", CONFIG.as_dict())


def test_what_is_cut_stays_cut_and_was_the_smallest(trained):
    folder, _ = trained
    files = [folder / iteration_name("small", n) / f"{iteration_name('small', n)}.safetensors" for n in range(3)]
    for before, after in itertools.pairwise(files):
        old, new = load_file(before), load_file(after)
        kept, cut = [], []
        for name, mask in masks_of(new).items():
            assert not bool((mask & ~masks_of(old)[name]).any())
            assert not bool(new[name + "_orig"][~mask].any())
            magnitude = old[name + "_orig"].abs()
            kept.append(magnitude[mask])
            cut.append(magnitude[masks_of(old)[name] & ~mask])
        assert torch.cat(cut).max() <= torch.cat(kept).min()


def test_every_iteration_begins_at_the_initial_weights(tmp_path):
    """With a learning rate of almost nothing what is trained is what it began with; biases began at 0."""
    still = dataclasses.replace(CONFIG, learning_rate=1e-30, weight_decay=0.0, epochs=1)
    train_pruned(still, data(), tmp_path)
    torch.manual_seed(CONFIG.seed)
    initial = initial_module(CONFIG).state_dict()
    for iteration in range(3):
        name = iteration_name("small", iteration)
        found = load_file(tmp_path / name / f"{name}.safetensors")
        for weight, mask in masks_of(found).items():
            assert torch.equal(found[weight + "_orig"], torch.where(mask, initial[weight], 0))
        assert float(found["hidden1.bias"].abs().max()) < 1e-28


def test_a_pruned_network_is_its_product(trained):
    _, report = trained
    module = load_checkpoint(report.checkpoint).module
    tensors = load_file(report.checkpoint)
    masks = masks_of(tensors)
    parameters = dict(module.named_parameters())
    assert set(parameters) == set(dict(build(CONFIG.architecture, CONFIG.hyperparameters).named_parameters()))
    assert all(torch.equal(parameters[name] != 0, mask) for name, mask in masks.items())
    assert sum(int((parameters[name] == 0).sum()) for name in masks) == WEIGHTS - sum(
        int(m.sum()) for m in masks.values()
    )


def test_an_interrupted_pruning_ends_in_the_same_bits(trained, tmp_path):
    _, report = trained

    class Stop(Exception):  # noqa: N818  # no error
        pass

    def until(limit):
        def progress(words, done):
            del words
            if done > limit:
                raise Stop

        return progress

    for limit in (0.2, 0.5, 0.9):
        with pytest.raises(Stop):
            train_pruned(CONFIG, data(), tmp_path, progress=until(limit), command="qdeploy train small")
    again = train_pruned(CONFIG, data(), tmp_path, command="qdeploy train small")
    assert again.checkpoint.read_bytes() == report.checkpoint.read_bytes()
    assert json.loads(again.checkpoint.with_suffix(".json").read_text()) == json.loads(
        report.checkpoint.with_suffix(".json").read_text()
    )


def test_progress_tells_what_is_left(tmp_path):
    lines = []
    train_pruned(dataclasses.replace(CONFIG, epochs=1), data(), tmp_path, progress=lambda *line: lines.append(line))
    assert lines[0][0].startswith("100.0 % of the weights, epoch 1/1")
    assert lines[-1][0].startswith("49.0 % of the weights")
    assert [done for _, done in lines] == sorted(done for _, done in lines)
    assert lines[-1][1] == 1.0


def test_a_folder_of_another_part_is_refused(trained):
    folder, _ = trained
    with pytest.raises(InvalidInputError, match="another configuration"):
        train_pruned(dataclasses.replace(CONFIG, pruning_part=0.5), data(), folder)


def test_a_state_of_other_masks_is_refused(tmp_path):
    config = dataclasses.replace(CONFIG, pruning_iterations=0)
    shapes = prunable(build(config.architecture, config.hyperparameters))
    masks = {name: torch.ones(parameter.shape) for name, parameter in shapes.items()}
    train(config, data(), tmp_path, pruning=Pruning(masks, 0))
    masks["output.weight"] = torch.zeros(3, 100)
    with pytest.raises(InvalidInputError, match=r"another mask of output\.weight"):
        train(config, data(), tmp_path, pruning=Pruning(masks, 0))


# Masks in files


def test_products_are_exact_zeros():
    tensors = {
        "a.weight_orig": torch.tensor([1.5, -2.0, float("inf")]),
        "a.weight_mask": torch.tensor([1.0, 0.0, 0.0]),
        "a.bias": torch.ones(3),
        "b.weight_orig": torch.ones(2),
        "c.padding_mask": torch.zeros(2),
    }
    found = masked_products(tensors, "file")
    assert found["a.weight"].tolist() == [1.5, 0.0, 0.0]
    assert not torch.signbit(found["a.weight"]).any()
    # No masks of pruned weights: left alone.
    assert set(found) == {"a.weight", "a.bias", "b.weight_orig", "c.padding_mask"}


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.float32, torch.float16, torch.int64])
def test_masks_of_every_type(kind):
    tensors = {"w_orig": torch.ones(2, 2), "w_mask": torch.tensor([[1, 0], [0, 1]]).to(kind)}
    assert masked_products(tensors, "file")["w"].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (torch.full((2, 2), 0.5), r"w_mask holds 0\.5 at index \[0, 0\], expected 0 \(pruned\) or 1"),
        (torch.full((2, 2), float("nan")), "w_mask holds nan"),
        (torch.tensor([[1, 0], [1, 2]]), r"w_mask holds 2 at index \[1, 1\]"),
        (torch.ones(2), r"w_mask has the shape \[2\], but w_orig \[2, 2\]"),
    ],
)
def test_masks_that_are_none(mask, words):
    with pytest.raises(InvalidFileError, match=words):
        masked_products({"w_orig": torch.ones(2, 2), "w_mask": mask}, "file")


def test_a_weight_beside_its_factors_is_refused():
    tensors = {"w_orig": torch.ones(2), "w_mask": torch.ones(2), "w": torch.ones(2)}
    with pytest.raises(InvalidFileError, match="holds w beside w_orig and w_mask"):
        masked_products(tensors, "file")


def test_a_checkpoint_of_torch_prune(tmp_path):
    """As a script leaves it: float masks, originals in full."""
    module = build(CONFIG.architecture, CONFIG.hyperparameters)
    parameters = [(module.hidden1, f"{part}_weight") for part in "rijk"]
    prune.global_unstructured(parameters, prune.L1Unstructured, amount=0.5)
    content = {"architecture": CONFIG.architecture, "hyperparameters": CONFIG.hyperparameters}
    torch.save({**content, "state_dict": module.state_dict()}, tmp_path / "pruned.pt")
    loaded = load_checkpoint(tmp_path / "pruned.pt").module
    for part in "rijk":
        assert torch.equal(loaded.get_parameter(f"hidden1.{part}_weight"), getattr(module.hidden1, f"{part}_weight"))
    x = torch.rand(4, 8)
    assert torch.equal(loaded(x), module(x))


def test_a_checkpoint_whose_mask_was_changed(trained, tmp_path):
    _, report = trained
    tensors = load_file(report.checkpoint)
    tensors["output.weight_mask"] = torch.full((3, 100), 0.5)
    metadata = json.loads(report.checkpoint.with_suffix(".json").read_text())
    with pytest.raises(InvalidFileError, match=r"checkpoint: output\.weight_mask holds 0\.5"):
        save_tensors(tmp_path / "other.safetensors", tensors, metadata)
    torch.save({**metadata, "state_dict": tensors}, tmp_path / "other.pt")
    with pytest.raises(InvalidFileError, match=r"other\.pt: output\.weight_mask holds 0\.5"):
        load_checkpoint(tmp_path / "other.pt")


def test_masks_of_no_parameter():
    with pytest.raises(InvalidInputError, match="no such parameter"):
        apply_masks(torch.nn.Linear(2, 2), {"weights": torch.ones(2, 2)})
    with pytest.raises(InvalidFileError, match="shape"):
        apply_masks(torch.nn.Linear(2, 2), {"weight": torch.ones(2)})

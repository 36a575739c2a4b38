"""Conv-2 to Conv-6, ResNet and MobileNet: the published sizes, both kinds, and a training of each speciality."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from qdeploy.models import build, load_checkpoint, load_config
from qdeploy.models.augmentation import flipped_and_shifted
from qdeploy.models.config import config_names, parse_config
from qdeploy.models.quaternion_conv import QuaternionConv2d
from qdeploy.models.training import TrainingData, train
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError


def weights_of(module):
    """How many numbers the products hold, biases and normalization left out."""
    return sum(parameter.numel() for name, parameter in module.named_parameters() if parameter.dim() > 1)


@pytest.mark.parametrize(("depth", "real", "quaternion"), [(2, 4.30e6, 1.08e6), (4, 2.42e6, 609e3), (6, 2.26e6, 569e3)])
def test_published_sizes(depth, real, quaternion):
    with torch.device("meta"):
        three = build("conv-net", {"depth": depth, "kind": "real", "in_channels": 3})
        ours = build("conv-net", {"depth": depth})
    assert weights_of(three) == pytest.approx(real, rel=0.01)
    assert weights_of(ours) == pytest.approx(quaternion, rel=0.01)


def test_resnet_18_has_its_eighteen_layers():
    with torch.device("meta"):
        real = build("resnet", {"kind": "real", "in_channels": 3})
        ours = build("resnet", {})
    products = [part for part in real.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    assert len([part for part in products if getattr(part, "kernel_size", (3, 3)) == (3, 3)]) == 18
    # 11.17 million parameters are the literature's for small images.
    assert sum(parameter.numel() for parameter in real.parameters()) == pytest.approx(11.17e6, rel=0.001)
    assert weights_of(ours) < 0.26 * weights_of(real)


@pytest.mark.parametrize("batch_norm", ["split", "quaternion", "whitening"])
@pytest.mark.parametrize("architecture", ["resnet", "mobilenet"])
def test_normalized_networks_compute(architecture, batch_norm):
    torch.manual_seed(0)
    module = build(architecture, {"width": 4, "num_classes": 7, "batch_norm": batch_norm, "kind": "quaternion"})
    x = torch.rand(3, 4, 16, 16)
    assert module(x).shape == (3, 7)
    module.eval()
    with torch.no_grad():
        torch.testing.assert_close(module(x[:1]), module(x)[:1])


def test_depthwise_convolutions_of_mobilenet_take_a_quaternion_each():
    module = build("mobilenet", {"width": 8, "kind": "quaternion"})
    depthwise = [part for part in module.modules() if isinstance(part, QuaternionConv2d) and part.groups > 1]
    assert len(depthwise) == 13
    assert all(part.groups * 4 == part.in_channels == part.out_channels for part in depthwise)
    real = build("mobilenet", {"width": 8, "kind": "real"})
    assert all(part.groups in (1, part.in_channels) for part in real.modules() if isinstance(part, nn.Conv2d))


def test_images_that_pools_bring_to_nothing():
    with pytest.raises(InvalidInputError, match="image_size=2: 2 max-pools leave nothing"):
        build("conv-net", {"depth": 4, "image_size": 2})
    with pytest.raises(InvalidInputError, match="depth=3, expected one of 2, 4, 6"):
        build("conv-net", {"depth": 3})


def test_every_kind_has_its_configuration():
    shipped = set(config_names())
    for kind in ("quaternion", "real3", "real4"):
        for network in ("conv2", "conv4", "conv6", "resnet18", "mobilenet"):
            for data in ("mnist", "fashion", "cifar10", "cifar100"):
                config = load_config(f"{kind}-{network}-{data}")
                assert config.name in shipped
                with torch.device("meta"):
                    module = build(config.architecture, config.hyperparameters)
                channels = config.hyperparameters["in_channels"]
                assert config.dataset.endswith("-rgb" if channels == 3 else "-rgb-gray")
                assert channels == (3 if kind == "real3" else 4)
                assert any(isinstance(part, QuaternionConv2d) for part in module.modules()) == (kind == "quaternion")


def test_variants_are_moves_of_the_image():
    generator = torch.Generator().manual_seed(0)
    images = torch.arange(1.0, 1 + 64 * 2 * 8 * 8).reshape(64, 2, 8, 8)
    found = flipped_and_shifted(images, generator)
    moves = set()
    for image, variant in zip(images, found, strict=True):
        padded = nn.functional.pad(image, [1, 1, 1, 1])
        candidates = {
            (row, column, mirrored): (padded.flip(2) if mirrored else padded)[:, row : row + 8, column : column + 8]
            for row in range(3)
            for column in range(3)
            for mirrored in (False, True)
        }
        fitting = [move for move, candidate in candidates.items() if torch.equal(candidate, variant)]
        assert len(fitting) == 1
        moves.add(fitting[0])
    assert len(moves) > 12


def small_config(**changes):
    config = parse_config(
        {
            "name": "small",
            "dataset": "made",
            "architecture": "conv-net",
            "hyperparameters": {"depth": 2, "image_size": 8, "width": 8, "num_classes": 2},
            "epochs": 4,
            "batch_size": 20,
            "learning_rate": 0.01,
        }
    )
    return dataclasses.replace(config, **changes)


def made_images(count, seed):
    """Class 1 is bright at the top."""
    generator = np.random.default_rng(seed)
    classes = generator.integers(0, 2, count)
    images = generator.integers(0, 128, (count, 4, 8, 8))
    images[:, :, :4] += 96 * classes[:, None, None, None]
    return images.astype(np.float32) / 256, classes


@pytest.fixture(scope="module")
def made():
    return TrainingData(*made_images(200, 0), *made_images(50, 1))


def test_bfloat16_and_variants_learn_and_resume(tmp_path, made):
    config = small_config(precision="bfloat16", augmentation="flip-shift", stored_as="float16")
    whole = train(config, made, tmp_path / "whole")
    assert whole.last.test_accuracy > 0.9
    train(dataclasses.replace(config, epochs=4), made, tmp_path / "again")
    first = load_checkpoint(tmp_path / "whole" / "small.safetensors").module.state_dict()
    second = load_checkpoint(tmp_path / "again" / "small.safetensors").module.state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_stored_halves_are_what_was_judged(tmp_path, made):
    exact = train(small_config(), made, tmp_path / "exact").checkpoint
    half = train(small_config(stored_as="float16"), made, tmp_path / "half")
    numbers = sum(value.numel() for value in load_checkpoint(exact).module.state_dict().values())
    assert exact.stat().st_size - half.checkpoint.stat().st_size == pytest.approx(2 * numbers, abs=100)
    loaded = load_checkpoint(half.checkpoint).module
    trained = load_checkpoint(exact).module.state_dict()
    for name, value in loaded.state_dict().items():
        assert value.dtype == trained[name].dtype
        assert torch.equal(value, trained[name].half().float())
    with torch.no_grad():
        right = (loaded(torch.from_numpy(made.test_x)).argmax(1).numpy() == made.test_y).mean()
    assert right == pytest.approx(half.best.test_accuracy)


def test_variants_of_what_is_no_image(tmp_path, made):
    flat = TrainingData(made.train_x[:, 0, 0], made.train_y, made.test_x[:, 0, 0], made.test_y)
    with pytest.raises(InvalidInputError, match="augmentation flip-shift is of images"):
        train(small_config(augmentation="flip-shift"), flat, tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("precision", "float8", "one of float32, bfloat16"),
        ("stored_as", 16, "one of float32, float16"),
        ("augmentation", ["flip-shift"], "one of null, flip-shift"),
    ],
)
def test_unknown_choices(key, value, words):
    with pytest.raises(InvalidFileError, match=words):
        parse_config({**small_config().as_dict(), key: value})

"""Iterative global magnitude pruning with rewind: the weights that training leaves small are cut, the rest begins anew.

An iteration trains the network, cuts the part ``p`` of the remaining weights that are smallest of all layers together, and
rewinds those that stay to their initial values. Quaternion layers are masked component by component: a quaternion may lose
its i part and keep its k part. Biases are not pruned.

Sources: Iqbal and Mishra, "Neural Networks at a Fraction with Pruned Quaternions", 2023 (p = 0.2; quaternion layers);
Frankle and Carbin, "The Lottery Ticket Hypothesis", 2019 (rewind).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import UnsupportedModelError

from .checkpoint import read_checkpoint, save_tensors
from .masks import ORIGINAL
from .quaternion_batch_norm import QuaternionBatchNorm, QuaternionSplitBatchNorm, QuaternionWhiteningBatchNorm
from .quaternion_conv import QuaternionConv1d, QuaternionConv2d, QuaternionConv3d
from .quaternion_linear import QuaternionLinear
from .registry import build

if TYPE_CHECKING:
    from .config import TrainingConfig
    from .training import TrainingData, TrainReport

__all__ = ["Pruning", "iteration_name", "next_masks", "prunable", "smallest_cut", "train_pruned"]

_LAYERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    QuaternionLinear,
    QuaternionConv1d,
    QuaternionConv2d,
    QuaternionConv3d,
)
_NORMALIZATIONS = (QuaternionSplitBatchNorm, QuaternionBatchNorm, QuaternionWhiteningBatchNorm)


@dataclass(frozen=True)
class Pruning:
    """What an iteration begins with.

    Attributes:
        masks: by the weights' names, of 0 and 1.
        iteration: how often weights were cut before; 0 is the whole network.
    """

    masks: Mapping[str, Tensor]
    iteration: int

    @property
    def remaining(self) -> int:
        """How many weights stay."""
        return sum(int((mask == 1).sum()) for mask in self.masks.values())

    @property
    def weights(self) -> int:
        """How many there were at first."""
        return sum(mask.numel() for mask in self.masks.values())

    def record(self) -> dict[str, Any]:
        """For the checkpoint's JSON."""
        return {"iteration": self.iteration, "weights": self.weights, "remaining": self.remaining}


def prunable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that are pruned, by name: of linear and convolution layers, real and quaternion, without biases.

    Raises:
        UnsupportedModelError: there is none, or a matrix of another layer, such as a recurrent one.
    """
    found: dict[str, nn.Parameter] = {}
    for path, part in module.named_modules():
        for name, parameter in part.named_parameters(recurse=False):
            full = f"{path}.{name}".removeprefix(".")
            if isinstance(part, _LAYERS) and name.endswith("weight"):
                found[full] = parameter
            elif parameter.dim() > 1 and not isinstance(part, _NORMALIZATIONS):
                raise UnsupportedModelError(
                    f"pruning: {full} is a weight of {type(part).__name__}; expected networks of linear and convolution "
                    "layers (training another kind pruned is not supported; capturing its masks is)"
                )
    if not found:
        raise UnsupportedModelError(f"pruning: {type(module).__name__} has no linear or convolution layer")
    return found


def next_masks(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], part: float) -> dict[str, Tensor]:
    """The masks after one more cut: ``round(part * remaining)`` weights less, the smallest of all tensors together.

    Of equal magnitudes the first in the order of ``weights`` goes.

    Args:
        weights: trained, by name.
        masks: of the same names; a weight that is cut stays cut.
        part: of the remaining weights, 0 to 1.
    """
    alive = torch.cat([masks[name].flatten() == 1 for name in weights])
    magnitudes = torch.cat([weight.detach().flatten().abs() for weight in weights.values()])
    # Those that are cut already come last.
    magnitudes = torch.where(alive, magnitudes, torch.full_like(magnitudes, torch.inf))
    kept = alive.clone()
    kept[torch.argsort(magnitudes, stable=True)[: smallest_cut(int(alive.sum()), part)]] = False
    sizes = [weight.numel() for weight in weights.values()]
    return {
        name: mask.reshape(weights[name].shape).to(torch.float32)
        for name, mask in zip(weights, kept.split(sizes), strict=True)
    }


def smallest_cut(remaining: int, part: float) -> int:
    """How many of ``remaining`` weights a cut takes: the nearest integer, ties to even, as torch.nn.utils.prune counts."""
    return round(part * remaining)


def iteration_name(name: str, iteration: int) -> str:
    """Of the folder and the checkpoint of an iteration."""
    return f"{name}-{iteration:02}"


def train_pruned(
    config: TrainingConfig,
    data: TrainingData,
    output: str | Path,
    *,
    resume: bool = True,
    progress: Callable[[str, float], None] | None = None,
    command: str | None = None,
    device: str = "cpu",
) -> TrainReport:
    """Trains, cuts and rewinds ``config.pruning_iterations`` times, and trains what is left.

    Every iteration is a training in a folder of its own below ``output``, ``NAME-00`` the whole network; each goes on
    where it was interrupted, and is taken as it is where it is complete. The last one's checkpoint is ``output``'s
    ``NAME.safetensors`` and ``NAME.json``.

    Arguments and errors are those of ``training.train``.

    Raises:
        UnsupportedModelError: a network with other than linear and convolution layers.
    """
    from .training import train

    folder = Path(output)
    with torch.device("meta"):
        shapes = prunable(build(config.architecture, config.hyperparameters))
    masks = {name: torch.ones(parameter.shape) for name, parameter in shapes.items()}
    count = config.pruning_iterations + 1
    report: TrainReport | None = None
    for iteration in range(count):
        pruning = Pruning(masks, iteration)

        def said(words: str, done: float, pruning: Pruning = pruning) -> None:
            if progress is not None:
                left = f"{100 * pruning.remaining / pruning.weights:.1f} % of the weights"
                progress(f"{left}, {words}", (pruning.iteration + done) / count)

        name = iteration_name(config.name, iteration)
        report = train(
            dataclasses.replace(config, name=name, pruning_iterations=0),
            data,
            folder / name,
            resume=resume,
            progress=said,
            command=command,
            device=device,
            pruning=pruning,
        )
        metadata, tensors = read_checkpoint(report.checkpoint)
        trained = {weight: tensors[weight + ORIGINAL].float() for weight in masks}
        masks = next_masks(trained, masks, config.pruning_part)
    if report is None:  # pragma: no cover - there is an iteration 0
        raise UnsupportedModelError(f"{config.name}: no iteration was trained")
    # Under the configuration's own name.
    described = {**metadata, "name": config.name, "config": config.as_dict()}
    checkpoint = save_tensors(folder / f"{config.name}.safetensors", tensors, described)
    return dataclasses.replace(report, checkpoint=checkpoint)

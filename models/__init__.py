"""Quaternion and orthogonal recurrent networks in PyTorch: layers, architectures, trainings, checkpoints.

Whatever needs torch is imported when it is first asked for, so that names of configurations and shipped checkpoints can
be listed on a machine without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from qdeploy.runtime.errors import MissingRequirementError

from .config import TrainingConfig, config_names, load_config
from .shipped import resolve, shipped_names

if TYPE_CHECKING:
    from .bjorck import bjorck_orthogonalize
    from .checkpoint import LoadedCheckpoint, load_checkpoint, save_checkpoint
    from .evaluation import evaluate
    from .fast_grnn import FastGRNN
    from .fast_rnn import FastRNN
    from .hadamard_rnn import HadamardRNN
    from .hypercomplex import PHMConv1d, PHMConv2d, PHMConv3d, PHMLinear
    from .importers.edgeml import edgeml_classifier, edgeml_layer, read_edgeml
    from .lenet import HypercomplexLenet300100, Lenet300100, QuaternionLenet300100
    from .ligru import LiGRU, QuaternionLiGRU
    from .orthogonal_classifier import OrthogonalClassifier
    from .orthogonal_rnn import OrthogonalRNN
    from .quantizer import quantize_weight
    from .quaternion_batch_norm import QuaternionBatchNorm, QuaternionSplitBatchNorm, QuaternionWhiteningBatchNorm
    from .quaternion_conv import (
        QuaternionConv1d,
        QuaternionConv2d,
        QuaternionConv3d,
        QuaternionConvTranspose1d,
        QuaternionConvTranspose2d,
        QuaternionConvTranspose3d,
    )
    from .quaternion_dropout import QuaternionDropout, QuaternionDropout2d
    from .quaternion_linear import QuaternionLinear, hamilton_matrix
    from .quaternion_recurrent import QuaternionGRU, QuaternionLSTM, QuaternionRNN
    from .quaternion_rotation import (
        QuaternionRotationConv1d,
        QuaternionRotationConv2d,
        QuaternionRotationLinear,
    )
    from .recurrent_classifier import RecurrentClassifier
    from .registry import ARCHITECTURES, build
    from .training import TrainingData, TrainReport, train

__all__ = [
    "ARCHITECTURES",
    "FastGRNN",
    "FastRNN",
    "HadamardRNN",
    "HypercomplexLenet300100",
    "Lenet300100",
    "LiGRU",
    "LoadedCheckpoint",
    "OrthogonalClassifier",
    "OrthogonalRNN",
    "PHMConv1d",
    "PHMConv2d",
    "PHMConv3d",
    "PHMLinear",
    "QuaternionBatchNorm",
    "QuaternionConv1d",
    "QuaternionConv2d",
    "QuaternionConv3d",
    "QuaternionConvTranspose1d",
    "QuaternionConvTranspose2d",
    "QuaternionConvTranspose3d",
    "QuaternionDropout",
    "QuaternionDropout2d",
    "QuaternionGRU",
    "QuaternionLSTM",
    "QuaternionLenet300100",
    "QuaternionLiGRU",
    "QuaternionLinear",
    "QuaternionRNN",
    "QuaternionRotationConv1d",
    "QuaternionRotationConv2d",
    "QuaternionRotationLinear",
    "QuaternionSplitBatchNorm",
    "QuaternionWhiteningBatchNorm",
    "RecurrentClassifier",
    "TrainReport",
    "TrainingConfig",
    "TrainingData",
    "bjorck_orthogonalize",
    "build",
    "config_names",
    "edgeml_classifier",
    "edgeml_layer",
    "evaluate",
    "hamilton_matrix",
    "load_checkpoint",
    "load_config",
    "quantize_weight",
    "read_edgeml",
    "resolve",
    "save_checkpoint",
    "shipped_names",
    "train",
]

_LAZY = {
    "ARCHITECTURES": "registry",
    "HadamardRNN": "hadamard_rnn",
    "HypercomplexLenet300100": "lenet",
    "FastGRNN": "fast_grnn",
    "FastRNN": "fast_rnn",
    "Lenet300100": "lenet",
    "LiGRU": "ligru",
    "LoadedCheckpoint": "checkpoint",
    "OrthogonalClassifier": "orthogonal_classifier",
    "OrthogonalRNN": "orthogonal_rnn",
    "PHMConv1d": "hypercomplex",
    "PHMConv2d": "hypercomplex",
    "PHMConv3d": "hypercomplex",
    "PHMLinear": "hypercomplex",
    "QuaternionBatchNorm": "quaternion_batch_norm",
    "QuaternionConv1d": "quaternion_conv",
    "QuaternionConv2d": "quaternion_conv",
    "QuaternionConv3d": "quaternion_conv",
    "QuaternionConvTranspose1d": "quaternion_conv",
    "QuaternionConvTranspose2d": "quaternion_conv",
    "QuaternionConvTranspose3d": "quaternion_conv",
    "QuaternionDropout": "quaternion_dropout",
    "QuaternionDropout2d": "quaternion_dropout",
    "QuaternionGRU": "quaternion_recurrent",
    "QuaternionLSTM": "quaternion_recurrent",
    "QuaternionLenet300100": "lenet",
    "QuaternionLiGRU": "ligru",
    "QuaternionLinear": "quaternion_linear",
    "QuaternionRNN": "quaternion_recurrent",
    "QuaternionRotationConv1d": "quaternion_rotation",
    "QuaternionRotationConv2d": "quaternion_rotation",
    "QuaternionRotationLinear": "quaternion_rotation",
    "QuaternionSplitBatchNorm": "quaternion_batch_norm",
    "QuaternionWhiteningBatchNorm": "quaternion_batch_norm",
    "RecurrentClassifier": "recurrent_classifier",
    "TrainReport": "training",
    "TrainingData": "training",
    "bjorck_orthogonalize": "bjorck",
    "build": "registry",
    "edgeml_classifier": "importers.edgeml",
    "edgeml_layer": "importers.edgeml",
    "evaluate": "evaluation",
    "hamilton_matrix": "quaternion_linear",
    "load_checkpoint": "checkpoint",
    "quantize_weight": "quantizer",
    "read_edgeml": "importers.edgeml",
    "save_checkpoint": "checkpoint",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f".{_LAZY[name]}", __name__)
    except ModuleNotFoundError as error:
        raise MissingRequirementError(
            f"{__name__}.{name} needs {error.name}, which is not installed: pip install 'qdeploy[torch]'"
        ) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_LAZY))

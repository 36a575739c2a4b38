"""The optimizer of all trainings and its learning rates."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from .config import TrainingConfig
from .optimizer_pair import OptimizerPair
from .orthogonal_classifier import OrthogonalClassifier
from .orthogonal_rnn import OrthogonalRNN
from .projunn_optimizer import LEARNING_RATE_DIVISOR, STEPS, ProjUNN

__all__ = ["cosine_factor", "make_optimizer"]

# The cosine schedule ends at this part of the first learning rate.
FINAL_RATE = 0.01


def cosine_factor(done: float) -> float:
    """What the learning rates are multiplied by when the part ``done`` (0 to 1) of the training is over."""
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * done))


def make_optimizer(module: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer | OptimizerPair:
    """AdamW, with groups of their own for the recurrent layer's latent weights and for its bias.

    Where the hyper-parameter ``orthogonal`` asks for projUNN, the recurrent weight has that optimizer beside it. A rate
    of 0 freezes the parameter (``requires_grad`` off), so that its gradient is not even computed.

    Raises:
        InvalidInputError: projUNN of a weight that is not orthogonal, or of a rank that it has not.
    """
    groups: list[dict[str, Any]] = []
    own: list[nn.Parameter] = []
    projected: ProjUNN | None = None
    if isinstance(module, OrthogonalClassifier):
        recurrent = module.recurrent
        for parameter, rate in (
            (recurrent.recurrent_parameter, config.recurrent_learning_rate),
            (recurrent.input_weight, config.input_learning_rate),
            (recurrent.bias, config.bias_learning_rate),
        ):
            own.append(parameter)
            parameter.requires_grad_(rate != 0.0)
            if (
                isinstance(recurrent, OrthogonalRNN)
                and parameter is recurrent.recurrent_weight
                and recurrent.orthogonal in STEPS
            ):
                chosen = config.learning_rate / LEARNING_RATE_DIVISOR if rate is None else rate
                projected = ProjUNN(parameter, recurrent.orthogonal, chosen, config.projunn_rank)
                continue
            # Decay would pull an orthogonal matrix to zero, and the resting state away; a fixed scale of the inputs is
            # the input weight's own affair.
            chosen = config.learning_rate if rate is None else rate
            groups.append({"params": [parameter], "lr": chosen, "weight_decay": 0.0})
    rest = [parameter for parameter in module.parameters() if not any(parameter is other for other in own)]
    adam = torch.optim.AdamW([{"params": rest, "lr": config.learning_rate}, *groups], weight_decay=config.weight_decay)
    return adam if projected is None else OptimizerPair(adam, projected)

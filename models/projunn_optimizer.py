"""The optimizer of recurrent weights that stay orthogonal by projUNN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError

from .projunn import exponential_step, low_rank, nearer_orthogonal, polar_step

__all__ = ["LEARNING_RATE_DIVISOR", "STEPS", "ProjUNN"]

STEPS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "projunn-d": polar_step,
    "projunn-t": exponential_step,
}
"""By the value of the hyper-parameter ``orthogonal``."""

LEARNING_RATE_DIVISOR = 32.0
"""The authors' experiments give orthogonal matrices this part of the learning rate of the others."""

# Rounding to float32 moves the matrix off the manifold by about 1e-7 an element and step. The paper leaves it there;
# a step of Newton and Schulz now and then, whose H^3 multiplications do not count at this interval, brings it back.
RESTORED_EVERY = 100

# Farther from orthogonal than this is no rounding: such a matrix was trained in another way.
FARTHEST = 1e-3

_SMOOTHING = 0.99
_EPSILON = 1e-8


class ProjUNN(torch.optim.Optimizer):
    """RMSprop's step of an orthogonal [H, H] parameter, made of low rank and projected (arXiv 2203.05483).

    ``v <- 0.99 v + 0.01 g^2``, ``change = -lr g / (sqrt(v) + 1e-8)``, of which the part of rank r moves the parameter by
    ``polar_step`` or ``exponential_step``. With a quantized forward pass and its straight-through gradient this is
    STE-projUNN of arXiv 2402.04012. Every 100 steps the parameter is brought back to orthogonality in full float
    precision.

    State of each parameter, all that resuming needs: ``square_average`` [H, H] and ``step``.
    """

    def __init__(self, parameter: nn.Parameter, kind: str, lr: float, rank: int = 1) -> None:
        """Args: the parameter; ``projunn-d`` or ``projunn-t``; the learning rate; the rank r, 1 to H.

        Raises:
            InvalidInputError: another kind or rank, or a parameter that is not orthogonal.
        """
        if kind not in STEPS:
            raise InvalidInputError(f"orthogonal={kind!r}: expected one of {', '.join(STEPS)}")
        size = parameter.shape[0]
        if not 1 <= rank <= size:
            raise InvalidInputError(f"projunn_rank={rank}: expected 1 to {size}, the size of the recurrent weight")
        found = float(_deviation(parameter))
        # NaN too.
        if not found <= FARTHEST:
            raise InvalidInputError(
                f"{kind} begins at a recurrent weight with |W^T W - I| = {found:.3g}: expected an orthogonal one, at most "
                f"{FARTHEST:g}"
            )
        super().__init__([parameter], {"lr": lr, "weight_decay": 0.0})
        self._move = STEPS[kind]
        self._rank = rank

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # torch overloads it by the closure
        """One step along the parameter's ``grad``; without a gradient nothing happens."""
        if closure is not None:
            raise NotImplementedError("a closure is of line searches, which projUNN makes none of")
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.zeros(())
                    state["square_average"] = torch.zeros_like(parameter)
                average: Tensor = state["square_average"]
                average.mul_(_SMOOTHING).addcmul_(gradient, gradient, value=1.0 - _SMOOTHING)
                change = -group["lr"] * gradient / (average.sqrt() + _EPSILON)
                parameter.copy_(self._move(parameter, *low_rank(change, self._rank)))
                state["step"] += 1
                if int(state["step"]) % RESTORED_EVERY == 0:
                    parameter.copy_(nearer_orthogonal(parameter))


def _deviation(weight: Tensor) -> Tensor:
    """The largest element of ``|W^T W - I|``."""
    wide = weight.detach().double()
    return (wide.t() @ wide - torch.eye(len(wide), dtype=wide.dtype, device=wide.device)).abs().amax()

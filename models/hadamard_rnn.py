"""The recurrent layer of HadamRNN and Block-HadamRNN: signs times a Hadamard matrix.

Source: Foucault, Mamalet, Malgouyres, "Hadamard representations for binary and sparse ternary orthogonal RNNs",
arXiv 2502.00047 (ICLR 2025).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError

from .quantizer import quantize_weight
from .simple_recurrent import SimpleRecurrentLayer

__all__ = ["HadamardRNN", "hadamard_transform", "signs", "sylvester_matrix"]


class _Signs(torch.autograd.Function):
    """+1 where the latent value is not negative, else -1; the gradient passes straight through."""

    @staticmethod
    def forward(_: Any, latent: Tensor) -> Tensor:
        return torch.where(latent >= 0, 1.0, -1.0).to(latent.dtype)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def signs(latent: Tensor) -> Tensor:
    """+1 where ``latent`` is not negative (a zero, which the binary vector has no value for, counts as +1), else -1."""
    result: Tensor = _Signs.apply(latent)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return result


def hadamard_transform(values: Tensor) -> Tensor:
    """``values`` [..., N] times the Sylvester matrix ``S_N``, by the fast Walsh-Hadamard transform.

    N is a power of two. It takes N log2 N additions, and multiplies by nothing: S_N^2 = N.

    Raises:
        InvalidInputError: for another N.
    """
    size = values.shape[-1]
    if size < 1 or size & (size - 1):
        raise InvalidInputError(f"Hadamard transform: found {size} values, expected a power of two")
    result = values
    half = 1
    while half < size:
        pairs = result.reshape(*values.shape[:-1], size // (2 * half), 2, half)
        first, second = pairs[..., 0, :], pairs[..., 1, :]
        result = torch.stack([first + second, first - second], dim=-2).reshape(values.shape)
        half *= 2
    return result


def sylvester_matrix(size: int) -> Tensor:
    """``S_N`` [N, N] of +-1: S_1 = [1], S_2N = [[S_N, S_N], [S_N, -S_N]]; symmetric.

    Raises:
        InvalidInputError: N is no power of two.
    """
    return hadamard_transform(torch.eye(size))


class HadamardRNN(SimpleRecurrentLayer):
    """``h_t = act(W h_{t-1} + U x_t + b)`` with ``W = diag(u) blockdiag(S_B, ..., S_B) / sqrt(B)``.

    ``u = sign(sign_vector)`` [H], ``S_B`` the Sylvester matrix of B = ``block_size`` units: HadamRNN with B = H,
    Block-HadamRNN with less. ``W`` is orthogonal exactly, whatever the signs. ``U = q_k(input_weight)``.

    Parameters: ``sign_vector`` [H], latent; ``input_weight`` [H, I], ``bias`` [H], and ``modrelu_bias`` [H] where the
    activation is modReLU. The authors' recurrence is linear, with ReLU before the output layer.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: str = "linear",
        weight_bits: int | None = None,
        block_size: int | None = None,
    ) -> None:
        """Builds the layer with weights drawn from torch's global generator.

        Args:
            input_size: I, at least 1.
            hidden_size: H, a multiple of ``block_size``.
            activation: ``linear``, ``relu``, ``modrelu`` or ``tanh``.
            weight_bits: k of the q_k grid of U, 1 to 8, or ``None`` for a float U.
            block_size: B, a power of two; by default H.

        Raises:
            InvalidInputError: for a value outside these.
        """
        super().__init__(input_size, hidden_size, activation, weight_bits)
        size = hidden_size if block_size is None else block_size
        if size < 1 or size & (size - 1) or hidden_size % size:
            raise InvalidInputError(
                f"block_size={block_size}, hidden_size={hidden_size}: expected a power of two that divides hidden_size"
            )
        self.block_size = size
        self.sign_vector = nn.Parameter(torch.empty(hidden_size))
        self._powers: list[Tensor] = []
        self._powers_of: Tensor | None = None
        self.reset_parameters()

    @property
    def recurrent_parameter(self) -> nn.Parameter:
        """The latent signs."""
        return self.sign_vector

    def reset_parameters(self, input_range: float = 0.6) -> None:
        """Signs by the toss of a coin, ``U`` uniform in +-``input_range``, no bias.

        The eigenvalues of such a ``W`` lie all over the unit circle: it mixes all units at every step.
        """
        with torch.no_grad():
            nn.init.uniform_(self.sign_vector, -1.0, 1.0)
            nn.init.uniform_(self.input_weight, -input_range, input_range)
            self.bias.zero_()
            if self.modrelu_bias is not None:
                self.modrelu_bias.zero_()

    def effective_weights(self) -> tuple[Tensor, Tensor]:
        """``W`` [H, H] and ``U`` [H, I] as the loop uses them, differentiable in the latent parameters."""
        block = sylvester_matrix(self.block_size).to(self.sign_vector)
        blocks = torch.block_diag(*[block] * (self.hidden_size // self.block_size))
        weight = signs(self.sign_vector).unsqueeze(1) * (blocks / self.block_size**0.5)
        return weight, quantize_weight(self.input_weight, self.weight_bits, self.quantization_strength)

    def powers(self, weight: Tensor) -> list[Tensor] | None:
        """Those of signs that rest are kept, until the signs are others."""
        if self.sign_vector.requires_grad:
            return None
        kept = self._powers_of
        if kept is None or kept.device != weight.device or not torch.equal(kept, weight):
            self._powers_of, self._powers = weight, []
        return self._powers

    def retract(self) -> None:
        """Keeps the latent signs, unless they are frozen, within +-1: further out a sign would hardly turn again."""
        if self.sign_vector.requires_grad:
            with torch.no_grad():
                self.sign_vector.clamp_(-1.0, 1.0)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of it."""
        return (
            f"{self.input_size}, {self.hidden_size}, activation={self.activation!r}, "
            f"weight_bits={self.weight_bits}, block_size={self.block_size}"
        )

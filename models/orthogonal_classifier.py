"""A sequence classifier around one orthogonal recurrent layer (QORNN, HadamRNN).

Source: Foucault, Mamalet, Malgouyres, arXiv 2402.04012; both of its forms, with the activation inside the loop or, over
a linear loop, before the output layer. HadamRNN (arXiv 2502.00047) is the second form with another matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError

from .hadamard_rnn import HadamardRNN
from .orthogonal_rnn import ORTHOGONAL, OrthogonalRNN
from .quantizer import MAX_WEIGHT_BITS, quantize_weight
from .recurrence import activate

__all__ = ["OUTPUT_ACTIVATIONS", "PARAMETRIZATIONS", "STEPS", "OrthogonalClassifier"]

PARAMETRIZATIONS = (*ORTHOGONAL, "hadamard")

STEPS = ("last", "every")
OUTPUT_ACTIVATIONS = ("relu", "modrelu", "tanh")


class OrthogonalClassifier(nn.Module):
    """``y = V act_o(h) + b_o``, of the last state or of every state of an ``OrthogonalRNN`` or a ``HadamardRNN``.

    Parameters: those of ``recurrent`` (the layer), ``output_weight`` [C, H] (``V``, latent: the output uses
    ``q_k(V)``), ``output_bias`` [C], and ``output_modrelu_bias`` [H] where the output activation is modReLU.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_classes: int,
        activation: str = "relu",
        weight_bits: int | None = None,
        steps: str = "last",
        output_activation: str | None = None,
        orthogonal: str = "bjorck",
        output_weight_bits: int | None = None,
        block_size: int | None = None,
    ) -> None:
        """Builds the classifier with weights drawn from torch's global generator.

        Args:
            input_size: I.
            hidden_size: H.
            num_classes: C, at least 1.
            activation: ``relu``, ``modrelu``, ``tanh`` or ``linear``, in the loop.
            weight_bits: k of the q_k grid for W, U and V, or ``None`` for float weights. With ``hadamard`` W is signs.
            output_weight_bits: k for V alone, 1 to 8; ``None``: ``weight_bits``. V is not in the loop: a few hundred
                bytes more at 8 bits are a point of accuracy where W and U have 4.
            steps: ``last`` gives logits [B, C], ``every`` gives [B, T, C].
            output_activation: ``None``, or ``relu``, ``modrelu`` or ``tanh`` between the states and V.
            orthogonal: ``bjorck``, ``projunn-d``, ``projunn-t`` or ``none``; or ``hadamard``.
            block_size: with ``hadamard``, of the blocks of W, a power of two; ``None``: H.

        Raises:
            InvalidInputError: for a value outside these.
        """
        super().__init__()
        if num_classes < 1:
            raise InvalidInputError(f"num_classes={num_classes}: expected at least 1")
        if steps not in STEPS:
            raise InvalidInputError(f"steps={steps!r}: expected one of {', '.join(STEPS)}")
        if output_activation is not None and output_activation not in OUTPUT_ACTIVATIONS:
            raise InvalidInputError(
                f"output_activation={output_activation!r}: expected None or one of {', '.join(OUTPUT_ACTIVATIONS)}"
            )
        if output_weight_bits is not None and (weight_bits is None or not 1 <= output_weight_bits <= MAX_WEIGHT_BITS):
            raise InvalidInputError(
                f"output_weight_bits={output_weight_bits} with weight_bits={weight_bits}: expected 1 to "
                f"{MAX_WEIGHT_BITS}, and weight_bits too, or None"
            )
        self.num_classes = num_classes
        self.output_weight_bits = weight_bits if output_weight_bits is None else output_weight_bits
        self.steps = steps
        self.output_activation = output_activation
        # Of a training, see TrainingConfig.
        self.state_noise = 0.0
        self.recurrent: OrthogonalRNN | HadamardRNN
        if orthogonal == "hadamard":
            self.recurrent = HadamardRNN(input_size, hidden_size, activation, weight_bits, block_size)
        elif block_size is not None:
            raise InvalidInputError(
                f"block_size={block_size} with orthogonal={orthogonal!r}: it is of 'hadamard' alone"
            )
        else:
            self.recurrent = OrthogonalRNN(input_size, hidden_size, activation, weight_bits, orthogonal)
        self.output_weight = nn.Parameter(torch.empty(num_classes, hidden_size))
        self.output_bias = nn.Parameter(torch.zeros(num_classes))
        self.output_modrelu_bias = nn.Parameter(torch.zeros(hidden_size)) if output_activation == "modrelu" else None
        nn.init.xavier_uniform_(self.output_weight)

    @property
    def weight_bits(self) -> int | None:
        """k of the grid of U, and of a W that is on one; ``None`` for float weights."""
        return self.recurrent.weight_bits

    def output_layer(self, states: Tensor) -> Tensor:
        """``q_k(V) act_o(h) + b_o`` of ``states`` [..., H]."""
        if self.training and self.state_noise > 0.0:
            states = states + self.state_noise * states.square().mean().sqrt() * torch.randn_like(states)
        if self.output_activation is not None:
            states = activate(states, self.output_activation, self.output_modrelu_bias)
        weight = quantize_weight(self.output_weight, self.output_weight_bits, self.recurrent.quantization_strength)
        return nn.functional.linear(states, weight, self.output_bias)

    def materialize_output(self) -> tuple[Tensor, Tensor]:
        """Detached copies of the effective ``V`` [C, H], on the q_k grid, and of ``b_o`` [C]."""
        with torch.no_grad():
            weight = quantize_weight(self.output_weight, self.output_weight_bits, self.recurrent.quantization_strength)
        return weight.detach().clone(), self.output_bias.detach().clone()

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, C] (``steps="last"``) or [B, T, C] (``"every"``) of ``inputs`` [B, T, I], float32.

        Raises:
            InvalidInputError: for another rank or input size, or for T = 0.
        """
        if inputs.dim() != 3:
            raise InvalidInputError(
                f"orthogonal classifier: found inputs {list(inputs.shape)}, "
                f"expected [B, T, {self.recurrent.input_size}]"
            )
        time_major = inputs.transpose(0, 1)
        if self.steps == "last":
            return self.output_layer(self.recurrent.last_state(time_major))
        states, _ = self.recurrent(time_major)
        return self.output_layer(states).transpose(0, 1)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of it."""
        return f"num_classes={self.num_classes}, steps={self.steps!r}, output_activation={self.output_activation!r}"

"""The quaternion linear layer: a matrix of quaternions, each of which takes the place of a real 4 x 4 block.

Sources: Gaudet and Maida, "Deep quaternion networks", arXiv 1712.04604; Parcollet et al., "Quaternion recurrent neural
networks", ICLR 2019 (initialization).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError

__all__ = ["GROUPINGS", "HAMILTON_ALGEBRA", "QuaternionLinear", "hamilton_matrix"]

GROUPINGS = ("blocked", "adjacent")

HAMILTON_ALGEBRA = torch.tensor(
    [
        [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 0, 1, 0]],
        [[0, 0, -1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, -1, 0, 0]],
        [[0, 0, 0, -1], [0, 0, -1, 0], [0, 1, 0, 0], [1, 0, 0, 0]],
    ]
)
"""The matrices [4, 4] of r, i, j and k, of which ``L(w)`` is the sum ``sum_c kron(HAMILTON_ALGEBRA[c], w_c)``."""


def hamilton_matrix(r: Tensor, i: Tensor, j: Tensor, k: Tensor, grouping: str = "blocked") -> Tensor:
    """The real matrix ``L(w)`` [out, in, *kernel] of ``y = w (x) x``, from components [out/4, in/4, *kernel].

    ``L(w) = [[r, -i, -j, -k], [i, r, -k, j], [j, k, r, -i], [k, -j, i, r]]``. Outputs are blocked: all real parts, then
    all i, j, k parts. Inputs are blocked too with ``grouping="blocked"``, and ``[r0 i0 j0 k0 r1 i1 ...]`` with
    ``"adjacent"``, which permutes the columns.
    """
    blocked = torch.cat(
        [
            torch.cat([r, -i, -j, -k], dim=1),
            torch.cat([i, r, -k, j], dim=1),
            torch.cat([j, k, r, -i], dim=1),
            torch.cat([k, -j, i, r], dim=1),
        ]
    )
    if grouping == "blocked":
        return blocked
    rows, columns, *kernel = blocked.shape
    return blocked.reshape(rows, 4, columns // 4, *kernel).transpose(1, 2).reshape(blocked.shape)


class QuaternionLinear(nn.Module):
    """``y = L(w) x + b`` for ``x`` [..., in] and ``y`` [..., out].

    Parameters: ``r_weight``, ``i_weight``, ``j_weight``, ``k_weight``, each [out/4, in/4]; ``bias`` [out] or ``None``.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, grouping: str = "blocked") -> None:
        """Builds the layer with weights drawn from torch's global generator.

        Raises:
            InvalidInputError: features that are not positive multiples of four, or an unknown grouping.
        """
        super().__init__()
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if value < 4 or value % 4:
                raise InvalidInputError(
                    f"{name}={value}: expected a positive multiple of 4, since four channels make a quaternion"
                )
        if grouping not in GROUPINGS:
            raise InvalidInputError(f"grouping={grouping!r}: expected one of {', '.join(GROUPINGS)}")
        self.in_features = in_features
        self.out_features = out_features
        self.grouping = grouping
        shape = (out_features // 4, in_features // 4)
        self.r_weight = nn.Parameter(torch.empty(shape))
        self.i_weight = nn.Parameter(torch.empty(shape))
        self.j_weight = nn.Parameter(torch.empty(shape))
        self.k_weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Modulus of chi(4) distribution times ``1/sqrt(2 n_in)`` (He; n in quaternions), direction uniform.

        A chi(4) modulus with a uniform direction is four independent normal components: that is how it is drawn.
        """
        scale = (2.0 * (self.in_features // 4)) ** -0.5
        for component in self.components():
            nn.init.normal_(component, std=scale)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def components(self) -> tuple[nn.Parameter, nn.Parameter, nn.Parameter, nn.Parameter]:
        """``r, i, j, k``, each [out/4, in/4]."""
        return self.r_weight, self.i_weight, self.j_weight, self.k_weight

    def matrix(self) -> Tensor:
        """``L(w)`` [out, in] in the layer's grouping."""
        return hamilton_matrix(*self.components(), grouping=self.grouping)

    def forward(self, inputs: Tensor) -> Tensor:
        """``inputs`` [..., in] to [..., out]."""
        return nn.functional.linear(inputs, self.matrix(), self.bias)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of it."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, grouping={self.grouping!r}"

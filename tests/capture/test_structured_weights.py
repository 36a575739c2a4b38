"""Modules that make the matrix of an algebra themselves: it comes back from its numbers, however it was made."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from qdeploy.capture import capture  # noqa: E402
from qdeploy.models import QuaternionRotationLinear, hamilton_matrix  # noqa: E402
from qdeploy.models.quaternion_linear import HAMILTON_ALGEBRA  # noqa: E402

QUATERNIONS = "HamiltonMatrix:blocked"
BLOCKED = "HypercomplexMatrix:blocked_to_blocked"


class Made(nn.Module):
    """A layer of 16 inputs and 24 outputs whose ``forward`` makes the matrix of parameters."""

    def __init__(self, matrix, shapes=((4, 6, 4),)):
        super().__init__()
        self.parts = nn.ParameterList([nn.Parameter(torch.randn(shape)) for shape in shapes])
        self.register_buffer("algebra", HAMILTON_ALGEBRA.clone())
        self.matrix = matrix
        self.bias = nn.Parameter(torch.randn(24))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.matrix(*self.parts), self.bias)


def of_blocks(w):
    r, i, j, k = w.unbind()
    rows = [[r, -i, -j, -k], [i, r, -k, j], [j, k, r, -i], [k, -j, i, r]]
    return torch.stack([torch.stack(row) for row in rows]).permute(0, 2, 1, 3).reshape(24, 16)


def into_zeros(w):
    r, i, j, k = w.unbind()
    matrix = torch.zeros(24, 16)
    for row, parts in enumerate([[r, -i, -j, -k], [i, r, -k, j], [j, k, r, -i], [k, -j, i, r]]):
        for column, part in enumerate(parts):
            matrix[6 * row : 6 * row + 6, 4 * column : 4 * column + 4] = part
    return matrix


def of_kronecker_products(w):
    return sum(torch.kron(HAMILTON_ALGEBRA[n], w[n]) for n in range(4))


def from_the_other_side(w):
    # x @ G of G [16, 24], whose columns are the outputs: made of transposed components.
    return of_blocks(w.transpose(1, 2).reshape(4, 4, 6).transpose(1, 2)).t().contiguous().t()


def right_products(w):
    r, i, j, k = w.unbind()
    return torch.cat([torch.cat(row, 1) for row in ([r, -i, -j, -k], [i, r, k, -j], [j, -k, r, i], [k, j, -i, r])])


def real_part_last(w):
    order = torch.tensor([1, 2, 3, 0])
    blocks = hamilton_matrix(*w).reshape(4, 6, 4, 4)
    return blocks[order][:, :, order].reshape(24, 16)


def adjacent_inputs(w):
    return hamilton_matrix(*w, grouping="adjacent")


def adjacent_outputs(w):
    return hamilton_matrix(*w).reshape(4, 6, 16).transpose(0, 1).reshape(24, 16)


def learned_in_one_product(a, s):
    # Every a_i with axes of length one between those of s_i, as published code has it.
    products = a[:, :, None, :, None] * s[:, None, :, None, :]
    return products.reshape(len(a), 24, 16).sum(0)


def learned_in_a_loop(a, s):
    matrix = torch.zeros(24, 16)
    for first, second in zip(a, s, strict=True):
        matrix = matrix + torch.kron(first, second)
    return matrix


def learned_from_the_other_side(a, s):
    return sum(torch.kron(a[n], s[n]) for n in range(2)).t()


LEARNED = ((2, 2, 2), (2, 12, 8))
LAYERS = {
    of_blocks: QUATERNIONS,
    into_zeros: QUATERNIONS,
    of_kronecker_products: QUATERNIONS,
    from_the_other_side: QUATERNIONS,
    adjacent_inputs: "HamiltonMatrix:adjacent",
    right_products: BLOCKED,
    real_part_last: BLOCKED,
    adjacent_outputs: "HypercomplexMatrix:blocked_to_adjacent",
}


class Beside(nn.Module):
    """Layers that read the same input, each an output: tracing takes longer than all the rest."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(layer(x) for layer in self.layers)


def captured_beside(layers, rng, run, inputs=16):
    """For each layer its matrix' operator, and how many numbers that reads; outputs are those of torch."""
    module, x = Beside(layers).eval(), rng.random((5, inputs)).astype(np.float32)
    captured = capture(module, {"x": x})
    found = run(captured, {"x": x})
    for name, expected in zip(found, module(torch.from_numpy(x)), strict=True):
        np.testing.assert_allclose(found[name], expected.detach().numpy(), atol=1e-4)
    graph = captured.model.graph
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer}
    producers = {node.output[0]: node for node in graph.node}
    matrices = [producers[producers[output.name].input[1]] for output in graph.output]
    return [(f"{m.op_type}:{m.overload}", sum(sizes[name] for name in m.input)) for m in matrices], captured.notes


def test_quaternions_however_they_are_made(rng, run):
    found, notes = captured_beside([Made(make) for make in LAYERS], rng, run)
    assert [operator for operator, _ in found] == list(LAYERS.values())
    assert {numbers for _, numbers in found} == {96, 96 + 64}
    assert sum("6 x 4 quaternions, to the last bit" in note for note in notes) == 5
    assert sum("4 blocks of 6 x 4 at its 4 x 4 places" in note for note in notes) == 3


def test_learned_algebras_however_they_are_made(rng, run):
    layers = [
        Made(learned_in_one_product, LEARNED),
        Made(learned_in_a_loop, LEARNED),
        Made(learned_from_the_other_side, ((2, 2, 2), (2, 8, 12))),
    ]
    found, notes = captured_beside(layers, rng, run)
    assert found == [(BLOCKED, 8 + 192)] * 3
    assert sum("sum of 2 Kronecker products" in note for note in notes) == 3


class SpinorLayer(nn.Module):
    """R(q) transposed, as SpeechBrain's linear layer has it: its rows are stacked, and multiplied from the left."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 8, 12))
        self.factor = nn.Parameter(torch.randn(8, 12))
        self.register_buffer("nothing", torch.zeros(8, 12))

    def forward(self, x: Tensor) -> Tensor:
        r, i, j, k = self.w / (self.w.square().sum(0).sqrt() + 1e-4)
        rows = [
            [1 - 2 * (j * j + k * k), 2 * (i * j - r * k), 2 * (i * k + r * j)],
            [2 * (i * j + r * k), 1 - 2 * (i * i + k * k), 2 * (j * k - r * i)],
            [2 * (i * k - r * j), 2 * (j * k + r * i), 1 - 2 * (i * i + j * j)],
        ]
        turned = [torch.cat([self.nothing, *(self.factor * entry for entry in row)], 1) for row in rows]
        return x @ torch.cat([torch.cat([self.nothing] * 4, 1), *turned])


def test_rotations_are_nine_of_sixteen_blocks(rng, run):
    layers = [QuaternionRotationLinear(32, 48), SpinorLayer()]
    found, notes = captured_beside(layers, rng, run, inputs=32)
    assert found == [(BLOCKED, 9 * 16 + 9 * 96)] * 2
    assert sum("9 blocks of 12 x 8 at its 4 x 4 places" in note for note in notes) == 2

from __future__ import annotations

import pytest
import torch

from qdeploy.models.krylov import doubling_pays, krylov_sequence, linear_last_state
from qdeploy.models.orthogonal_rnn import OrthogonalRNN
from qdeploy.models.recurrence import recurrence


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 8, 9, 33])
@pytest.mark.parametrize("columns", [1, 3])
def test_sequence_is_that_of_repeated_products(steps, columns):
    generator = torch.Generator().manual_seed(steps)
    weight = torch.randn(6, 6, generator=generator, dtype=torch.float64) / 3
    block = torch.randn(6, columns, generator=generator, dtype=torch.float64)
    expected = [block]
    for _ in range(steps - 1):
        expected.append(weight @ expected[-1])
    torch.testing.assert_close(krylov_sequence(weight, block, steps), torch.stack(expected))


def test_powers_are_kept_and_used():
    generator = torch.Generator().manual_seed(0)
    weight, block = (torch.randn(size, generator=generator, dtype=torch.float64) / 3 for size in ((5, 5), (5, 2)))
    powers = []
    first = krylov_sequence(weight, block, 9, powers)
    assert [one.equal(torch.linalg.matrix_power(weight, 2**n)) for n, one in enumerate(powers)] == [True] * 4
    powers[0] = 2 * powers[0]
    changed = krylov_sequence(weight, block, 9, powers)
    torch.testing.assert_close(changed[1], 2 * first[1])


@pytest.mark.parametrize(("steps", "batch", "size"), [(2, 2, 1), (5, 3, 2), (40, 4, 1), (17, 2, 3)])
def test_last_state_and_gradients_equal_the_loop(steps, batch, size):
    generator = torch.Generator().manual_seed(batch)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inputs, bias = draw(steps, batch, size), draw(8).requires_grad_()
    weight = torch.linalg.qr(draw(8, 8))[0].requires_grad_()
    input_weight = draw(8, size).requires_grad_()
    parameters = [weight, input_weight, bias]
    target = draw(batch, 8)
    by_doubling = linear_last_state(inputs, weight, input_weight, bias)
    _, by_stepping = recurrence(inputs, inputs.new_zeros(batch, 8), weight, input_weight, bias, "linear", None)
    torch.testing.assert_close(by_doubling, by_stepping)
    gradients = torch.autograd.grad((by_doubling * target).sum(), parameters)
    expected = torch.autograd.grad((by_stepping * target).sum(), parameters)
    for found, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_layer_doubles_only_where_it_pays(monkeypatch):
    assert doubling_pays((784, 256, 1), 170)
    assert not doubling_pays((784, 1, 1), 170)
    assert not doubling_pays((1 << 16, 256, 31), 1024)
    called = []
    monkeypatch.setattr(
        "qdeploy.models.simple_recurrent.linear_last_state",
        lambda *arguments: called.append(1) or linear_last_state(*arguments),
    )
    torch.manual_seed(0)
    linear, nonlinear = OrthogonalRNN(1, 4, "linear"), OrthogonalRNN(1, 4, "relu")
    inputs = torch.randn(50, 30, 1)
    last = linear.last_state(inputs)
    assert called == [1]
    torch.testing.assert_close(last, linear(inputs)[1], rtol=1e-4, atol=1e-5)
    nonlinear.last_state(inputs)
    linear.last_state(inputs[:20, :1])
    assert called == [1]

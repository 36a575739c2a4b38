from __future__ import annotations

import pytest
import torch

from qdeploy.models.orthogonal_classifier import OrthogonalClassifier
from qdeploy.models.orthogonal_rnn import OrthogonalRNN
from qdeploy.models.recurrence import ACTIVATIONS, CHUNK, activate, recurrence
from qdeploy.runtime.errors import InvalidInputError


def plain_loop(inputs, initial, weight, input_weight, bias, activation, modrelu_bias):
    states, state = [], initial
    for x in inputs:
        state = activate(state @ weight.t() + x @ input_weight.t() + bias, activation, modrelu_bias)
        states.append(state)
    return torch.stack(states), state


def arguments(steps, batch=2, hidden=3, inputs=2):
    generator = torch.Generator().manual_seed(steps)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    return (
        draw(steps, batch, inputs),
        draw(batch, hidden),
        draw(hidden, hidden),
        draw(hidden, inputs),
        draw(hidden),
    ), draw(hidden)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("steps", [1, CHUNK, CHUNK + 3])
def test_equals_a_plain_loop_in_values_and_gradients(activation, steps):
    tensors, modrelu_bias = arguments(steps)
    extra = modrelu_bias if activation == "modrelu" else None
    leaves = [*tensors, *([] if extra is None else [extra])]
    generator = torch.Generator().manual_seed(1)
    found = recurrence(*tensors, activation, extra)
    expected = plain_loop(*tensors, activation, extra)
    for mine, plain in zip(found, expected, strict=True):
        # Two orders of the same float64 sums, over states that a linear loop lets grow.
        assert torch.allclose(mine, plain, rtol=1e-9)
    weights = [torch.randn(value.shape, generator=generator, dtype=torch.float64) for value in expected]

    def gradients(values):
        loss = sum((value * factor).sum() for value, factor in zip(values, weights, strict=True))
        return torch.autograd.grad(loss, leaves)

    for mine, plain in zip(gradients(found), gradients(expected), strict=True):
        assert torch.allclose(mine, plain, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradcheck(activation):
    tensors, modrelu_bias = arguments(4)
    extra = modrelu_bias if activation == "modrelu" else None

    def run(*values):
        return recurrence(*values[:5], activation, values[5] if extra is not None else None)

    assert torch.autograd.gradcheck(run, (*tensors, *([] if extra is None else [extra])))


def test_gradient_of_the_last_state_alone():
    tensors, _ = arguments(5)
    mine = torch.autograd.grad(recurrence(*tensors, "relu")[1].sum(), tensors)
    plain = torch.autograd.grad(plain_loop(*tensors, "relu", None)[1].sum(), tensors)
    for one, other in zip(mine, plain, strict=True):
        assert torch.allclose(one, other)


def test_two_halves_are_one_run():
    torch.manual_seed(0)
    layer = OrthogonalRNN(2, 8, weight_bits=4)
    inputs = torch.rand(10, 3, 2)
    whole, last = layer(inputs)
    first, middle = layer(inputs[:4])
    second, end = layer(inputs[4:], middle)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(end, last)


def test_shared_beginning_gives_the_same_values_and_gradients():
    torch.manual_seed(0)
    layer = OrthogonalRNN(1, 8, weight_bits=4).double()
    inputs = torch.rand(12, 3, 1, dtype=torch.float64)
    inputs[:5] = 0.0
    results = []
    for training in (True, False):
        layer.train(training)
        states, last = layer(inputs)
        results.append((states, last, *torch.autograd.grad((states.sum() + last.square().sum()), layer.parameters())))
    for shared, straight in zip(*results, strict=True):
        assert torch.allclose(shared, straight)


def test_identical_sequences_leave_one_step_to_each():
    layer = OrthogonalRNN(1, 4).train()
    inputs = torch.zeros(6, 3, 1)
    assert layer(inputs)[0].shape == (6, 3, 4)
    assert torch.equal(layer.last_state(inputs), layer(inputs)[1])


@pytest.mark.parametrize("cycles", [None, [8], [1] * 8, [3, 4, 1]])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_initial_weight_is_orthogonal_and_exactly_on_the_grid(cycles, bits):
    layer = OrthogonalRNN(1, 8, weight_bits=bits)
    layer.reset_parameters(cycles=cycles)
    weight, _ = layer.materialize()
    assert torch.allclose(weight, layer.recurrent_weight, atol=1e-6)
    assert torch.allclose(weight @ weight.t(), torch.eye(8), atol=1e-6)


def test_relu_starts_linear_about_its_resting_state():
    torch.manual_seed(0)
    layer = OrthogonalRNN(1, 8)
    layer.reset_parameters(resting_state=2.0)
    rest = torch.full((1, 8), 2.0)
    states, _ = layer(torch.zeros(50, 1, 1), rest)
    assert torch.allclose(states, rest.expand(50, 1, 8), atol=1e-4)


@pytest.mark.parametrize("shape", [(5, 2), (0, 2, 3), (5, 2, 4)])
def test_wrong_inputs_are_refused(shape):
    with pytest.raises(InvalidInputError, match="expected"):
        OrthogonalRNN(3, 4)(torch.zeros(shape))


@pytest.mark.parametrize(
    "wrong",
    [{"activation": "elu"}, {"weight_bits": 0}, {"weight_bits": 9}, {"orthogonal": "qr"}, {"hidden_size": 0}],
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(InvalidInputError, match="expected"):
        OrthogonalRNN(**{"input_size": 1, "hidden_size": 4, **wrong})


def test_classifier_of_every_step_ends_with_that_of_the_last():
    torch.manual_seed(0)
    every = OrthogonalClassifier(2, 8, 5, weight_bits=4, steps="every")
    last = OrthogonalClassifier(2, 8, 5, weight_bits=4)
    last.load_state_dict(every.state_dict())
    inputs = torch.rand(3, 7, 2)
    assert every(inputs).shape == (3, 7, 5)
    assert torch.allclose(every(inputs)[:, -1], last(inputs))


def test_linear_loop_with_output_activation():
    torch.manual_seed(0)
    model = OrthogonalClassifier(2, 8, 5, "linear", 4, output_activation="modrelu")
    inputs = torch.rand(3, 7, 2)
    with torch.no_grad():
        model.output_modrelu_bias.fill_(-0.1)
    _, last = model.recurrent(inputs.transpose(0, 1))
    weight, bias = model.materialize_output()
    expected = activate(last, "modrelu", model.output_modrelu_bias) @ weight.t() + bias
    assert torch.allclose(model(inputs), expected)


def test_classifier_uses_the_materialized_weights():
    torch.manual_seed(0)
    model = OrthogonalClassifier(1, 8, 3, "relu", 4).double()
    (weight, input_weight), (output_weight, output_bias) = model.recurrent.materialize(), model.materialize_output()
    inputs = torch.rand(2, 9, 1, dtype=torch.float64)
    _, last = plain_loop(
        inputs.transpose(0, 1),
        torch.zeros(2, 8, dtype=torch.float64),
        weight,
        input_weight,
        model.recurrent.bias,
        "relu",
        None,
    )
    assert torch.allclose(model(inputs), last @ output_weight.t() + output_bias)


def test_modrelu_by_hand():
    values = torch.tensor([2.0, -2.0, 0.5, 0.0])
    # sgn(a) * max(|a| + 1e-6 - 1, 0), and zero stays zero even under a positive bias.
    assert activate(values, "modrelu", torch.tensor(-1.0)).tolist() == pytest.approx([1.000001, -1.000001, 0.0, 0.0])
    assert activate(values, "modrelu", torch.tensor(1.0))[3] == 0.0

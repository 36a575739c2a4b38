"""Torch modules of each kind: one node a layer, the module's results, free numbers of samples and steps."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402  # after the skip
from torch.nn.utils import parametrizations, prune  # noqa: E402  # after the skip

from qdeploy.capture import capture  # noqa: E402  # after the skip
from qdeploy.models import (  # noqa: E402  # after the skip
    OrthogonalClassifier,
    OrthogonalRNN,
    QuaternionLenet300100,
    QuaternionLinear,
)


def check_other_sizes(captured, module, run, shapes, atol=1e-4):
    """The captured model and the module agree on samples of other numbers and lengths than it was captured with."""
    module.eval()
    for seed, shape in enumerate(shapes):
        samples = np.random.default_rng(seed).random(shape).astype(np.float32)
        spec = captured.inputs[0]
        with torch.no_grad():
            expected = module(torch.from_numpy(np.ascontiguousarray(np.moveaxis(samples, 0, spec.batch_axis))))
        result = run(captured, {spec.name: samples})[captured.outputs[0]]
        assert result.shape == tuple(expected.shape)
        np.testing.assert_allclose(result, expected.numpy(), atol=atol)


@pytest.mark.parametrize("steps", ["last", "every"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "modrelu", "linear"])
def test_orthogonal_classifier(rng, run, operators, activation, steps):
    torch.manual_seed(0)
    output_activation = "modrelu" if activation == "linear" else None
    module = OrthogonalClassifier(2, 8, 3, activation, 4, steps, output_activation)
    for bias in (module.recurrent.modrelu_bias, module.output_modrelu_bias):
        if bias is not None:
            nn.init.uniform_(bias, -0.2, 0.2)
    captured = capture(module, {"sequence": rng.random((4, 9, 2))})
    check_other_sizes(captured, module, run, [(1, 1, 2), (3, 14, 2)])
    assert [name for name in operators(captured) if ":" in name or name == "ModRelu"] == [
        f"RNN:{activation}",
        *(["ModRelu"] if output_activation else []),
        "Linear:bias",
    ]
    assert captured.inputs[0].shape == ("batch", "time", 2)
    output = captured.model.graph.output[0].type.tensor_type.shape.dim
    assert [one.dim_param or one.dim_value for one in output] == (
        ["batch", "time", 3] if steps == "every" else ["batch", 3]
    )


@pytest.mark.parametrize("block", [8, 2])
def test_hadamard_recurrence(rng, run, operators, block):
    torch.manual_seed(0)
    module = OrthogonalClassifier(2, 8, 3, "linear", 4, "every", "relu", "hadamard", block_size=block)
    captured = capture(module, {"sequence": rng.random((4, 9, 2))})
    check_other_sizes(captured, module, run, [(1, 1, 2), (3, 14, 2)])
    assert [name for name in operators(captured) if ":" in name] == ["RNN:linear", "Linear:bias"]
    weight = module.recurrent.materialize()[0].numpy()
    stored = [onnx.numpy_helper.to_array(one) for one in captured.model.graph.initializer]
    assert any(one.shape == weight.shape and (one == weight).all() for one in stored)
    # A layer by itself, without the classifier.
    check_other_sizes(
        capture(TimeMajor(module.recurrent), {"x": rng.random((4, 9, 2))}),
        TimeMajor(module.recurrent),
        run,
        [(2, 5, 2)],
    )


class TimeMajor(nn.Module):
    """A recurrent layer with the batch in front."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.transpose(0, 1))[0].transpose(0, 1)


def test_orthogonal_weights_are_the_materialized_ones(rng):
    module = OrthogonalClassifier(2, 8, 3, "modrelu", weight_bits=3)
    captured = capture(module, {"sequence": rng.random((2, 5, 2))})
    weights = {one.name: onnx.numpy_helper.to_array(one) for one in captured.model.graph.initializer}
    recurrent, inputs = module.recurrent.materialize()
    assert np.array_equal(weights["recurrent.recurrent_weight"], recurrent.numpy())
    assert np.array_equal(weights["recurrent.input_weight"], inputs.numpy())
    assert np.array_equal(weights["output_weight"], module.materialize_output()[0].numpy())
    assert weights["recurrent.modrelu_bias"].tolist() == pytest.approx([1e-6] * 8)


def test_a_last_state_is_read_where_it_is_made(rng):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = OrthogonalRNN(2, 4)

        def forward(self, x):
            states, _ = self.layer(x.transpose(0, 1))
            return states.transpose(0, 1)[:, -1]

    captured = capture(Last(), {"x": rng.random((2, 5, 2))})
    rnn = captured.model.graph.node[-1]
    assert (rnn.name, rnn.output[1]) == ("layer", "output")


@pytest.mark.parametrize("grouping", ["blocked", "adjacent"])
def test_quaternion_layers_keep_their_components(rng, run, operators, grouping):
    module = nn.Sequential(
        QuaternionLinear(16, 8, grouping=grouping), nn.ReLU(), QuaternionLinear(8, 4, bias=False, grouping=grouping)
    )
    captured = capture(module, {"x": rng.random((3, 16))})
    check_other_sizes(captured, module, run, [(1, 16), (7, 16)])
    matrix = f"HamiltonMatrix:{grouping}"
    assert operators(captured) == [matrix, "Linear:bias", "Relu", matrix, "Linear:no_bias"]
    assert list(captured.model.graph.node[0].input) == [f"0.{component}_weight" for component in "rijk"]


def test_a_subclass_of_a_quaternion_layer(rng, operators):
    class Named(QuaternionLinear):
        pass

    captured = capture(Named(8, 4), {"x": rng.random((3, 8))})
    assert operators(captured) == ["HamiltonMatrix:blocked", "Linear:bias"]


def test_quaternion_lenet(rng, run):
    module = QuaternionLenet300100()
    captured = capture(module, {"image": rng.random((2, 784))})
    check_other_sizes(captured, module, run, [(1, 784), (5, 784)])
    assert captured.time_axis is None


@pytest.mark.parametrize(
    ("batch_first", "nonlinearity", "bias"), [(True, "relu", True), (False, "relu", False), (True, "tanh", False)]
)
def test_torch_rnn(rng, run, operators, batch_first, nonlinearity, bias):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.RNN(3, 6, 2, nonlinearity, bias=bias, batch_first=batch_first, dropout=0.5)
            self.out = nn.Linear(self.rnn.hidden_size, 4)

        def forward(self, x):
            states, last = self.rnn(x)
            return self.out(states) + self.out(last[-1]).unsqueeze(1 if batch_first else 0)

    module = Model()
    captured = capture(module, {"x": rng.random((4, 8, 3))}, time_axis=1 if batch_first else 0)
    check_other_sizes(captured, module, run, [(1, 1, 3), (3, 12, 3)])
    assert operators(captured).count(f"RNN:{nonlinearity}") == 2
    assert (captured.time_axis, captured.batch_axis) == ((1, 0) if batch_first else (0, 1))
    assert captured.inputs[0].shape == (("batch", "time", 3) if batch_first else ("time", "batch", 3))
    # Each layer has a bias of its own, although both are zero where the module has none.
    assert len({node.input[3] for node in captured.model.graph.node if node.op_type == "RNN"}) == 2


@pytest.mark.parametrize("state", ["zeros", "input"])
def test_initial_states(rng, operators, run, state):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.RNN(3, 6)

        def forward(self, x, h=None):
            start = x.new_zeros(1, x.shape[1], 6) if h is None else h.unsqueeze(0)
            return self.rnn(x, start)[1].squeeze(0)

    samples = {"x": rng.random((4, 8, 3)).astype(np.float32)}
    if state == "input":
        samples["h"] = rng.random((4, 6)).astype(np.float32)
    module = Model()
    captured = capture(module, samples, time_axis=0)
    assert operators(captured) == ["RNN:tanh" if state == "zeros" else "RNN:tanh_h0"]
    expected = module(*(torch.from_numpy(spec.arrange(samples[spec.name])) for spec in captured.inputs))
    np.testing.assert_allclose(run(captured, samples)["output"], expected.detach().numpy(), atol=1e-5)


def test_user_network_with_dropout_and_softmax(rng, run, operators):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.flatten = nn.Flatten()
            self.one, self.two = nn.Linear(16, 8), nn.Linear(8, 8)
            self.dropout = nn.Dropout(0.9)
            self.head = nn.Linear(8, 3)

        def forward(self, image):
            hidden = torch.tanh(self.one(self.flatten(image)))
            hidden = hidden + torch.sigmoid(self.two(self.dropout(hidden)))
            return {"classes": torch.softmax(self.head(hidden), dim=-1)}

    module = Model().train()
    image = rng.random((3, 4, 4)).astype(np.float32)
    captured = capture(module, {"image": image})
    assert module.training
    assert operators(captured) == ["Reshape", "Linear:bias", "Tanh", "Linear:bias", "Sigmoid", "Add", "Linear:bias"]
    assert captured.notes == (
        "dropout removed: dropout",
        "output classes: the final Softmax was dropped, logits are given instead",
    )
    assert {one.key: one.value for one in captured.model.metadata_props} == {"dropped_softmax": "classes"}
    logits = run(captured, {"image": image})["classes"]
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(image))["classes"].log().numpy()
    np.testing.assert_allclose(logits - logits[:, :1], expected - expected[:, :1], atol=1e-4)


def test_parametrized_and_pruned_weights_are_materialized(rng, run):
    orthogonal = parametrizations.orthogonal(nn.Linear(6, 6))
    pruned = prune.l1_unstructured(nn.Linear(6, 4), "weight", amount=0.5)
    module = nn.Sequential(orthogonal, nn.ReLU(), pruned)
    captured = capture(module, {"x": rng.random((3, 6))})
    check_other_sizes(captured, module, run, [(2, 6)])
    weights = {one.name: onnx.numpy_helper.to_array(one) for one in captured.model.graph.initializer}
    np.testing.assert_allclose(weights["0.weight"] @ weights["0.weight"].T, np.eye(6), atol=1e-5)
    assert (weights["2.weight"] == 0).sum() == 12
    assert "0: the parametrization of weight was materialized" in captured.notes
    assert "2: the pruning mask of weight was applied" in captured.notes
    # The user's module is as it was.
    assert hasattr(pruned, "weight_orig")
    assert isinstance(orthogonal, nn.Linear)


def test_pruned_quaternion_components_stay_components(rng, run, operators):
    """As they are after a training step: the product that forward left is older than the weights."""
    layer = QuaternionLinear(8, 12)
    for part in "rijk":
        prune.random_unstructured(layer, f"{part}_weight", amount=4)
    layer(torch.zeros(1, 8))
    with torch.no_grad():
        layer.r_weight_orig.mul_(2.0)
    captured = capture(layer, {"x": rng.random((3, 8))})
    assert operators(captured) == ["HamiltonMatrix:blocked", "Linear:bias"]
    weights = {one.name: onnx.numpy_helper.to_array(one) for one in captured.model.graph.initializer}
    for part in "rijk":
        expected = (
            (layer.get_parameter(f"{part}_weight_orig") * layer.get_buffer(f"{part}_weight_mask")).detach().numpy()
        )
        assert (weights[f"{part}_weight"] == expected).all()
        assert (expected == 0).sum() == 4
    check_other_sizes(captured, layer, run, [(2, 8)])


def test_a_layer_with_a_forward_of_its_own_is_traced(rng, run, operators):
    class Scaled(nn.Linear):
        def forward(self, x):
            return nn.functional.linear(x, 2.0 * self.weight, self.bias)

    module = nn.Sequential(Scaled(5, 4), nn.ReLU())
    captured = capture(module, {"x": rng.random((3, 5))})
    check_other_sizes(captured, module, run, [(2, 5)])
    assert operators(captured) == ["Linear:bias", "Relu"]


def test_several_inputs_and_outputs_in_order(rng):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(3, 4), nn.Linear(5, 4)

        def forward(self, a, b):
            total = self.left(a) + self.right(b)
            return torch.relu(total), torch.tanh(total)

    captured = capture(Two(), {"first": rng.random((3, 3)), "second": rng.random((3, 5))})
    assert [spec.name for spec in captured.inputs] == ["first", "second"]
    assert captured.outputs == ("output_0", "output_1")
    by_name = capture(Two(), {"b": rng.random((3, 5)), "a": rng.random((3, 3))})
    assert {spec.name: spec.shape for spec in by_name.inputs} == {"a": ("batch", 3), "b": ("batch", 5)}


def test_torchs_scan_becomes_a_recurrent_layer(rng, run, operators):
    from torch._higher_order_ops.scan import scan

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.W = nn.Parameter(torch.nn.init.orthogonal_(torch.empty(6, 6)))
            self.U = nn.Parameter(torch.randn(6, 3))
            self.b = nn.Parameter(torch.randn(6))

        def forward(self, x):
            def step(h, x_t):
                h = torch.relu(h @ self.W.T + x_t @ self.U.T + self.b)
                return h, h.clone()

            last, _ = scan(step, x.new_zeros(x.shape[0], 6), x.transpose(0, 1), dim=0)
            return last

    module = Model()
    captured = capture(module, {"x": rng.random((3, 9, 3))})
    assert operators(captured) == ["Transpose", "RNN:relu"]
    assert captured.inputs[0].shape == ("batch", "time", 3)
    check_other_sizes(captured, module, run, [(2, 5, 3)])


def test_a_layer_that_needs_all_steps_fixes_their_number(rng):
    class AllSteps(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.RNN(2, 3, batch_first=True)
            self.head = nn.Linear(15, 4)

        def forward(self, x):
            return self.head(self.rnn(x)[0].flatten(1))

    captured = capture(AllSteps(), {"x": rng.random((3, 5, 2))})
    assert captured.inputs[0].shape == ("batch", 5, 2)
    assert "the number of steps is fixed: the model does not run with another one" in captured.notes


def test_long_loops_stay_within_the_tolerance(rng):
    torch.manual_seed(0)
    captured = capture(OrthogonalClassifier(1, 170, 10, weight_bits=4), {"pixels": rng.random((2, 784, 1))})
    assert captured.error < 1e-3
    assert len(captured.model.graph.node) == 3


def test_a_chaotic_recurrence_is_measured_against_float64(rng):
    torch.manual_seed(1)
    module = nn.RNN(2, 32, batch_first=True)
    nn.init.normal_(module.weight_hh_l0, std=1.5)
    captured = capture(module, {"x": rng.random((2, 90, 2))})
    assert captured.outputs == ("output_0", "output_1")

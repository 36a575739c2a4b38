"""SpeechBrain's recurrent layers: state dicts and live modules of its names and shapes, against its equations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from qdeploy.models import LiGRU, QuaternionLiGRU, QuaternionLinear, QuaternionLSTM
from qdeploy.models.importers.speechbrain import SpeechBrainRecurrent, convert, speechbrain_layers
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, UnsupportedModelError

INPUTS, N, T, B = 8, 3, 6, 4
H = 4 * N


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Weights(nn.Module):
    """A product's four components [in/4, out], and a bias: what SpeechBrain calls QLinear."""

    def __init__(self, inputs, outputs, *, bias, seed):
        super().__init__()
        for index, part in enumerate("rijk"):
            self.register_parameter(f"{part}_weight", nn.Parameter(drawn(inputs, outputs, seed=seed + index) * 0.4))
        if bias:
            self.bias = nn.Parameter(drawn(4 * outputs, seed=seed + 9) * 0.4)

    def forward(self, x):
        """The Hamilton product w (x) x, part by part."""
        a, b, c, d = x.chunk(4, dim=-1)
        r, i, j, k = self.r_weight, self.i_weight, self.j_weight, self.k_weight
        product = torch.cat(
            [
                a @ r - b @ i - c @ j - d @ k,
                a @ i + b @ r - c @ k + d @ j,
                a @ j + b @ k + c @ r - d @ i,
                a @ k - b @ j + c @ i + d @ r,
            ],
            dim=-1,
        )
        return product + self.bias if hasattr(self, "bias") else product


class Norm(nn.Module):
    """SpeechBrain's batch normalization of quaternions, trained."""

    def __init__(self, quaternions):
        super().__init__()
        self.eps = 1e-4
        self.gamma = nn.Parameter(1 + drawn(quaternions, seed=31) * 0.3)
        self.beta = nn.Parameter(drawn(4 * quaternions, seed=32))
        self.register_buffer("running_mean", drawn(4 * quaternions, seed=33))
        self.register_buffer("running_var", drawn(quaternions, seed=34).abs() + 0.1)
        self.register_buffer("num_batches_tracked", torch.tensor(7))

    def forward(self, x):
        scaled = (x - self.running_mean) / (self.running_var + self.eps).sqrt().repeat(4)
        return self.gamma.repeat(4) * scaled + self.beta


class Layer(nn.Module):
    """One layer of any kind, as SpeechBrain names its parts."""

    def __init__(self, kind, inputs, hidden, seed):
        super().__init__()
        self.kind, self.normalize = kind, True
        self.register_buffer("h_init", torch.zeros(1, hidden))
        self.register_buffer("drop_masks", torch.ones(50, hidden))
        if kind == "LiGRU":
            self.w, self.u = nn.Linear(inputs, 2 * hidden, bias=False), nn.Linear(hidden, 2 * hidden, bias=False)
            self.norm = nn.BatchNorm1d(2 * hidden)
            self.norm.running_mean.copy_(drawn(2 * hidden, seed=41))
            self.norm.running_var.copy_(drawn(2 * hidden, seed=42).abs() + 0.1)
            nn.init.normal_(self.norm.weight, 1.0, 0.2)
            nn.init.normal_(self.norm.bias)
            return
        products = {"QRNN": 1, "QLiGRU": 2, "QLSTM": 4}[kind] * hidden // 4
        self.w = Weights(inputs // 4, products, bias=kind != "QLiGRU", seed=seed)
        self.u = Weights(hidden // 4, products, bias=kind != "QLiGRU", seed=seed + 50)
        if kind == "QLiGRU":
            self.norm = Norm(products)

    def forward(self, x, h, act):
        w = self.w(x)
        if hasattr(self, "norm") and self.normalize:
            w = self.norm(w.flatten(0, 1)).reshape(w.shape)
        c, states = torch.zeros_like(h), []
        for t in range(x.shape[1]):
            gates = w[:, t] + self.u(h)
            if self.kind == "QRNN":
                h = act(gates)
            elif self.kind == "QLSTM":
                i, f, o, g = gates.chunk(4, 1)
                c = torch.sigmoid(i) * torch.tanh(g) + torch.sigmoid(f) * c
                h = torch.sigmoid(o) * torch.tanh(c)
            else:
                a, z = gates.chunk(2, 1)
                h = torch.sigmoid(z) * h + (1 - torch.sigmoid(z)) * act(a)
            states.append(h)
        return torch.stack(states, dim=1)


class _Recurrent(nn.Module):
    def __init__(self, nonlinearity, *, layers=2, bidirectional=False):
        super().__init__()
        torch.manual_seed(0)
        kind = type(self).__name__
        self.nonlinearity, self.bidirectional, self.hidden = nonlinearity, bidirectional, H
        self.rnn = nn.ModuleList(Layer(kind, INPUTS if n == 0 else H, H, seed=100 * n) for n in range(layers))

    def forward(self, x, hx=None):
        act = {"tanh": torch.tanh, "relu": torch.relu, "leaky_relu": nn.functional.leaky_relu}[self.nonlinearity]
        last = []
        for n, layer in enumerate(self.rnn):
            x = layer(x, torch.zeros(len(x), H) if hx is None else hx[n], act)
            last.append(x[:, -1])
        return x, torch.stack(last)


# The importer knows classes by these names.
class QRNN(_Recurrent):
    pass


class QLSTM(_Recurrent):
    pass


class QLiGRU(_Recurrent):
    pass


class _RealLiGRU(_Recurrent):
    pass


_RealLiGRU.__name__ = "LiGRU"


class QLinear(Weights):
    spinor = False


CASES = [
    (QRNN, "tanh"),
    (QRNN, "relu"),
    (QLSTM, "tanh"),
    (QLiGRU, "leaky_relu"),
    (QLiGRU, "tanh"),
    (_RealLiGRU, "relu"),
    (_RealLiGRU, "leaky_relu"),
]


@pytest.mark.parametrize(("kind", "nonlinearity"), CASES)
def test_a_live_module_and_its_state_dict(kind, nonlinearity):
    module = kind(nonlinearity).eval()
    x, hx = drawn(B, T, INPUTS, seed=5), drawn(2, B, H, seed=6) * 0.5
    converted = convert(module)
    read = speechbrain_layers(module.state_dict(), nonlinearity=nonlinearity)
    prefixed = {f"encoder.{name}": tensor for name, tensor in module.state_dict().items()} | {"other": torch.ones(1)}
    nested = speechbrain_layers(prefixed, nonlinearity=nonlinearity, prefix="encoder.")
    with torch.no_grad():
        for initial in (None, hx):
            expected = module(x, initial)
            for found in (converted, read, nested):
                for array, wanted in zip(found(x, initial), expected, strict=True):
                    torch.testing.assert_close(array, wanted, atol=2e-6, rtol=1e-5)
    assert isinstance(converted, SpeechBrainRecurrent)
    assert not converted.training


def test_gates_that_are_mixed_up_compute_something_else():
    """The trap of this layout: the same shapes in the other layout of gates."""
    module = QLSTM("tanh", layers=1).eval()
    converted = convert(module)
    (layer,) = converted.layers
    assert isinstance(layer, QuaternionLSTM)
    layer.gate_layout = "per-gate"
    x = drawn(B, T, INPUTS, seed=5)
    with torch.no_grad():
        assert float((converted(x)[0] - module(x)[0]).abs().max()) > 0.01


def test_layers_within_a_model_are_replaced_and_the_model_is_not_touched():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.ModuleDict({"rnn": QLiGRU("leaky_relu"), "real": _RealLiGRU("relu")})
            self.out = QLinear(N, 2, bias=True, seed=77)

        def forward(self, x):
            return self.out(self.body["rnn"](x)[0]) + self.out(self.body["real"](x)[0])

    model = Model().eval()
    # Statistics of a training hold a graph, which no copy can be made of.
    norm = model.body["rnn"].rnn[0].norm
    norm.running_mean = norm.running_mean + norm.beta * 0.0
    converted = convert(model)
    x = drawn(B, T, INPUTS, seed=5)
    with torch.no_grad():
        torch.testing.assert_close(converted(x), model(x), atol=2e-6, rtol=1e-5)
    assert isinstance(model.body["rnn"], QLiGRU)
    assert isinstance(model.out, QLinear)
    assert isinstance(converted.out, QuaternionLinear)
    kinds = [type(layer) for layer in (*converted.body["rnn"].layers, *converted.body["real"].layers)]
    assert kinds == [QuaternionLiGRU] * 2 + [LiGRU] * 2


def test_a_layer_without_normalization():
    module = QLiGRU("leaky_relu", layers=1).eval()
    module.rnn[0].normalize = False
    x = drawn(B, T, INPUTS, seed=5)
    with torch.no_grad():
        expected = module(x)[0]
        torch.testing.assert_close(convert(module)(x)[0], expected, atol=2e-6, rtol=1e-5)
        read = speechbrain_layers(module.state_dict(), normalization="none")
        torch.testing.assert_close(read(x)[0], expected, atol=2e-6, rtol=1e-5)


def test_inputs_of_several_axes_are_joined():
    module = convert(QRNN("tanh"))
    x = drawn(B, T, INPUTS, seed=5)
    assert torch.equal(module(x.reshape(B, T, 2, 4))[0], module(x)[0])


def test_the_converted_model_becomes_integers(tmp_path):
    import qdeploy

    x = drawn(B, T, INPUTS, seed=5).numpy()
    module = nn.Sequential(convert(QLSTM("tanh")))

    class Outputs(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = module[0]

        def forward(self, x):
            return self.rnn(x)[0]

    bundle = qdeploy.export_model(Outputs().eval(), tmp_path / "bundle", calibration={"x": x}, time_axis=1)
    assert bundle.verify(samples=2).passed
    assert bundle.inspect().operators["GateRows"] == 4


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda state: state.pop("rnn.0.u.j_weight"), InvalidFileError, r"'u.j_weight' is missing"),
        (lambda state: state.update({"rnn.0.extra": torch.ones(1)}), InvalidFileError, "rnn.0 .QLSTM.: found extra"),
        (lambda state: state.update({"rnn.0.w.r_weight": torch.ones(3, 12)}), InvalidFileError, "components of w"),
        (lambda state: state.update({"rnn.0.u.bias": torch.ones(5)}), InvalidFileError, "bias"),
        (lambda state: state.update({"rnn.0.u.r_weight": torch.ones(3, 9)}), InvalidFileError, "u.r_weight of n rows"),
        (lambda state: state["rnn.0.w.k_weight"].fill_(torch.nan), InvalidFileError, "NaN"),
        (lambda state: state.update({"rnn.7.w.bias": torch.ones(1)}), InvalidFileError, r"layers \[0, 7\]"),
        (lambda state: state.clear(), InvalidFileError, "give the prefix"),
    ],
)
def test_other_state_dicts_are_refused(change, error, words):
    state = {name: tensor.clone() for name, tensor in QLSTM("tanh", layers=1).state_dict().items()}
    change(state)
    with pytest.raises(error, match=words):
        speechbrain_layers(state)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: convert(QLSTM("tanh", bidirectional=True)), UnsupportedModelError, "bidirectional=True"),
        (lambda: convert(_RealLiGRU("sin")), UnsupportedModelError, "nonlinearity='sin'"),
        (lambda: convert(QRNN("leaky_relu")), UnsupportedModelError, "leaky_relu is not supported"),
        (lambda: speechbrain_layers({}, nonlinearity="gelu"), InvalidInputError, "nonlinearity='gelu'"),
        (lambda: speechbrain_layers({}, normalization="layernorm"), InvalidInputError, "normalization='layernorm'"),
    ],
)
def test_what_has_no_form_here_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_layer_normalization_is_refused():
    module = _RealLiGRU("relu", layers=1)
    module.rnn[0].norm = nn.LayerNorm(2 * H)
    with pytest.raises(UnsupportedModelError, match="layer normalization"):
        convert(module)


def test_layers_that_do_not_stand_on_each_other():
    state = QLSTM("tanh").state_dict()
    for part in "rijk":
        state[f"rnn.1.w.{part}_weight"] = torch.ones(2 * N, H)
    with pytest.raises(UnsupportedModelError, match="twice as many"):
        speechbrain_layers(state)

"""What cannot be captured is refused by name, with the nearest way, and before anything is unrolled."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402  # after the skip

from qdeploy.capture import capture  # noqa: E402  # after the skip
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, UnsupportedModelError  # noqa: E402  # as above

SEQUENCE = {"x": np.zeros((2, 40, 3), np.float32)}
VECTOR = {"x": np.zeros((2, 4), np.float32)}


class Holder(nn.Module):
    """A model whose layer has the path ``inner.layer``."""

    def __init__(self, layer):
        super().__init__()
        self.inner = nn.ModuleDict({"layer": layer})

    def forward(self, x):
        return self.inner["layer"](x)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.LPPool2d(2, 3), "torch.nn.LPPool2d.*Supported: Linear"),
        (nn.GroupNorm(2, 4), "torch.nn.GroupNorm.*no integer form; train without it"),
        (nn.LayerNorm(4), "torch.nn.LayerNorm.*no integer form; train without it"),
        (nn.EmbeddingBag(4, 4), "torch.nn.EmbeddingBag.*use Embedding, and mean"),
    ],
)
def test_layers(layer, words):
    with pytest.raises(UnsupportedModelError, match=f"layer inner.layer .*{words}"):
        capture(Holder(layer), VECTOR)


def test_a_python_loop_is_found_before_it_is_unrolled():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.u = nn.Linear(8, 8), nn.Linear(3, 8)

        def forward(self, x):
            h = x.new_zeros(x.shape[0], 8)
            for step in range(x.shape[1]):
                h = torch.relu(self.w(h) + self.u(x[:, step]) / (step + 2))
            return h

    began = time.perf_counter()
    with pytest.raises(UnsupportedModelError, match=r"input x: found a Python loop.*OrthogonalRNN"):
        capture(Loop(), {"x": np.zeros((2, 784, 3), np.float32)})
    # Unrolled it takes a minute or more.
    assert time.perf_counter() - began < 40
    with pytest.raises(UnsupportedModelError, match="found a Python loop"):
        capture(Loop(), SEQUENCE, time_axis=1)


def test_operators_without_a_layer_are_named():
    class Cumulative(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x):
            return torch.cumsum(self.head(x), 1)

    with pytest.raises(UnsupportedModelError, match=r"node cumsum \(CumSum\): not supported.*Supported: Gemm"):
        capture(Cumulative(), VECTOR)


def test_a_softmax_in_the_middle():
    with pytest.raises(UnsupportedModelError, match=r"Softmax.*must be the last node"):
        capture(nn.Sequential(nn.Linear(4, 4), nn.Softmax(-1), nn.Linear(4, 2)), VECTOR)


def test_branches_on_values():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x):
            return self.head(x) if x.sum() > 0 else -self.head(x)

    with pytest.raises(UnsupportedModelError, match="torch cannot export it with a free number of samples"):
        capture(Branch(), VECTOR)


def test_a_constant_initial_state():
    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.RNN(3, 4, batch_first=True)
            self.start = nn.Parameter(torch.ones(1, 1, 4))

        def forward(self, x):
            return self.rnn(x, self.start.expand(1, x.shape[0], 4))[0]

    with pytest.raises(UnsupportedModelError, match=r"node rnn .*initial state is a constant that is not zero"):
        capture(Learned(), SEQUENCE)


def test_hooks_on_a_recurrent_layer():
    rnn = nn.RNN(3, 4, batch_first=True)
    rnn.register_forward_hook(lambda module, args, result: result)
    with pytest.raises(UnsupportedModelError, match=r"layer inner.layer \(RNN\): found forward hooks"):
        capture(Holder(rnn), SEQUENCE)


def test_sequences_without_a_batch_axis():
    class Unbatched(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.RNN(3, 4)

        def forward(self, x):
            return self.rnn(x)[0]

    with pytest.raises(UnsupportedModelError, match=r"layer rnn \(torch.nn.RNN\): found an input of rank 2"):
        capture(Unbatched(), {"x": np.zeros((5, 3), np.float32)})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(value):
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    with torch.no_grad():
        module[1].bias[1] = value
    with pytest.raises(InvalidFileError, match=r"tensor 1\.bias holds 1 NaN"):
        capture(module, VECTOR)


def test_other_precisions():
    with pytest.raises(InvalidInputError, match=r"tensor weight is float64, expected float32.*model\.float"):
        capture(nn.Linear(4, 4).double(), VECTOR)


def test_samples_that_the_model_does_not_take():
    with pytest.raises(InvalidInputError, match=re.escape("does not run on the sample inputs (x [2, 4])")):
        capture(nn.Linear(5, 4), VECTOR)


def test_results_that_are_no_tensors():
    class Nested(nn.Module):
        def forward(self, x):
            return [(x, x)]

    with pytest.raises(UnsupportedModelError, match="forward returns list"):
        capture(Nested(), VECTOR)


def test_things_that_are_no_model():
    with pytest.raises(InvalidInputError, match=r"found dict, expected a torch\.nn\.Module"):
        capture({}, VECTOR)


@pytest.mark.parametrize("constant", ["h", "c"])
def test_a_constant_initial_state_of_an_lstm(constant):
    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(3, 4, batch_first=True)
            self.start = nn.Parameter(torch.ones(1, 1, 4))

        def forward(self, x):
            learned, zeros = self.start.expand(1, x.shape[0], 4), x.new_zeros(1, x.shape[0], 4)
            return self.rnn(x, (learned, zeros) if constant == "h" else (zeros, learned))[0]

    with pytest.raises(UnsupportedModelError, match=r"node rnn .*one initial state is a constant"):
        capture(Learned(), SEQUENCE)


def test_an_lstm_without_a_batch_axis():
    class Unbatched(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(3, 4)

        def forward(self, x):
            return self.rnn(x)[0]

    with pytest.raises(UnsupportedModelError, match=r"layer rnn \(torch.nn.LSTM\): found an input of rank 2"):
        capture(Unbatched(), {"x": np.zeros((5, 3), np.float32)})

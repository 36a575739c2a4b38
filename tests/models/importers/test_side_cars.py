"""Checkpoints of other libraries and their side-cars: networks in each layout compute the same after the import."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from qdeploy.models.importers.libraries import LIBRARIES
from qdeploy.models.importers.orthogonal import import_checkpoint
from qdeploy.models.importers.side_car import parse_side_car
from qdeploy.models.quantizer import grid_integers
from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError

INPUTS, HIDDEN, CLASSES = 2, 8, 3


def modrelu(values: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    return torch.sign(values) * torch.relu(values.abs() + epsilon + bias)


class ModReLU(nn.Module):
    """Its bias, and what it adds to |a|."""

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.b = nn.Parameter(torch.empty(HIDDEN).uniform_(-0.2, 0.2))

    def forward(self, values: Tensor) -> Tensor:
        return modrelu(values, self.b, self.epsilon)


def orthogonal(size: int = HIDDEN) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size))[0]


class ProjunnMnist(nn.Module):
    """The layout of projUNN's MNIST programs: ReLU, the last state."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent_layer = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.input_layer = nn.Linear(INPUTS, HIDDEN)
        self.lin = nn.Linear(HIDDEN, CLASSES)
        self.recurrent_layer.weight.data = orthogonal()

    def forward(self, x: Tensor) -> Tensor:
        hidden = x.new_zeros(len(x), HIDDEN)
        for step in x.unbind(1):
            hidden = torch.relu(self.input_layer(step) + self.recurrent_layer(hidden))
        return self.lin(hidden)


class Cell(nn.Module):
    """Kernels and modReLU, as the cells of projUNN's copy task, expRNN and geotorch's examples name them."""

    def __init__(self, kernel: nn.Module, epsilon: float, *, bias: bool) -> None:
        super().__init__()
        self.recurrent_kernel = kernel
        self.input_kernel = nn.Linear(INPUTS, HIDDEN, bias=bias)
        self.nonlinearity = ModReLU(epsilon)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        result: Tensor = self.nonlinearity(self.input_kernel(x) + self.recurrent_kernel(hidden))
        return result


class ProjunnCopy(nn.Module):
    """The layout of projUNN's copy task: every state."""

    def __init__(self) -> None:
        super().__init__()
        kernel = nn.Linear(HIDDEN, HIDDEN, bias=False)
        kernel.weight.data = orthogonal()
        self.rnn_layer = Cell(kernel, 1e-6, bias=False)
        self.output_layer = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        hidden, outputs = x.new_zeros(len(x), HIDDEN), []
        for step in x.unbind(1):
            hidden = self.rnn_layer(step, hidden)
            outputs.append(self.output_layer(hidden))
        return torch.stack(outputs, 1)


class LastState(nn.Module):
    """A cell called ``rnn`` and a layer ``lin`` over its last state."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.rnn = cell
        self.lin = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        hidden = x.new_zeros(len(x), HIDDEN)
        for step in x.unbind(1):
            hidden = self.rnn(step, hidden)
        return self.lin(hidden)


class ExpKernel(nn.Module):
    """``h B`` with B = base map(A), of the strict upper triangle of _A."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self._A = nn.Parameter(torch.randn(HIDDEN, HIDDEN) / 2)
        self.register_buffer("base", orthogonal())
        self.register_buffer("_B", torch.empty(HIDDEN, HIDDEN))
        # What is stored is that of the step before.
        self._B = self.made(self._A.detach() + 0.003 * torch.randn(HIDDEN, HIDDEN))

    def made(self, stored: Tensor) -> Tensor:
        upper = stored.triu(1)
        skew = upper - upper.T
        one = torch.eye(HIDDEN)
        made = torch.linalg.matrix_exp(skew) if self.kind == "exponential" else torch.inverse(one + skew) @ (one - skew)
        return self.base @ made

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden @ self.made(self._A)


class GeoKernel(nn.Linear):
    """The state of geotorch's orthogonal parametrization, and its product."""

    class Map(nn.Module):
        def __init__(self, kind: str, triangle: str) -> None:
            super().__init__()
            self.kind, self.triangle = kind, triangle
            self.register_buffer("base", orthogonal())

        def forward(self, stored: Tensor) -> Tensor:
            half = stored.tril(-1) if self.triangle == "lower" else stored.triu(1)
            skew, one = half - half.T, torch.eye(HIDDEN)
            made = (
                torch.linalg.matrix_exp(skew)
                if self.kind == "expm"
                else (one + skew / 2) @ torch.linalg.inv(one - skew / 2)
            )
            return self.base @ made

    def __init__(self, kind: str, triangle: str) -> None:
        super().__init__(HIDDEN, HIDDEN, bias=False)
        self.weight.data = torch.randn(HIDDEN, HIDDEN) / 2
        parametrize.register_parametrization(self, "weight", self.Map(kind, triangle), unsafe=True)


def torch_kernel(kind: str, *, trivialization: bool) -> nn.Module:
    kernel = nn.Linear(HIDDEN, HIDDEN, bias=False)
    kernel.weight.data = orthogonal()
    parametrizations.orthogonal(kernel, "weight", kind, use_trivialization=trivialization)
    with torch.no_grad():
        # The diagonal of householder's original holds signs, which get no gradient.
        kernel.parametrizations.weight.original.add_(0.2 * torch.randn(HIDDEN, HIDDEN).tril(-1))
    return kernel


class Grid(nn.Module):
    """q_k of the authors' code."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, weight: Tensor) -> Tensor:
        levels = float(2 ** (self.bits - 1))
        alpha = weight.abs().max()
        return (weight * (levels / alpha)).round().clamp(-levels, levels - 1) * (alpha / levels)


class Signs(nn.Module):
    """diag(sign) times the normalized block matrix, whatever the weight is."""

    def __init__(self, sign_vector: nn.Parameter, block: int) -> None:
        super().__init__()
        self.sign_vector = sign_vector
        matrix = torch.ones(1, 1)
        while len(matrix) < block:
            matrix = torch.kron(matrix, torch.tensor([[1.0, 1.0], [1.0, -1.0]])) / 2**0.5
        self.blocks = torch.block_diag(*[matrix] * (HIDDEN // block))

    def forward(self, weight: Tensor) -> Tensor:
        del weight
        return torch.diag(torch.sign(self.sign_vector).view(-1)) @ self.blocks


class HadamardNet(nn.Module):
    """The authors' layout of one linear Hadamard layer, with ReLU before the output."""

    def __init__(self, block: int, bits: int, *, quantized_output: bool, repeated: bool, steps: str) -> None:
        super().__init__()
        self.steps = steps
        self.input_layer = nn.Linear(INPUTS, HIDDEN, bias=False)
        parametrize.register_parametrization(self.input_layer, "weight", Grid(bits))
        self.recurrent_layer = nn.Linear(HIDDEN, HIDDEN)
        self.recurrent_layer.sign_vector = nn.Parameter(torch.randn(1, HIDDEN))
        self.output_layer = nn.Linear(HIDDEN, CLASSES)
        if quantized_output:
            parametrize.register_parametrization(self.output_layer, "weight", Grid(bits))
        kernel = Signs(self.recurrent_layer.sign_vector, block)
        parametrize.register_parametrization(self.recurrent_layer, "weight", kernel, unsafe=True)
        self.repeated = repeated

    def forward(self, x: Tensor) -> Tensor:
        hidden, outputs = x.new_zeros(len(x), HIDDEN), []
        for step in x.unbind(1):
            hidden = self.recurrent_layer(hidden) + self.input_layer(step)
            outputs.append(self.output_layer(torch.relu(hidden)))
        return torch.stack(outputs, 1) if self.steps == "every" else outputs[-1]

    def state(self) -> dict[str, Tensor]:
        found = dict(self.state_dict())
        if not self.repeated:
            del found["recurrent_layer.parametrizations.weight.0.sign_vector"]
        return found


BASE = {"schema_version": 1, "activation": "modrelu", "steps": "last"}
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "projunn-mnist": (ProjunnMnist, {"library": "projunn", "activation": "relu"}),
    "projunn-copy": (ProjunnCopy, {"library": "projunn", "steps": "every"}),
    **{
        f"exprnn-{kind}": (
            lambda kind=kind: LastState(Cell(ExpKernel(kind), 0.0, bias=False)),
            {"library": "exprnn", "parametrization": kind},
        )
        for kind in ("exponential", "cayley")
    },
    **{
        f"geotorch-{kind}-{triangle}": (
            lambda kind=kind, triangle=triangle: LastState(Cell(GeoKernel(kind, triangle), 1e-5, bias=True)),
            {"library": "geotorch", "parametrization": kind, "triangle": triangle, "epsilon": 1e-5},
        )
        for kind in ("expm", "cayley")
        for triangle in ("lower", "upper")
    },
    **{
        f"torch-{kind}-{'base' if base else 'plain'}": (
            lambda kind=kind, base=base: LastState(Cell(torch_kernel(kind, trivialization=base), 0.0, bias=True)),
            {
                "library": "torch-orthogonal",
                "parametrization": kind,
                "epsilon": 0,
                "tensors": {
                    "recurrent_weight": "rnn.recurrent_kernel.weight",
                    "input_weight": "rnn.input_kernel.weight",
                    "input_bias": "rnn.input_kernel.bias",
                    "modrelu_bias": "rnn.nonlinearity.b",
                    "output_weight": "lin.weight",
                    "output_bias": "lin.bias",
                },
            },
        )
        for kind, base in (("matrix_exp", True), ("cayley", True), ("householder", False), ("matrix_exp", False))
    },
    **{
        f"hadamrnn-{block}-{steps}-{'v' if quantized else 'float'}": (
            lambda block=block, steps=steps, quantized=quantized: HadamardNet(
                block, 4, quantized_output=quantized, repeated=quantized, steps=steps
            ),
            {
                "library": "hadamrnn",
                "activation": "linear",
                "output_activation": "relu",
                "steps": steps,
                "block_size": None if block == HIDDEN else block,
                "input_weight_bits": 4,
                "output_weight_bits": 4 if quantized else None,
            },
        )
        for block, steps, quantized in ((8, "last", True), (4, "every", True), (2, "last", False))
    },
}


def written(tmp_path: Any, module: nn.Module, side_car: dict[str, Any], ending: str = ".pt") -> tuple[Any, Any]:
    """The checkpoint and its side-car as files."""
    state = module.state() if isinstance(module, HadamardNet) else module.state_dict()
    path = tmp_path / f"net{ending}"
    if ending == ".safetensors":
        save_file({name: value.clone().contiguous() for name, value in state.items()}, path)
    else:
        torch.save(state, path)
    (tmp_path / "net.json").write_text(json.dumps({**BASE, **side_car}))
    return path, tmp_path / "net.json"


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
@pytest.mark.parametrize("name", CASES)
def test_the_import_computes_what_the_library_computes(tmp_path: Any, name: str, ending: str) -> None:
    torch.manual_seed(0)
    make, side_car = CASES[name]
    module = make().eval()
    found = import_checkpoint(*written(tmp_path, module, side_car, ending)).module
    x = torch.randn(5, 40, INPUTS)
    with torch.no_grad():
        torch.testing.assert_close(found(x), module(x), rtol=1e-4, atol=1e-4)
    assert not found.training


def test_every_library_has_a_case() -> None:
    assert {side_car["library"] for _, side_car in CASES.values()} == set(LIBRARIES)


def test_another_map_is_another_network(tmp_path: Any) -> None:
    torch.manual_seed(0)
    make, side_car = CASES["geotorch-expm-lower"]
    path, described = written(tmp_path, make(), side_car)
    right = import_checkpoint(path, described).module.recurrent.materialize()[0]
    for changes in ({"parametrization": "cayley"}, {"triangle": "upper"}):
        described.write_text(json.dumps({**BASE, **side_car, **changes}))
        assert (import_checkpoint(path, described).module.recurrent.materialize()[0] - right).abs().max() > 0.01


def test_weights_on_the_grid_come_back_exactly(tmp_path: Any) -> None:
    torch.manual_seed(1)
    make, side_car = CASES["hadamrnn-4-every-v"]
    module = make()
    found = import_checkpoint(*written(tmp_path, module, side_car)).module
    with torch.no_grad():
        assert torch.equal(found.recurrent.input_weight, module.input_layer.weight)
        assert torch.equal(found.output_weight, module.output_layer.weight)
        assert (found.recurrent.materialize()[0] - module.recurrent_layer.weight).abs().max() < 1e-6
    integers, _ = grid_integers(module.input_layer.parametrizations.weight.original.detach(), 4)
    assert integers.abs().max() == 8


def test_bjorck_and_the_grid_of_the_recurrent_weight(tmp_path: Any) -> None:
    torch.manual_seed(2)
    module = nn.Module()
    module.recurrent_layer = nn.Linear(HIDDEN, HIDDEN)
    module.recurrent_layer.weight.data = orthogonal() + 0.02 * torch.randn(HIDDEN, HIDDEN)
    module.input_layer, module.output_layer = nn.Linear(INPUTS, HIDDEN, bias=False), nn.Linear(HIDDEN, CLASSES)
    side_car = {
        "library": "hadamrnn",
        "activation": "relu",
        "parametrization": "bjorck",
        "recurrent_weight_bits": 5,
    }
    weight = import_checkpoint(*written(tmp_path, module, side_car)).module.recurrent.materialize()[0]
    left, _, right = torch.linalg.svd(module.recurrent_layer.weight.detach())
    assert (weight - left @ right).abs().max() <= weight.abs().max() / 16 + 0.02
    levels = weight / weight.abs().max() * 16
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict"])
def test_wrapped_and_parallel_state_dicts(tmp_path: Any, wrapper: str) -> None:
    torch.manual_seed(0)
    module = ProjunnMnist()
    path, described = written(tmp_path, module, CASES["projunn-mnist"][1])
    parallel = {f"module.{name}": value.double() for name, value in module.state_dict().items()}
    torch.save({"epoch": 3, wrapper: parallel}, path)
    x = torch.randn(2, 5, INPUTS)
    with torch.no_grad():
        torch.testing.assert_close(import_checkpoint(path, described).module(x), module(x))


class Runs:
    """An object whose unpickling would run code."""

    def __reduce__(self) -> Any:
        return (open, ("/dev/null",))


@pytest.mark.parametrize(
    ("case", "changes", "message"),
    [
        (
            "projunn-mnist",
            {"tensors": {"recurrent_weight": "cell.weight"}},
            "no tensor 'cell.weight'; it holds input_layer",
        ),
        ("projunn-mnist", {"activation": "modrelu"}, "no tensor 'nonlinearity.b'"),
        ("projunn-copy", {"activation": "relu"}, "tensors rnn_layer.nonlinearity.b have no place"),
        ("exprnn-cayley", {"parametrization": "exponential"}, "'cayley' makes"),
        ("exprnn-cayley", {"parametrization": None}, "parametrization is missing, expected one of exponential, cayley"),
        ("geotorch-expm-lower", {"epsilon": None}, "epsilon is missing"),
        ("torch-cayley-base", {"tensors": {}}, "no names for recurrent_weight, input_weight, output_weight"),
        ("hadamrnn-8-last-v", {"block_size": 16}, "block_size=16 for 8 units"),
        ("hadamrnn-8-last-v", {"block_size": 3}, "block_size=3 for 8 units"),
        ("hadamrnn-8-last-v", {"parametrization": "none"}, "deviates from an orthogonal matrix"),
        ("hadamrnn-8-last-v", {"recurrent_weight_bits": 4}, "recurrent_weight_bits=4: of no use"),
        ("projunn-mnist", {"block_size": 4}, "block_size=4: of no use"),
        ("projunn-mnist", {"epsilon": 0.1}, "epsilon=0.1: of no use"),
        ("projunn-mnist", {"triangle": "upper"}, "triangle='upper': of no use"),
        ("projunn-mnist", {"tensors": {"modrelu_bias": "lin.bias"}}, "no activation is modrelu"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Any, case: str, changes: dict[str, Any], message: str) -> None:
    torch.manual_seed(0)
    make, side_car = CASES[case]
    with pytest.raises(InvalidFileError, match=message):
        import_checkpoint(*written(tmp_path, make(), {**side_car, **changes}))


def changed_state(tmp_path: Any, case: str, change: Any) -> tuple[Any, Any]:
    torch.manual_seed(0)
    make, side_car = CASES[case]
    module = make()
    path, described = written(tmp_path, module, side_car)
    state = dict(torch.load(path, weights_only=True))
    change(state)
    torch.save(state, path)
    return path, described


@pytest.mark.parametrize(
    ("case", "change", "message"),
    [
        ("hadamrnn-8-last-v", lambda s: s["recurrent_layer.sign_vector"].zero_(), "8 zeros"),
        (
            "hadamrnn-8-last-v",
            lambda s: s.update({"recurrent_layer.parametrizations.weight.0.sign_vector": torch.ones(1, HIDDEN)}),
            "differs from recurrent_layer.sign_vector",
        ),
        ("projunn-mnist", lambda s: s["recurrent_layer.weight"].mul_(2), "deviates from an orthogonal matrix by 3"),
        ("projunn-mnist", lambda s: s["lin.bias"].fill_(float("nan")), "lin.bias holds NaN"),
        ("projunn-mnist", lambda s: s.update({"lin.bias": torch.zeros(7)}), r"\[7\], expected a float tensor \[3\]"),
        ("projunn-mnist", lambda s: s.update({"lin.bias": torch.zeros(3, dtype=torch.int64)}), "torch.int64"),
        ("projunn-mnist", lambda s: s.update({"conv.weight": torch.zeros(3)}), "tensors conv.weight have no place"),
        ("projunn-mnist", lambda s: s.clear(), "expected a state dict"),
    ],
)
def test_checkpoints_that_are_wrong_are_told(tmp_path: Any, case: str, change: Any, message: str) -> None:
    with pytest.raises(InvalidFileError, match=message):
        import_checkpoint(*changed_state(tmp_path, case, change))


def test_ignored_tensors_and_the_permutation_are_left(tmp_path: Any) -> None:
    path, described = changed_state(
        tmp_path, "exprnn-cayley", lambda s: s.update({"permutation": torch.arange(4), "step": torch.tensor(3)})
    )
    with pytest.raises(InvalidFileError, match="tensors step have no place"):
        import_checkpoint(path, described)
    described.write_text(json.dumps({**BASE, **CASES["exprnn-cayley"][1], "ignored": ["step"]}))
    import_checkpoint(path, described)


def test_two_layers_are_refused(tmp_path: Any) -> None:
    path, described = changed_state(
        tmp_path, "hadamrnn-8-last-v", lambda s: s.update({"recurrent_layer_2.sign_vector": torch.ones(1, HIDDEN)})
    )
    with pytest.raises(UnsupportedModelError, match="second layer of a two-layer HadamRNN"):
        import_checkpoint(path, described)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Any) -> None:
    _, described = written(tmp_path, ProjunnMnist(), CASES["projunn-mnist"][1])
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"lin.weight": Runs()}))
    with pytest.raises(InvalidFileError, match="tensors and plain values only; nothing was run"):
        import_checkpoint(tmp_path / "evil.pt", described)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "schema_version=2, expected 1"),
        ({"schema_version": True}, "schema_version=True, expected 1"),
        ({"library": "tensorflow"}, "library='tensorflow', expected one of exprnn, geotorch"),
        ({"activation": "elu"}, "activation='elu', expected one of relu, modrelu"),
        ({"steps": None}, "steps=None, expected one of last, every"),
        ({"output_activation": "linear"}, "output_activation='linear', expected null or one of relu"),
        ({"parametrization": "cayley"}, "parametrization='cayley', expected for projunn null"),
        ({"triangle": "left"}, "triangle='left', expected one of lower, upper"),
        ({"block_size": 0}, "block_size=0, expected null or an integer"),
        ({"input_weight_bits": 9}, r"input_weight_bits=9, expected null or an integer in \[1, 8\]"),
        ({"output_weight_bits": 4.0}, "output_weight_bits=4.0"),
        ({"epsilon": float("nan")}, "epsilon=nan, expected null or a number"),
        ({"tensors": {"hidden": "a"}}, "expected an object of names of tensors by role; roles are recurrent_weight"),
        ({"tensors": []}, r"tensors=\[\]"),
        ({"ignored": "a"}, "ignored='a', expected a list"),
        ({"dataset": 3}, "dataset=3, expected null or the name of a data set"),
        ({"hidden_size": 8}, "unknown keys hidden_size; known are schema_version, library"),
        ({"source": "x"}, "unknown keys source"),
    ],
)
def test_side_cars_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidFileError, match=message):
        parse_side_car({**BASE, "library": "projunn", **changes})


@pytest.mark.parametrize("key", ["schema_version", "library", "activation", "steps"])
def test_keys_that_are_missing_are_named(key: str) -> None:
    values = {**BASE, "library": "projunn"}
    del values[key]
    with pytest.raises(InvalidFileError, match=f"missing keys {key}"):
        parse_side_car(values)


@pytest.mark.parametrize(("text", "message"), [("{", "not a JSON file"), ("[]", "found list"), (None, "no such file")])
def test_files_that_are_no_side_cars(tmp_path: Any, text: str | None, message: str) -> None:
    path, described = written(tmp_path, ProjunnMnist(), {"library": "projunn"})
    described.unlink()
    if text is not None:
        described.write_text(text)
    with pytest.raises(InvalidFileError, match=message):
        import_checkpoint(path, described)

"""FastRNN and FastGRNN of the authors' code (EdgeML): from its state dicts and its folders of ``.npy`` files.

What EdgeML saves has the matrices in one of two layouts, and does not say in which. ``in-out`` (x W, of shape [I, H]) is
that of FastRNN, of FastGRNN before October 2019 and since April 2020, and of the folders; ``out-in`` (x W^T, [H, I]) is that
of FastGRNN in between and of FastGRNNCUDA. Shapes tell the two apart, unless every matrix is square. The nonlinearities are
not saved either. Source: ``edgeml_pytorch/graph/rnn.py`` and ``trainer/fastTrainer.py`` of github.com/microsoft/EdgeML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, UnsupportedModelError

from ..fast_grnn import FastGRNN
from ..fast_rnn import FastRNN
from ..recurrent_classifier import RecurrentClassifier
from ..torch_file import MAX_FILE_BYTES, read_torch_file

__all__ = ["LAYOUTS", "edgeml_classifier", "edgeml_layer", "read_edgeml"]

LAYOUTS = ("in-out", "out-in")

EDGEML_NONLINEARITIES = {
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "quantSigm": "quant_sigmoid",
    "quantTanh": "quant_tanh",
}
"""EdgeML's names of the nonlinearities, and those of the layers here."""

# Modules of EdgeML around a cell; the same cell is reached through several of them.
_WRAPPERS = frozenset({"cell", "unrollRNN", "RNNCell", "_RNNCell", "_unrollRNN", "RNN"})
_MATRICES = ("W", "W1", "W2", "U", "U1", "U2")
_PARAMETERS = frozenset({*_MATRICES, "bias_gate", "bias_update", "zeta", "nu", "alpha", "beta"})
_FILES = {"Bg": "bias_gate", "Bh": "bias_update", "B": "bias_update"}
_MIX = {"fast-grnn": ("zeta", "nu"), "fast-rnn": ("alpha", "beta")}
_OUTPUTS = ("hidden2keyword.weight", "hidden2keyword.bias", "FC", "FCbias")


def read_edgeml(path: str | Path) -> dict[str, Tensor]:
    """The tensors by name of what EdgeML saved; nothing in it is executed.

    Args:
        path: a ``.pt`` file with a state dict, or a folder of ``.npy`` files as ``FastTrainer.saveParams`` writes it.

    Raises:
        InvalidFileError: missing, too large, corrupted, or of another kind.
    """
    source = Path(path)
    if not source.is_dir():
        content = read_torch_file(source, "a state dict of EdgeML, or a folder of its .npy files")
        if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
            raise InvalidFileError(f"{source}: expected a state dict: names and tensors, nothing else")
        return dict(content)
    tensors = {}
    for file in sorted(source.glob("*.npy")):
        if not file.is_file() or file.stat().st_size > MAX_FILE_BYTES:
            raise InvalidFileError(f"{file}: expected a file of at most {MAX_FILE_BYTES} bytes")
        try:
            array = np.load(file, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise InvalidFileError(f"{file}: not an array that numpy.save wrote: {error}") from error
        if array.dtype.kind not in "fiu":
            raise InvalidFileError(f"{file}: holds {array.dtype}, expected numbers")
        tensors[_FILES.get(file.stem, file.stem)] = torch.from_numpy(array.astype(np.float32))
    if not tensors:
        raise InvalidFileError(f"{source}: no .npy file in this folder; expected those of FastTrainer.saveParams")
    return tensors


def edgeml_layer(
    tensors: Mapping[str, Tensor],
    *,
    gate_nonlinearity: str = "sigmoid",
    update_nonlinearity: str = "tanh",
    layout: str | None = None,
) -> FastRNN | FastGRNN:
    """One layer, in evaluation mode; sparse and low-rank matrices stay what they are.

    Args:
        tensors: of one cell, of FastRNN, FastGRNN or FastGRNNCUDA; see ``read_edgeml``. An output layer is left out.
        gate_nonlinearity, update_nonlinearity: with which it was trained: sigmoid, tanh, relu, quantSigm or quantTanh.
        layout: one of ``LAYOUTS``, or None to tell it from the shapes.

    Raises:
        InvalidInputError: names or shapes that are not those of one cell; shapes that fit both layouts where none is given.
        UnsupportedModelError: another cell, both directions, another nonlinearity.
    """
    cells = _cells(tensors)
    if len(cells) != 1:
        raise InvalidInputError(
            f"EdgeML: found {len(cells)} cells, expected one; edgeml_classifier reads stacked layers"
        )
    kept = _common_layout(cells, layout)
    names = _nonlinearities(cells[0].kind, gate_nonlinearity, update_nonlinearity)
    inputs, hidden = cells[0].sizes(kept)
    make = FastGRNN if cells[0].kind == "fast-grnn" else FastRNN
    layer = make(inputs, hidden, **names, **cells[0].ranks(kept))
    layer.load_state_dict(cells[0].state(kept))
    return layer.eval()


def edgeml_classifier(
    tensors: Mapping[str, Tensor],
    *,
    gate_nonlinearity: str = "sigmoid",
    update_nonlinearity: str = "tanh",
    layout: str | None = None,
) -> RecurrentClassifier:
    """Layers and the output layer over the last state, in evaluation mode.

    The mean and the deviation by which EdgeML's classifier can normalize its inputs are not in its state dict, and its
    last softmax changes no argmax and is left out.

    Args:
        tensors: of ``RNNClassifierModel``, or of a folder with ``FC`` and ``FCbias``; see ``read_edgeml``.
        gate_nonlinearity, update_nonlinearity, layout: see ``edgeml_layer``.

    Raises:
        InvalidInputError, UnsupportedModelError: see ``edgeml_layer``; also layers of different sizes or ranks.
    """
    cells = _cells(tensors)
    kept = _common_layout(cells, layout)
    weight, bias = _output(tensors, cells[-1].hidden)
    kinds = {cell.kind for cell in cells}
    hidden = {cell.hidden for cell in cells}
    ranks = [cell.ranks(kept) for cell in cells]
    if len(kinds) != 1 or len(hidden) != 1 or any(rank != ranks[0] for rank in ranks):
        raise InvalidInputError(
            f"EdgeML: found layers of {[f'{cell.kind}, {cell.hidden} units' for cell in cells]} and ranks {ranks}; a classifier "
            "has one cell, one size and the same ranks in all; read each layer by edgeml_layer and put them together"
        )
    kind = cells[0].kind
    module = RecurrentClassifier(
        cells[0].sizes(kept)[0],
        cells[0].hidden,
        len(bias),
        kind,
        layers=len(cells),
        **_nonlinearities(kind, gate_nonlinearity, update_nonlinearity),
        **ranks[0],
    )
    state = {"output.weight": weight, "output.bias": bias}
    for index, cell in enumerate(cells):
        state |= {f"layers.{index}.{name}": value for name, value in cell.state(kept).items()}
    module.load_state_dict(state)
    return module.eval()


@dataclass(frozen=True)
class _Cell:
    """The parameters of one cell by EdgeML's names, whatever the layout.

    Attributes:
        name: where it stands in the state dict, for messages.
        kind: ``fast-rnn`` or ``fast-grnn``.
    """

    name: str
    kind: str
    parameters: dict[str, Tensor]

    @property
    def hidden(self) -> int:
        """H: each layout has a bias of this size."""
        return self.parameters["bias_update"].numel()

    def oriented(self, layout: str) -> dict[str, Tensor]:
        """The matrices as ``in-out``."""
        return {
            name: value if layout == "in-out" else value.T
            for name, value in self.parameters.items()
            if name in _MATRICES
        }

    def fits(self, layout: str, inputs: int | None) -> bool:
        """Whether the shapes are those of a cell, of I ``inputs`` where they are known."""
        matrices = self.oriented(layout)
        for letter, rows in (("W", inputs), ("U", self.hidden)):
            chain = [matrices[name] for name in (letter, f"{letter}1", f"{letter}2") if name in matrices]
            if rows is not None and chain[0].shape[0] != rows:
                return False
            if chain[-1].shape[1] != self.hidden:
                return False
            if len(chain) == 2 and chain[0].shape[1] != chain[1].shape[0]:
                return False
        return True

    def sizes(self, layout: str) -> tuple[int, int]:
        """I and H."""
        matrices = self.oriented(layout)
        return matrices["W" if "W" in matrices else "W1"].shape[0], self.hidden

    def ranks(self, layout: str) -> dict[str, Any]:
        """``input_rank`` and ``recurrent_rank`` of the layer."""
        matrices = self.oriented(layout)
        return {
            name: matrices[f"{letter}1"].shape[1] if f"{letter}1" in matrices else None
            for name, letter in (("input_rank", "W"), ("recurrent_rank", "U"))
        }

    def state(self, layout: str) -> dict[str, Tensor]:
        """The state dict of the layer."""
        others = {name: value.reshape(1, -1) for name, value in self.parameters.items() if name not in _MATRICES}
        return {**others, **{name: value.contiguous() for name, value in self.oriented(layout).items()}}


def _cells(tensors: Mapping[str, Tensor]) -> list[_Cell]:
    """The cells in the order of the layers."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        *path, name = key.split(".")
        if any("reverse" in part for part in path):
            raise UnsupportedModelError(
                f"EdgeML: {key} is of a layer of both directions; read each cell's tensors on their own by edgeml_layer"
            )
        # FastGRNNCUDA has empty tensors in the place of what it does not use.
        if key in _OUTPUTS or value.numel() == 0:
            continue
        if name not in _PARAMETERS:
            raise InvalidInputError(
                f"EdgeML: {key} is no parameter of FastRNN or FastGRNN ({', '.join(sorted(_PARAMETERS))})"
            )
        place = ".".join(part for part in path if part not in _WRAPPERS)
        parameters = found.setdefault(place, {})
        if name in parameters and not torch.equal(parameters[name], value.float()):
            raise InvalidInputError(f"EdgeML: {key} differs from the same parameter of the same cell elsewhere")
        parameters[name] = value.detach().float()
    if not found:
        raise InvalidInputError("EdgeML: no parameter of a cell among these tensors")
    return [_checked(place, found[place]) for place in sorted(found, key=_by_number)]


def _by_number(place: str) -> list[tuple[int, str]]:
    """So that the tenth layer comes after the second."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", place)]


def _checked(place: str, parameters: dict[str, Tensor]) -> _Cell:
    where = f"EdgeML, cell {place or 'of the file'}"
    kinds = [kind for kind, mix in _MIX.items() if set(mix) <= set(parameters)]
    if len(kinds) != 1:
        raise UnsupportedModelError(
            f"{where}: found {', '.join(sorted(parameters))}; expected zeta and nu (FastGRNN) or alpha and beta (FastRNN)"
        )
    kind = kinds[0]
    expected = {"bias_update", *_MIX[kind], *(["bias_gate"] if kind == "fast-grnn" else [])}
    for letter in "WU":
        expected |= {letter} if letter in parameters else {f"{letter}1", f"{letter}2"}
    if expected != set(parameters):
        raise InvalidInputError(
            f"{where}: missing {', '.join(sorted(expected - set(parameters))) or 'none'}; not of this cell: "
            f"{', '.join(sorted(set(parameters) - expected)) or 'none'}"
        )
    cell = _Cell(place, kind, parameters)
    for name, value in parameters.items():
        sizes = {"bias_update": cell.hidden, "bias_gate": cell.hidden}
        fits = value.dim() == 2 if name in _MATRICES else value.numel() == sizes.get(name, 1)
        if not fits:
            raise InvalidInputError(
                f"{where}: {name} has shape {list(value.shape)}, which does not fit its {cell.hidden} units"
            )
        if not torch.isfinite(value).all():
            raise InvalidInputError(f"{where}: {name} holds NaN or infinity: the training that made it had diverged")
    return cell


def _common_layout(cells: Sequence[_Cell], layout: str | None) -> str:
    """The layout that all cells have."""
    if layout is not None and layout not in LAYOUTS:
        raise InvalidInputError(f"layout={layout!r}: expected one of {', '.join(LAYOUTS)}, or None")
    # FastRNN never had the other one.
    candidates = ("in-out",) if cells[0].kind == "fast-rnn" and layout is None else LAYOUTS
    inputs = [None, *(cell.hidden for cell in cells[:-1])]
    fitting = [
        one
        for one in (candidates if layout is None else (layout,))
        if all(cell.fits(one, size) for cell, size in zip(cells, inputs, strict=True))
    ]
    if len(fitting) == 1:
        return fitting[0]
    shapes = "; ".join(
        f"{name} {list(value.shape)}" for cell in cells for name, value in cell.parameters.items() if name in _MATRICES
    )
    if fitting:
        raise InvalidInputError(
            f"EdgeML: {shapes} fit both layouts, [I, H] and [H, I]; say layout='in-out' (EdgeML before October 2019 and since "
            "April 2020) or layout='out-in' (in between, and FastGRNNCUDA)"
        )
    raise InvalidInputError(
        f"EdgeML: {shapes} are not the matrices of cells of {', '.join(str(cell.hidden) for cell in cells)} units in "
        f"{'any layout' if layout is None else f'the layout {layout}'}"
    )


def _nonlinearities(kind: str, gate: str, update: str) -> dict[str, Any]:
    for option, value in (("gate_nonlinearity", gate), ("update_nonlinearity", update)):
        if value not in EDGEML_NONLINEARITIES:
            raise UnsupportedModelError(f"{option}={value!r}: expected one of {', '.join(EDGEML_NONLINEARITIES)}")
    names = {"activation": EDGEML_NONLINEARITIES[update]}
    return {**names, "gate_activation": EDGEML_NONLINEARITIES[gate]} if kind == "fast-grnn" else names


def _output(tensors: Mapping[str, Tensor], hidden: int) -> tuple[Tensor, Tensor]:
    """The output layer's weight [C, H] and bias [C]."""
    if {"FC", "FCbias"} <= set(tensors):
        weight, bias = tensors["FC"].t() if tensors["FC"].dim() == 2 else tensors["FC"], tensors["FCbias"].reshape(-1)
    elif {"hidden2keyword.weight", "hidden2keyword.bias"} <= set(tensors):
        weight, bias = tensors["hidden2keyword.weight"], tensors["hidden2keyword.bias"]
    else:
        raise InvalidInputError(
            "EdgeML: no output layer: expected hidden2keyword.weight and .bias, or FC and FCbias; edgeml_layer reads a layer"
        )
    if weight.dim() != 2 or tuple(weight.shape) != (bias.numel(), hidden):
        raise InvalidInputError(
            f"EdgeML: output layer of weight {list(weight.shape)} and bias {list(bias.shape)}, expected [C, {hidden}] and [C]"
        )
    return weight.float().contiguous(), bias.float()

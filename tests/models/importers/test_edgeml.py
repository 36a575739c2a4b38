from __future__ import annotations

import numpy as np
import pytest
import torch

from qdeploy.models import edgeml_classifier, edgeml_layer, load_checkpoint, read_edgeml, save_checkpoint
from qdeploy.models.fast_grnn import FastGRNN
from qdeploy.models.fast_rnn import FastRNN
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, UnsupportedModelError

INPUTS, HIDDEN, CLASSES = 4, 6, 3
SEQUENCE = torch.linspace(-2, 2, 5 * 2 * INPUTS).reshape(5, 2, INPUTS)


def saved(kind="FastGRNN", *, inputs=INPUTS, w_rank=None, u_rank=None, layout="in-out", seed=0):
    """A cell's tensors by EdgeML's names."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    tensors = {}
    for letter, rank, rows in (("W", w_rank, inputs), ("U", u_rank, HIDDEN)):
        shapes = {letter: (rows, HIDDEN)}
        if rank is not None:
            shapes = {f"{letter}1": (rows, rank), f"{letter}2": (rank, HIDDEN)}
        for name, shape in shapes.items():
            tensors[name] = draw(*shape) if layout == "in-out" else draw(*shape).T.contiguous()
    tensors["bias_update"] = draw(1, HIDDEN)
    if kind == "FastGRNN":
        tensors |= {"bias_gate": draw(1, HIDDEN), "zeta": draw(1, 1), "nu": draw(1, 1)}
    else:
        tensors |= {"alpha": draw(1, 1), "beta": draw(1, 1)}
    return tensors


def states(tensors, sequence, gate=torch.sigmoid, update=torch.tanh, layout="in-out"):
    """The cell's equations of the authors' code."""
    t = {name: value.T if name[0] in "WU" and layout == "out-in" else value for name, value in tensors.items()}
    w = t["W"] if "W" in t else t["W1"] @ t["W2"]
    u = t["U"] if "U" in t else t["U1"] @ t["U2"]
    h = torch.zeros(sequence.shape[1], HIDDEN)
    found = []
    for x in sequence:
        shared = x @ w + h @ u
        c = update(shared + t["bias_update"])
        if "zeta" in t:
            z = gate(shared + t["bias_gate"])
            h = z * h + (torch.sigmoid(t["zeta"]) * (1 - z) + torch.sigmoid(t["nu"])) * c
        else:
            h = torch.sigmoid(t["beta"]) * h + torch.sigmoid(t["alpha"]) * c
        found.append(h)
    return torch.stack(found)


@pytest.mark.parametrize("ranks", [(None, None), (2, None), (None, 3), (3, 2)])
@pytest.mark.parametrize(("kind", "layout"), [("FastGRNN", "in-out"), ("FastGRNN", "out-in"), ("FastRNN", "in-out")])
def test_a_cell_of_either_layout(kind, layout, ranks):
    tensors = saved(kind, w_rank=ranks[0], u_rank=ranks[1], layout=layout)
    layer = edgeml_layer(tensors)
    assert type(layer) is {"FastGRNN": FastGRNN, "FastRNN": FastRNN}[kind]
    assert (layer.input_rank, layer.recurrent_rank) == ranks
    with torch.no_grad():
        assert torch.allclose(layer(SEQUENCE)[0], states(tensors, SEQUENCE, layout=layout), atol=1e-5)


def test_a_step_alone_is_a_sequence_of_one():
    layer = edgeml_layer(saved(u_rank=2))
    state = torch.ones(2, HIDDEN)
    with torch.no_grad():
        assert torch.equal(layer.cell(SEQUENCE[0], state), layer(SEQUENCE[:1], state)[1])


def test_nonlinearities_have_edgemls_names():
    tensors = saved()
    layer = edgeml_layer(tensors, gate_nonlinearity="quantSigm", update_nonlinearity="quantTanh")

    def gate(values):
        return ((values + 1) / 2).clamp(0, 1)

    expected = states(tensors, SEQUENCE, gate, lambda values: values.clamp(-1, 1))
    with torch.no_grad():
        assert torch.allclose(layer(SEQUENCE)[0], expected, atol=1e-5)


def test_sparse_matrices_stay_sparse():
    tensors = saved()
    tensors["U"] = tensors["U"] * (tensors["U"].abs() > 1)
    layer = edgeml_layer(tensors)
    assert torch.equal(layer.U, tensors["U"])
    assert 0 < int((layer.U == 0).sum()) < layer.U.numel()


def test_square_matrices_fit_both_layouts():
    tensors = saved(inputs=HIDDEN, layout="out-in")
    with pytest.raises(InvalidInputError, match="fit both layouts"):
        edgeml_layer(tensors)
    assert torch.equal(edgeml_layer(tensors, layout="out-in").W, tensors["W"].T)
    assert torch.equal(edgeml_layer(tensors, layout="in-out").W, tensors["W"])
    # FastRNN never had but one.
    plain = saved("FastRNN", inputs=HIDDEN)
    assert torch.equal(edgeml_layer(plain).W, plain["W"])


def classifier_state(**options):
    """The state dict of two layers, each reached by two names, and the output layer."""
    state = {}
    for index, inputs in enumerate((INPUTS, HIDDEN)):
        for name, value in saved(inputs=inputs, seed=index, **options).items():
            state[f"rnn_list.{index}.cell.{name}"] = value
            state[f"rnn_list.{index}.unrollRNN.RNNCell.{name}"] = value
    generator = torch.Generator().manual_seed(9)
    state["hidden2keyword.weight"] = torch.randn(CLASSES, HIDDEN, generator=generator)
    state["hidden2keyword.bias"] = torch.randn(CLASSES, generator=generator)
    return state


@pytest.mark.parametrize("layout", ["in-out", "out-in"])
def test_a_classifier_of_two_layers(layout, tmp_path):
    state = classifier_state(layout=layout, u_rank=2)
    torch.save(state, tmp_path / "net.pt")
    module = edgeml_classifier(read_edgeml(tmp_path / "net.pt"))
    held = SEQUENCE
    for index in range(2):
        cell = {
            key.rsplit(".", 1)[1]: value for key, value in state.items() if key.startswith(f"rnn_list.{index}.cell.")
        }
        held = states(cell, held, layout=layout)
    expected = held[-1] @ state["hidden2keyword.weight"].T + state["hidden2keyword.bias"]
    with torch.no_grad():
        assert torch.allclose(module(SEQUENCE.transpose(0, 1)), expected, atol=1e-5)
    # As a checkpoint of our own it can be trained further and exported.
    metadata = {
        "architecture": "recurrent-classifier",
        "hyperparameters": {
            "input_size": INPUTS, "hidden_size": HIDDEN, "num_classes": CLASSES, "cell": "fast-grnn", "layers": 2,
            "activation": "tanh", "gate_activation": "sigmoid", "recurrent_rank": 2,
        },
    }  # fmt: skip
    again = load_checkpoint(save_checkpoint(tmp_path / "own", module, metadata)).module
    assert torch.equal(again(SEQUENCE.transpose(0, 1)), module(SEQUENCE.transpose(0, 1)))


def test_a_folder_of_arrays(tmp_path):
    tensors = saved(w_rank=2)
    names = {"bias_gate": "Bg", "bias_update": "Bh"}
    weight, bias = torch.randn(HIDDEN, CLASSES), torch.randn(CLASSES)
    for name, value in {**tensors, "FC": weight, "FCbias": bias}.items():
        np.save(tmp_path / f"{names.get(name, name)}.npy", value.numpy())
    module = edgeml_classifier(read_edgeml(tmp_path))
    with torch.no_grad():
        expected = states(tensors, SEQUENCE)[-1] @ weight + bias
        assert torch.allclose(module(SEQUENCE.transpose(0, 1)), expected, atol=1e-5)


def without(*names):
    return {name: value for name, value in saved().items() if name not in names}


@pytest.mark.parametrize(
    ("tensors", "options", "kind", "words"),
    [
        ({}, {}, InvalidInputError, "no parameter"),
        (without("bias_gate"), {}, InvalidInputError, "missing bias_gate"),
        (without("zeta", "nu"), {}, UnsupportedModelError, "expected zeta and nu"),
        ({**saved(), "W3": torch.ones(2, 2)}, {}, InvalidInputError, "W3 is no parameter"),
        ({**saved(), "W1": torch.ones(2, 2)}, {}, InvalidInputError, "not of this cell: W1"),
        ({**saved(), "U": torch.ones(HIDDEN, HIDDEN + 1)}, {}, InvalidInputError, "any layout"),
        ({**saved(), "U": torch.full((HIDDEN, HIDDEN), torch.nan)}, {}, InvalidInputError, "U holds NaN"),
        ({**saved(), "zeta": torch.ones(2)}, {}, InvalidInputError, "zeta has shape"),
        ({**saved(), "cell.nu": torch.ones(1, 1)}, {}, InvalidInputError, "cell.nu differs"),
        ({"unrollRNN.RNNCell_reverse.W": torch.ones(2, 2)}, {}, UnsupportedModelError, "both directions"),
        ({f"{i}.{k}": v for i in range(2) for k, v in saved().items()}, {}, InvalidInputError, "found 2 cells"),
        (saved(), {"layout": "out-in"}, InvalidInputError, "the layout out-in"),
        (saved(), {"layout": "rows"}, InvalidInputError, "layout='rows'"),
        (saved(), {"gate_nonlinearity": "quantSigm4"}, UnsupportedModelError, "quantSigm4"),
    ],
)
def test_what_is_no_cell_is_refused(tensors, options, kind, words):
    with pytest.raises(kind, match=words):
        edgeml_layer(tensors, **options)


def test_classifiers_of_other_forms_are_refused():
    with pytest.raises(InvalidInputError, match="no output layer"):
        edgeml_classifier(saved())
    state = classifier_state()
    with pytest.raises(InvalidInputError, match="output layer of weight"):
        edgeml_classifier({**state, "hidden2keyword.bias": torch.ones(CLASSES + 1)})
    ranks = {key: value for key, value in state.items() if not (key.startswith("rnn_list.1") and key.endswith(".U"))}
    ranks |= {"rnn_list.1.cell.U1": torch.ones(HIDDEN, 2), "rnn_list.1.cell.U2": torch.ones(2, HIDDEN)}
    with pytest.raises(InvalidInputError, match="the same ranks in all"):
        edgeml_classifier(ranks)


def test_files_that_edgeml_did_not_write_are_refused(tmp_path):
    with pytest.raises(InvalidFileError, match=r"no \.npy file"):
        read_edgeml(tmp_path)
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    with pytest.raises(InvalidFileError, match="names and tensors"):
        read_edgeml(tmp_path / "list.pt")
    (tmp_path / "W.npy").write_bytes(b"nothing")
    with pytest.raises(InvalidFileError, match="not an array"):
        read_edgeml(tmp_path)
    np.save(tmp_path / "W.npy", np.array(["words"]))
    with pytest.raises(InvalidFileError, match="expected numbers"):
        read_edgeml(tmp_path)

"""A float network, and an integer form of it, on the same test samples: what the studies that compare networks count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx

from qdeploy.expanded_float import expanded_float
from qdeploy.exporter import finish
from qdeploy.quantize import Recipe, quantize
from qdeploy.studies.subject import loss_of

if TYPE_CHECKING:
    from qdeploy.studies.subject import Subject

__all__ = ["FloatForm", "IntegerForm", "judge_float", "judge_integer"]


@dataclass(frozen=True)
class FloatForm:
    """The float network.

    Attributes:
        accuracy: the part of answers that are right.
        answers: how many there are: samples, or steps where every step has one.
        bytes: of its ONNX file, quaternion matrices written in full.
        weight_bytes: of these, what the matrices take.
    """

    accuracy: float
    answers: int
    bytes: int
    weight_bytes: int


@dataclass(frozen=True)
class IntegerForm:
    """One integer form of a network.

    Attributes:
        setting: what the study calls it.
        weight_bits: of the recurrent layer; those of the grid where the network was trained on one.
        state_bits: of the hidden state; an LSTM's cell state keeps its own.
        accuracy: the part of answers that are right.
        disagreements: answers that are not the float network's.
        bytes: of ``model.onnx``.
        weight_bytes: of these, what the matrices take; the rest are tables, biases, multipliers and the operators' bodies.
        compared, differing: integers that reference and onnxruntime both computed, and those that differ.
    """

    setting: str
    weight_bits: int
    state_bits: int
    accuracy: float
    disagreements: int
    bytes: int
    weight_bytes: int
    compared: int
    differing: int


def judge_float(subject: Subject) -> FloatForm:
    """Accuracy and size of the float network."""
    loss = loss_of(subject.float_logits(), subject.labels)
    model = expanded_float(subject.captured.model)
    return FloatForm(loss.accuracy, loss.answers, len(model.SerializeToString()), _weight_bytes(model))


def judge_integer(subject: Subject, recipe: Recipe, setting: str, *, storage: str = "compact") -> IntegerForm:
    """The integer form that ``recipe`` gives, its file in ``storage``.

    Raises:
        QdeployError: what ``quantize`` raises, for a network that the recipe does not fit.
    """
    integers = quantize(subject.captured.model, subject.statistics, recipe, storage=storage)
    logits = subject.integer_logits(integers)
    disagreements = int((logits.argmax(axis=-1) != subject.float_logits().argmax(axis=-1)).sum())
    compared, differing = subject.compare_engines(integers)
    layers = [layer for layer in integers.graph.layers if layer.get("weight_bits") is not None]
    return IntegerForm(
        setting=setting,
        weight_bits=max(layers, key=lambda layer: layer.get("parameters") or 0)["weight_bits"],
        state_bits=min((state.type.bits or 0 for state in integers.graph.states), default=0),
        accuracy=loss_of(logits, subject.labels).accuracy,
        disagreements=disagreements,
        bytes=len(finish(integers).SerializeToString()),
        weight_bytes=_weight_bytes(integers.model),
        compared=compared,
        differing=differing,
    )


def _weight_bytes(model: onnx.ModelProto) -> int:
    """Of the matrices, and of what matrices are unpacked from."""
    unpacking = [node for node in model.graph.node if node.op_type in ("UnpackWeights", "SparseWeights")]
    packed = {name for node in unpacking for name in node.input}
    weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) > 1 or tensor.name in packed]
    return sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in weights)

"""Where batch normalization goes: into weights, into the multipliers of the layer before it, or an operator of its own.

``y = scale (W x + b) + shift`` behind a layer of products costs nothing at run time, wherever its factors are kept:

- in the rows of a real weight, or in a quaternion's four components where its four factors are equal;
- otherwise in the layer's multipliers and bias, one for each output: the components stay what they are;
- or, on request, in the rows of the matrix written in full, which takes four times the components.

The 4 x 4 form mixes the components of an output quaternion. It goes into the rows of a real weight; behind quaternion weights it
stays an operator, or makes them real ones.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.capture.computed_weights import computed_weights
from qdeploy.capture.functions import functions_of
from qdeploy.quantize.float_graph import FACTOR_INPUT, NORM_PLACE, attribute
from qdeploy.quantize.grid import recognise_grid
from qdeploy.quantize.lowerings.quaternion_rows import QuaternionRows
from qdeploy.quantize.recipe import Recipe
from qdeploy.runtime.errors import UnsupportedModelError

__all__ = ["PRODUCTS", "place_batch_norm"]

Floats = NDArray[np.float64]

PRODUCTS = ("Linear", "Conv")
"""Layers whose weight has a row for each output."""

_STAGE_BYTES = 48
"""Of one quaternion in the 4 x 4 operator: sixteen entries of two bytes, four constants of four."""


def place_batch_norm(model: onnx.ModelProto, recipe: Recipe) -> onnx.ModelProto:
    """A copy of ``model`` in which affine maps behind layers of products are part of them; ``model`` itself if there are none.

    ``recipe.batch_norm`` decides: ``stage`` leaves weights as they are, ``fold`` puts every map into weights, ``auto`` takes
    what makes the smaller file (a real weight folds, unless it lies on a grid or shares one scale; quaternion components stay).

    Ensures: a map that stands alone, or behind a layer that something else reads too, stays. Outputs keep their names, so that
    what calibration saw of them holds. Where no layer got factors the copy is a float model that runs.

    Raises:
        UnsupportedModelError: ``stage`` with multipliers that are powers of two, which cannot hold a factor.
    """
    if not any(node.op_type in ("ChannelAffine", "QuaternionAffine") for node in model.graph.node):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _Placement(copy, recipe).run()
    return copy


_BODY_BYTES = 2400
"""Of the operator's body, once in a file."""


class _Placement:
    """One copy of a model under change."""

    def __init__(self, model: onnx.ModelProto, recipe: Recipe) -> None:
        self.model = model
        self.recipe = recipe
        self.nodes = list(model.graph.node)
        self.tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self.outputs = {value.name for value in model.graph.output}
        self.uses = Counter(name for node in self.nodes for name in node.input)
        self.producers = {name: node for node in self.nodes for name in node.output}
        # The matrices that nodes make of constants; those whose components are scaled follow them.
        self.matrices: dict[str, NDArray[Any]] = dict(computed_weights(model))
        self.operator_pays = self._operator_pays()

    def run(self) -> None:
        """Places every map that stands behind a layer of products."""
        kept = []
        for node in self.nodes:
            layer = self._layer_of(node)
            if layer is not None and self._place(node, layer):
                layer.output[0] = node.output[0]
                self.producers[node.output[0]] = layer
            else:
                kept.append(node)
        # A matrix that was written in full leaves the nodes behind that made it.
        read = set(self.outputs)
        left = []
        for node in reversed(kept):
            if not read.isdisjoint(node.output):
                left.append(onnx.NodeProto())
                left[-1].CopyFrom(node)
                read.update(node.input)
        del self.model.graph.node[:]
        self.model.graph.node.extend(reversed(left))
        functions = functions_of(list(self.model.graph.node), list(self.model.functions))
        self.model.ClearField("functions")
        self.model.functions.extend(functions)

    def _layer_of(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """The layer of products that ``node``, an affine map, stands behind, where nothing else reads it."""
        if node.op_type not in ("ChannelAffine", "QuaternionAffine"):
            return None
        source = node.input[0]
        layer = self.producers.get(source)
        alone = self.uses[source] == 1 and source not in self.outputs
        return layer if layer is not None and layer.op_type in PRODUCTS and alone else None

    def _first_of_maps(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """The first of the affine maps that stand one behind the other up to ``node``."""
        while True:
            source = self.producers.get(node.input[0])
            if source is None or source.op_type != "ChannelAffine" or self.uses[node.input[0]] != 1:
                return node
            node = source

    def _place(self, node: onnx.NodeProto, layer: onnx.NodeProto) -> bool:
        factors, shift = (self._array(name) for name in node.input[1:3])
        if node.op_type == "QuaternionAffine":
            if not self._matrix_folds(layer):
                return False
            self._fold_matrix(layer, factors, shift.reshape(-1))
            return True
        if FACTOR_INPUT < len(layer.input) or self._stays_in_multiplier(layer, factors):
            self._keep_in_multiplier(layer, factors, shift)
        elif layer.input[1] in self.tensors:
            self._write(layer, self._array(layer.input[1]) * _by_row(factors, self._weight(layer)), "weights")
            self._set_bias(layer, factors * self._bias(layer) + shift)
        elif self._fits_components(layer, factors):
            self._scale_components(layer, factors)
            self._set_bias(layer, factors * self._bias(layer) + shift)
        else:
            self._write(layer, self._weight(layer) * _by_row(factors, self._weight(layer)), "expanded")
            self._set_bias(layer, factors * self._bias(layer) + shift)
        return True

    def _stays_in_multiplier(self, layer: onnx.NodeProto, factors: Floats) -> bool:
        """Whether the factors of ``layer`` shall be its multipliers' instead of its weights'."""
        fits = layer.input[1] in self.tensors or self._fits_components(layer, factors)
        if self.recipe.batch_norm == "fold":
            return False
        if self.recipe.multiplier_bits == 1 and not _powers_of_two(factors):
            if self.recipe.batch_norm == "stage":
                raise UnsupportedModelError(
                    f"node {layer.name} ({layer.op_type}): its batch normalization shall stay out of the weights, but "
                    "multipliers of 1 bit hold no factors; use multipliers of 15 or 31 bits, or batch_norm 'auto' or 'fold'"
                )
            return False
        if self.recipe.batch_norm == "stage" or not fits:
            return True
        # Scaled rows leave a trained grid; with one scale for all, small rows would lose their bits.
        grid = self.recipe.recognise_grid and self._lies_on_grid(layer)
        return grid or self.recipe.weight_granularity == "per_tensor"

    def _lies_on_grid(self, layer: onnx.NodeProto) -> bool:
        source = self.producers.get(layer.input[1])
        if source is not None and source.op_type == "GateRows":
            source = self.producers.get(source.input[0])
        names = [layer.input[1]] if source is None else list(source.input)
        stacked = np.concatenate([self._array(name).reshape(-1) for name in names]).astype(np.float32)
        return recognise_grid(stacked) is not None

    def _fits_components(self, layer: onnx.NodeProto, factors: Floats) -> bool:
        """Whether a quaternion's four outputs have one factor, and nothing else reads the components."""
        rows = self._quaternion_rows(layer)
        if rows is None or 4 * len(self._array(rows.hamilton.input[0])) != len(factors):
            return False
        by_part = rows.by_part(factors)
        return bool((by_part == by_part[0]).all())

    def _quaternion_rows(self, layer: onnx.NodeProto) -> QuaternionRows | None:
        """How the weight of ``layer`` is made of components that nothing else reads, in groups or not."""
        made = self.producers.get(layer.input[1])
        ordering = made if made is not None and made.op_type == "GateRows" else None
        hamilton = made if ordering is None else self.producers.get(ordering.input[0])
        alone = self.uses[layer.input[1]] == 1 and (ordering is None or self.uses[ordering.input[0]] == 1)
        if hamilton is None or hamilton.op_type != "HamiltonMatrix" or not alone:
            return None
        return QuaternionRows(hamilton, ordering)

    def _matrix_folds(self, layer: onnx.NodeProto) -> bool:
        """Whether a 4 x 4 map goes into the weights of ``layer``; it mixes outputs, which groups must not part."""
        if attribute(layer, "group", 1) != 1:
            return False
        if self.recipe.batch_norm != "auto":
            return self.recipe.batch_norm == "fold"
        if layer.input[1] in self.tensors:
            return self.recipe.weight_granularity == "per_channel" and not (
                self.recipe.recognise_grid and self._lies_on_grid(layer)
            )
        return not self.operator_pays

    def _saved_by_operator(self, layer: onnx.NodeProto) -> int:
        """How many bytes less quaternion weights and the 4 x 4 operator have than the weights written in full."""
        weight = self._weight(layer)
        # Components are a quarter of the matrix.
        return 3 * weight.size * self.recipe.weight_bits // 32 - _STAGE_BYTES * len(weight) // 4

    def _operator_pays(self) -> bool:
        """Whether 4 x 4 operators behind all quaternion layers save more than their body takes, if none brings it anyway."""
        maps = [node for node in self.nodes if node.op_type == "QuaternionAffine"]
        layers = [self._layer_of(self._first_of_maps(node)) for node in maps]
        mixable = [layer for layer in layers if layer is not None and attribute(layer, "group", 1) == 1]
        saved = sum(self._saved_by_operator(layer) for layer in mixable if layer.input[1] not in self.tensors)
        return saved > (_BODY_BYTES if len(mixable) == len(maps) else 0)

    def _fold_matrix(self, layer: onnx.NodeProto, matrix: Floats, shift: Floats) -> None:
        weight = self._weight(layer)
        expanded = layer.input[1] not in self.tensors
        if len(layer.input) > FACTOR_INPUT:
            weight = weight * _by_row(self._array(layer.input[FACTOR_INPUT]), weight)
            del layer.input[FACTOR_INPUT:]
        bias = self._bias(layer)
        self._write(layer, _mixed(matrix, weight), "expanded" if expanded else "weights")
        self._set_bias(layer, _mixed(matrix, bias) + shift)

    def _keep_in_multiplier(self, layer: onnx.NodeProto, factors: Floats, shift: Floats) -> None:
        bias = factors * self._bias(layer) + shift
        if len(layer.input) > FACTOR_INPUT:
            factors = factors * self._array(layer.input[FACTOR_INPUT])
            del layer.input[FACTOR_INPUT:]
        self._set_bias(layer, bias)
        layer.input.append(self._new(f"{layer.name}.factor", factors))
        _say(layer, "multiplier")

    def _scale_components(self, layer: onnx.NodeProto, factors: Floats) -> None:
        rows = self._quaternion_rows(layer)
        if rows is None:
            raise AssertionError(f"{layer.name} has no quaternion components")
        self.matrices[layer.input[1]] = self._weight(layer) * _by_row(factors, self._weight(layer))
        once = rows.by_part(factors)[0]
        for place, name in enumerate(rows.hamilton.input):
            component = self._array(name)
            rows.hamilton.input[place] = self._replaced(name, component * _by_row(once, component))
        _say(layer, "components")

    def _weight(self, layer: onnx.NodeProto) -> Floats:
        """The weight ``[N, ...]``, written in full."""
        name = layer.input[1]
        if name in self.tensors:
            return self._array(name)
        return self.matrices[name].astype(np.float64)

    def _write(self, layer: onnx.NodeProto, weight: Floats, place: str) -> None:
        name = layer.input[1]
        if name in self.tensors:
            layer.input[1] = self._replaced(name, weight)
        else:
            self.uses[name] -= 1
            layer.input[1] = self._new(f"{layer.name}.weight", weight)
        _say(layer, place)

    def _bias(self, layer: onnx.NodeProto) -> Floats:
        if len(layer.input) > 2 and layer.input[2]:
            return self._array(layer.input[2])
        return np.zeros(len(self._weight(layer)))

    def _set_bias(self, layer: onnx.NodeProto, bias: Floats) -> None:
        if len(layer.input) > 2 and layer.input[2]:
            layer.input[2] = self._replaced(layer.input[2], bias)
            return
        del layer.input[2:]
        layer.input.append(self._new(f"{layer.name}.bias", bias))
        if layer.op_type == "Linear":
            layer.overload = "bias"

    def _array(self, name: str) -> Floats:
        array: Floats = onnx.numpy_helper.to_array(self.tensors[name]).astype(np.float64)
        return array

    def _replaced(self, name: str, array: Floats) -> str:
        """The tensor ``name`` with other numbers, under that name where nobody else reads it."""
        if self.uses[name] > 1:
            self.uses[name] -= 1
            return self._new(f"{name}.normalized", array)
        self.tensors[name].CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def _new(self, wanted: str, array: Floats) -> str:
        name, number = wanted, 1
        while name in self.tensors or name in self.producers:
            number += 1
            name = f"{wanted}_{number}"
        tensor = self.model.graph.initializer.add()
        tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), name))
        self.tensors[name] = tensor
        self.uses[name] += 1
        return name


def _by_row(factors: Floats, weight: NDArray[Any]) -> Floats:
    """``factors`` ``[N]``, to multiply ``weight`` ``[N, ...]`` with."""
    return factors.reshape(-1, *[1] * (weight.ndim - 1))


def _powers_of_two(factors: Floats) -> bool:
    """Whether every factor is a positive power of two, as multipliers of 1 bit hold."""
    return bool((factors > 0).all() and (np.frexp(factors)[0] == 0.5).all())


def _mixed(matrix: Floats, rows: Floats) -> Floats:
    """The four rows of every output quaternion of ``rows`` ``[4C, ...]``, blocked, times its matrix of ``[C, 4, 4]``."""
    quaternions = rows.reshape(4, len(matrix), -1)
    mixed: Floats = np.einsum("qcd,dqk->cqk", matrix, quaternions).reshape(rows.shape)
    return mixed


def _say(layer: onnx.NodeProto, place: str) -> None:
    """Notes where the normalization of ``layer`` went; of two, the place that costs more."""
    order = ("weights", "components", "multiplier", "expanded")
    for found in layer.attribute:
        if found.name == NORM_PLACE:
            found.s = max(found.s.decode(), place, key=order.index).encode()
            return
    layer.attribute.append(onnx.helper.make_attribute(NORM_PLACE, place))

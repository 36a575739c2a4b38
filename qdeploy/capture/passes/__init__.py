"""Canonicalization: from any float ONNX graph to the float layer form, as a sequence of passes."""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import onnx
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer

from qdeploy.runtime.errors import UnsupportedModelError

from ..functions import FLOAT_DOMAIN, IR_VERSION, OPSET, functions_of
from .access import attribute_int
from .allowed import check_allowed, check_weights
from .batch_norm import level_matrices, make_affines, move_affines
from .channel_folding import fold_channel_orders
from .channel_order import order_channels
from .constant_affines import make_constant_affines
from .constant_splits import fold_constant_splits
from .conv import join_channel_biases, make_conv
from .conv_transpose import convert_transposed_convolutions
from .directions import split_directions
from .elementwise import join_elementwise
from .embedding import check_indices_of_inputs, look_up_before_loops, make_embedding
from .float_nodes import complete_float_nodes, join_input_projections, remove_zero_states
from .gru_operator import convert_gru_operators
from .hamilton import recognise_hamilton_matrices
from .image_pads import resolve_pads
from .layout import simplify_layout
from .linear import make_linear
from .lstm_operator import convert_lstm_operators
from .modrelu import make_modrelu
from .names import name_nodes, name_values
from .no_operations import remove_no_operations
from .own_weights import give_own_weights
from .pool_pads import join_pool_pads
from .pools import simplify_pools
from .quaternion_kernels import recognise_quaternion_kernels
from .quaternion_rows import recognise_quaternion_rows
from .rearrangements import rewrite_rearrangements
from .recurrent_loop import convert_loops
from .recurrent_operator import convert_rnn_operators
from .recurrent_scan import convert_scans
from .sequence_lengths import drop_full_lengths
from .shapes import fix_reshapes
from .softmax import drop_softmax
from .structured_weights import recognise_structured_weights
from .unrolled import roll_loops

__all__ = ["Canonical", "canonicalize"]

# The largest constant that folding may make: 64 million numbers. A small file can ask for more than any memory holds
# (a ConstantOfShape, an outer product); such nodes stay as they are, and are refused or dropped as unused later.
_LARGEST_FOLDED_ELEMENTS = 1 << 26

# Of what keeps a loop unrolled, as many sentences are told.
_REASONS = 3

# onnx's evaluator makes a Range number by number, in Python.
_LARGEST_WALKED_RANGE = 1 << 16

# Their results are no larger than their inputs, also where shapes are not known.
_NOT_GROWING = frozenset(
    {"Cast", "Concat", "Identity", "Neg", "Reshape", "Shape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)


@dataclass(frozen=True)
class Canonical:
    """A model in float layer form, what was removed from it, and the softmaxes that it lost, by output."""

    model: onnx.ModelProto
    notes: tuple[str, ...]
    softmax: dict[str, tuple[str, int]]


def canonicalize(model: onnx.ModelProto, *, unrolled: str = "") -> Canonical:
    """Runs the passes over ``model`` (a copy of it).

    Args:
        model: from torch or a file.
        unrolled: of a model that was traced with a fixed number of steps because its loop depends on them, what to say
            where a loop is not rolled up; empty where none is known of.

    Requires: ``model`` is valid ONNX, of opset 18 or newer, without local functions, recurrent operators of layout 0.
    Ensures: the float layer form with its functions; every weight finite.

    Raises:
        UnsupportedModelError: something is left that is not of the form.
        InvalidFileError: weights that are not finite.
    """
    # A tensor that is renamed in the graph is renamed in the protobuf that it was read from.
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    graph_model = ir.from_proto(copied)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(graph_model)
    graph_model.opset_imports[FLOAT_DOMAIN] = 1
    complete_float_nodes(graph_model)
    name_nodes(graph_model)
    notes = remove_no_operations(graph_model)
    _infer_shapes(graph_model)
    fold_constant_splits(graph_model)
    recognise_hamilton_matrices(graph_model)
    _fold(graph_model)
    check_weights(graph_model)
    remove_no_operations(graph_model)
    make_embedding(graph_model)
    left = roll_loops(graph_model)
    if unrolled and left:
        raise UnsupportedModelError(f"{unrolled}: {'; '.join(dict.fromkeys(left[:_REASONS]))}")
    make_modrelu(graph_model)
    drop_full_lengths(graph_model)
    split_directions(graph_model)
    convert_rnn_operators(graph_model)
    convert_gru_operators(graph_model)
    convert_lstm_operators(graph_model)
    look_up_before_loops(graph_model)
    convert_scans(graph_model)
    convert_loops(graph_model)
    remove_zero_states(graph_model)
    make_affines(graph_model)
    rewrite_rearrangements(graph_model)
    simplify_layout(graph_model)
    fix_reshapes(graph_model)
    functions = join_elementwise(graph_model)
    make_linear(graph_model)
    order_channels(graph_model)
    convert_transposed_convolutions(graph_model)
    make_conv(graph_model)
    resolve_pads(graph_model)
    simplify_pools(graph_model)
    join_pool_pads(graph_model)
    join_channel_biases(graph_model)
    notes += recognise_quaternion_kernels(graph_model)
    fold_channel_orders(graph_model)
    # What made a zero state read the projection's shape; only then is the loop its sole reader.
    common.RemoveUnusedNodesPass()(graph_model)
    join_input_projections(graph_model)
    notes += recognise_structured_weights(graph_model)
    recognise_quaternion_rows(graph_model)
    make_constant_affines(graph_model)
    move_affines(graph_model)
    level_matrices(graph_model)
    softmax = drop_softmax(graph_model)
    common.RemoveUnusedNodesPass()(graph_model)
    name_nodes(graph_model)
    check_indices_of_inputs(graph_model)
    check_allowed(graph_model)
    check_weights(graph_model)
    give_own_weights(graph_model)
    name_values(graph_model)
    common.TopologicalSortPass()(graph_model)
    return Canonical(_finish(graph_model, softmax, functions), tuple(notes + _softmax_notes(softmax)), softmax)


def _infer_shapes(model: ir.Model) -> None:
    """Shapes of all values where onnx can infer them; the passes do without where it cannot."""
    with _quiet("onnx_ir"):
        common.ShapeInferencePass()(model)


def _fold(model: ir.Model) -> None:
    """Computes what depends on constants alone."""
    with _quiet("onnxscript"):
        optimizer.fold_constants(
            model,
            onnx_shape_inference=False,
            input_size_limit=4 * _LARGEST_FOLDED_ELEMENTS,
            output_size_limit=4 * _LARGEST_FOLDED_ELEMENTS,
            should_fold=_may_fold,
        )
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.RemoveUnusedNodesPass()(model)


def _may_fold(node: ir.Node) -> bool | None:
    """False for a result that is or may be too large; ``None`` leaves the decision to the library."""
    largest = _LARGEST_WALKED_RANGE if node.op_type == "Range" else _LARGEST_FOLDED_ELEMENTS
    for value in node.outputs:
        sizes = [] if value.shape is None else [size for size in value.shape if isinstance(size, int)]
        if value.shape is not None and len(sizes) == len(value.shape):
            if math.prod(sizes) > largest:
                return False
        elif node.op_type not in _NOT_GROWING and not _takes_a_part(node):
            return False
    return None


def _takes_a_part(node: ir.Node) -> bool:
    """Whether a Gather of constants takes no more slices than there are."""
    if node.op_type != "Gather" or len(node.inputs) != 2:
        return False
    data, indices = (None if value is None else value.const_value for value in node.inputs)
    if data is None or indices is None:
        return False
    axis = attribute_int(node, "axis", 0)
    return -len(data.shape) <= axis < len(data.shape) and indices.size <= data.numpy().shape[axis]


@contextlib.contextmanager
def _quiet(library: str) -> Iterator[None]:
    """Silences a library's reports: what cannot be folded or inferred is named at the end, where it matters."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            # The reference evaluator of onnx, which does the folding, warns of NumPy's conventions for empty arrays.
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _softmax_notes(softmax: dict[str, tuple[str, int]]) -> list[str]:
    return [
        f"output {name}: the final {kind} was dropped, logits are given instead" for name, (kind, _) in softmax.items()
    ]


def _finish(
    model: ir.Model, softmax: dict[str, tuple[str, int]], functions: list[onnx.FunctionProto]
) -> onnx.ModelProto:
    """The model as a protobuf with the functions that it calls."""
    model.opset_imports.clear()
    model.opset_imports[""] = OPSET
    model.opset_imports[FLOAT_DOMAIN] = 1
    model.ir_version = IR_VERSION
    for node in model.graph:
        node.metadata_props.clear()
    proto = ir.to_proto(model)
    del proto.graph.value_info[:]
    del proto.metadata_props[:]
    del proto.functions[:]
    proto.functions.extend(functions_of(list(proto.graph.node), functions))
    proto.producer_name, proto.producer_version, proto.doc_string = "qdeploy", "", ""
    proto.graph.name, proto.graph.doc_string = "float", ""
    if softmax:
        proto.metadata_props.add(key="dropped_softmax", value=",".join(softmax))
    return proto

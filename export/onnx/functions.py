"""Function bodies from text, and what is common to choosing one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.parser
from numpy.typing import NDArray

from qdeploy.export.onnx.shortened import shorten
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.ops import DOMAIN, OPERATORS

OPSET = 18
"""The lowest opset that has BitwiseAnd on all integers and Scan bodies that runtimes from 1.20 on load."""

IR_VERSION = 8
"""The lowest IR version with model-local functions."""


@dataclass(frozen=True)
class Site:
    """One node that needs a body.

    Attributes:
        node: the node; its ``op_type`` names the body once one is attached.
        attributes: its attributes as plain Python values.
        constants: its inputs that are known at export, by the operator's parameter names.
        dtypes: ONNX element types of its inputs, by parameter names, where known.
    """

    node: onnx.NodeProto
    attributes: Mapping[str, Any]
    constants: Mapping[str, NDArray[Any]]
    dtypes: Mapping[str, int]


Body = Callable[[Site], onnx.FunctionProto]
BODIES: dict[str, Body] = {}


def body(operator: str) -> Callable[[Body], Body]:
    """Registers the function that writes the body of ``operator``."""

    def register(write: Body) -> Body:
        BODIES[operator] = write
        return write

    return register


def function(
    operator: str, arrangement: str, lines: Sequence[str], *, besides: Sequence[str] = ()
) -> onnx.FunctionProto:
    """The model-local function ``operator_arrangement`` whose body is ``lines`` of ONNX text, as short as it can be said.

    ``besides`` are attributes that its nodes have of those that a node may lack.
    """
    signature = OPERATORS[operator]
    names = [name for name in signature.attributes if name not in signature.defaulted or name in besides]
    attributes = f"<{', '.join(names)}> " if names else ""
    text = (
        f'<domain: "{DOMAIN}", opset_import: ["": {OPSET}]>\n'
        f"{operator}_{arrangement} {attributes}({', '.join(signature.inputs)}) => ({', '.join(signature.outputs)}) {{\n"
        + "\n".join(f"  {line}" for line in lines)
        + "\n}"
    )
    written: onnx.FunctionProto = onnx.parser.parse_function(text)
    shorten(written)
    return written


def weight_form(rows: NDArray[Any], largest: int | NDArray[Any] = 255) -> str:
    """``s8`` where the product with activations 0...largest saturates on no processor, else ``u8``.

    x86 without VNNI adds products of consecutive pairs along K in int16, so the positive weights of a pair must sum to
    at most 32767 / largest and the negative ones likewise; ARM kernels overflow on -128.

    Args:
        rows: integers ``[K, N]`` as MatMulInteger sees them.
        largest: the largest activation, or an array ``[K]`` with one for each row.
    """
    weights = rows.astype(np.int64)
    if weights.min(initial=0) < -127 or weights.max(initial=0) > 127:
        return "u8"
    reach = weights * np.broadcast_to(np.asarray(largest), weights.shape[:1])[:, None]
    if len(reach) % 2:
        reach = np.concatenate([reach, np.zeros_like(reach[:1])])
    pairs = reach.reshape(-1, 2, reach.shape[1])
    positive = np.maximum(pairs, 0).sum(axis=1).max(initial=0)
    negative = np.minimum(pairs, 0).sum(axis=1).min(initial=0)
    return "s8" if positive <= 2**15 - 1 and negative >= -(2**15) else "u8"


SEVEN_BITS_FROM = 256
"""From so many units on, products of two rows are faster with int8 weights, by more than it costs to make the rows."""


def rows_of_digits(weights: NDArray[Any], codes: int) -> tuple[str, int]:
    """The weights' form, and how many bits the low row of a wide state has: 8 or 7.

    A state that is read as rows of 7 bits goes with int8 weights whatever they are: 127 * 127 * 2 fits int16. onnxruntime's
    product of two rows of uint8 with uint8 weights takes twice the time.

    Args:
        weights: integers ``[K, N]`` as MatMulInteger sees them, K units of the state.
        codes: the largest code of a state, of which the lowest is 0.
    """
    form = weight_form(weights)
    small = codes >= 2**14 or len(weights) < SEVEN_BITS_FROM
    sevens = form == "u8" and not small and weight_form(weights, 127) == "s8"
    return ("s8", 7) if sevens else (form, 8)


def kind_of(site: Site, parameter: str) -> str:
    """``u8`` or ``s16``, the element type of an activation input."""
    found = site.dtypes.get(parameter, onnx.TensorProto.UNDEFINED)
    kinds = {2: "u8", 5: "s16", 6: "s32"}
    if found not in kinds:
        raise UnsupportedModelError(
            f"node {site.node.name} ({site.node.op_type}): {parameter} has the element type "
            f"{onnx.TensorProto.DataType.Name(found)}, expected UINT8, INT16 or INT32; export the model again."
        )
    return kinds[found]

"""How an operator is declared: its schema, and the ONNX node of the float domain that it becomes.

Operators have a schema and a shape function and no kernel: ``torch.export`` only needs to know what comes out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import onnxscript
import torch

from qdeploy.capture.functions import FLOAT_DOMAIN

__all__ = ["Translation", "define", "float_op", "translates", "translations"]

Translation = Callable[..., Any]

_LIBRARY = torch.library.Library("qdeploy_capture", "FRAGMENT")
_INDICES = [("I", ["tensor(int32)", "tensor(int64)"], "")]
_TRANSLATIONS: dict[str, Translation] = {}


def define(schema: str) -> None:
    """Declares an operator of the namespace ``qdeploy_capture`` by its torch schema."""
    _LIBRARY.define(schema)


def float_op(
    name: str,
    inputs: int,
    outputs: int,
    attributes: tuple[str, ...] = (),
    *,
    integers: tuple[str, ...] = (),
    lists: tuple[str, ...] = (),
    floats: tuple[str, ...] = (),
    indices: tuple[int, ...] = (),
) -> Any:
    """An onnxscript operator that records one node of the float domain, with any of its inputs absent.

    ``attributes`` are texts, ``integers`` and ``floats`` numbers, ``lists`` lists of integers; ``layer``, the node's name,
    is a text that every operator has. ``indices`` are the places of inputs that are whole numbers.
    """
    schema = onnx.defs.OpSchema
    optional = schema.FormalParameterOption.Optional
    operator = schema(
        name,
        FLOAT_DOMAIN,
        1,
        inputs=[
            schema.FormalParameter(f"in{n}", "I" if n in indices else "T", param_option=optional) for n in range(inputs)
        ],
        outputs=[schema.FormalParameter(f"out{n}", "T") for n in range(outputs)],
        type_constraints=[("T", ["tensor(float)"], ""), *_INDICES[: len(indices)]],
        attributes=[
            schema.Attribute(attribute, kind)
            for kind, names in (
                (schema.AttrType.STRING, (*attributes, "layer")),
                (schema.AttrType.INT, integers),
                (schema.AttrType.INTS, lists),
                (schema.AttrType.FLOAT, floats),
            )
            for attribute in names
        ],
    )
    return onnxscript.values.Op(onnxscript.values.Opset(FLOAT_DOMAIN, 1), name, operator)


def translates(name: str) -> Callable[[Translation], Translation]:
    """Registers what writes the ONNX node of the operator ``qdeploy_capture::name``; parameters are the schema's."""

    def register(write: Translation) -> Translation:
        _TRANSLATIONS[name] = write
        return write

    return register


def translations() -> dict[Callable[..., Any], Translation]:
    """The table that tells ``torch.onnx.export`` how to write these operators.

    Absent inputs stay empty in the middle of a node's inputs; the pass ``complete_float_nodes`` removes them.
    """
    return {getattr(torch.ops.qdeploy_capture, name).default: write for name, write in _TRANSLATIONS.items()}

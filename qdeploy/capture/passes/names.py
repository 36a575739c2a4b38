"""Names that people can read: the module's path instead of an exporter's numbering."""

from __future__ import annotations

import re

import onnx_ir as ir

from ..functions import FLOAT_DOMAIN

__all__ = ["name_nodes"]

_ENDINGS = re.compile(r"[./](MatMul|Gemm|Add|RNN|Scan|Relu|Tanh)(_\d+)?$")


def name_nodes(model: ir.Model) -> None:
    """Gives every node a name of its own.

    A float node keeps the path of its layer (``/fc1/MatMul`` is ``fc1``), others take their operator's name. Ensures:
    names are unique, not empty, and hold letters, digits, ``.`` and ``_`` only.
    """
    taken: set[str] = set()
    for node in model.graph:
        name = node.name or ""
        if node.domain == FLOAT_DOMAIN:
            name = _ENDINGS.sub("", name).strip("/").replace("/", ".").removeprefix("node_")
        else:
            name = name.strip("/").replace("/", ".").removeprefix("node_")
        name = re.sub(r"[^A-Za-z0-9_.]", "_", name).strip(".") or node.op_type.lower()
        unique, number = name, 1
        while unique in taken:
            number += 1
            unique = f"{name}_{number}"
        taken.add(unique)
        node.name = unique

"""Texts of a model that come into C: none of them may be more than a name.

Whoever verifies a bundle compiles and runs what is generated from it, and the bundle may come from anybody. Names stand in
comments and, of the version and the golden vectors, in string literals; a name that closes one of these would be code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import onnx

from qdeploy.runtime.errors import InvalidFileError
from qdeploy.runtime.manifest import Manifest

__all__ = ["check_texts"]

_UNSAFE = re.compile(r'\*/|/\*|["\\]|\?\?|[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]')
"""Ends of comments and of literals, escapes, trigraphs, what ends a line or turns its direction."""

_WORD = re.compile(r"[A-Za-z0-9_.+-]*")


def check_texts(model: onnx.ModelProto, manifest: Manifest) -> None:
    """Refuses names of tensors and nodes, texts of attributes and a version that could be anything else in C.

    Raises:
        InvalidFileError: the first such text, and where it stands.
    """
    for what, text, plain in _texts(model, manifest):
        if _UNSAFE.search(text) or (plain and not _WORD.fullmatch(text)):
            raise InvalidFileError(
                f"{what}: found {text[:60]!r}, which cannot stand in C; expected a name without quotes, backslashes and marks of "
                "comments. Rename it in the model and export again."
            )


def _texts(model: onnx.ModelProto, manifest: Manifest) -> Iterator[tuple[str, str, bool]]:
    """Where, the text, and whether it has to be a plain word."""
    yield "manifest.json: qdeploy", manifest.qdeploy, True
    shapes = [(spec.name, spec.shape) for spec in manifest.inputs]
    shapes += [(output.name, output.shape) for output in manifest.outputs]
    shapes += [(name, state.shape) for state in manifest.states for name in (state.input, state.output)]
    for name, shape in shapes:
        yield "manifest.json: a name", name, False
        yield from (("manifest.json: a dimension", d, False) for d in shape if isinstance(d, str))
    for tensor in model.graph.initializer:
        yield "model.onnx: a constant", tensor.name, False
    for value in (*model.graph.input, *model.graph.output):
        yield "model.onnx: a tensor", value.name, False
    for node in model.graph.node:
        yield "model.onnx: a node", node.name, False
        yield "model.onnx: an operator", node.op_type, True
        yield from (("model.onnx: a tensor", name, False) for name in (*node.input, *node.output))
        for attribute in node.attribute:
            yield f"model.onnx: an attribute of {node.op_type}", attribute.name, True
            for value in (attribute.s, *attribute.strings):
                yield f"model.onnx: {attribute.name} of {node.op_type}", value.decode("utf-8", errors="replace"), True

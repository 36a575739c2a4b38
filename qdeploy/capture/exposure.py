"""Intermediate tensors as graph outputs, for calibration."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from qdeploy.runtime.errors import InvalidInputError

__all__ = ["expose"]


def expose(model: onnx.ModelProto, tensor_names: Sequence[str] | None = None) -> onnx.ModelProto:
    """A copy of ``model`` whose outputs also hold intermediate tensors of its top-level graph.

    Args:
        model: a float model in layer form; its tensors are float32.
        tensor_names: results of nodes, in the order wanted; ``None`` for all of them.

    Returns:
        The copy: first the model's own outputs, then those asked for that are not among them.

    Raises:
        InvalidInputError: a name that no node writes.
    """
    written = [name for node in model.graph.node for name in node.output if name]
    asked = written if tensor_names is None else list(tensor_names)
    for name in asked:
        if name not in written:
            raise InvalidInputError(
                f"tensor {name!r}: no node writes it, expected one of {', '.join(written[:20])}"
                f"{', …' if len(written) > 20 else ''}"
            )
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    present = {output.name for output in model.graph.output}
    for name in dict.fromkeys(asked):
        if name not in present:
            # Without a shape: onnxruntime infers it.
            exposed.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return exposed

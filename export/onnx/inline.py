"""``--inline``: the same model without functions, for runtimes that know none."""

from __future__ import annotations

import onnx
import onnx.inliner

INLINED_IR_VERSION = 8
"""The IR version that came with opset 18."""

INLINED_IR_VERSION_OPSET_21 = 10


def inline(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every ``qdeploy`` node replaced by its body; bits, inputs and outputs are the same.

    Requires: every ``qdeploy`` node has a body.
    Ensures: no function and no operator outside the standard domain is left.
    """
    flat: onnx.ModelProto = onnx.inliner.inline_local_functions(model)
    opset = next(entry.version for entry in flat.opset_import if entry.domain in ("", "ai.onnx"))
    del flat.opset_import[:]
    flat.opset_import.append(onnx.helper.make_opsetid("", opset))
    flat.ir_version = INLINED_IR_VERSION if opset < 19 else INLINED_IR_VERSION_OPSET_21
    return flat

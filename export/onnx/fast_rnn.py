"""Body of FastRNN: see ``fast_text.py``."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx.fast_arrangement import arrange
from qdeploy.export.onnx.fast_text import BodyText
from qdeploy.export.onnx.functions import Site, body, function


@body("FastRNN")
def fast_rnn(site: Site) -> onnx.FunctionProto:
    """Chooses the arrangement from the node's constants and writes it."""
    chosen = arrange(site, gated=False)
    return function("FastRNN", chosen.name, BodyText(chosen).lines())

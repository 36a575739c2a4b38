"""Body of FastGRNN: see ``fast_text.py``."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx.fast_arrangement import arrange
from qdeploy.export.onnx.fast_text import BodyText
from qdeploy.export.onnx.functions import Site, body, function


@body("FastGRNN")
def fast_grnn(site: Site) -> onnx.FunctionProto:
    """Chooses the arrangement from the node's constants and writes it."""
    chosen = arrange(site, gated=True)
    return function("FastGRNN", chosen.name, BodyText(chosen).lines())

"""Body of RNN: a Scan with as few operators as possible, everything else hoisted out of it.

In onnxruntime an operator of the loop costs about 0.3 to 0.5 microseconds whatever it does, so the number of operators
is what counts. U x, the bias and all corrections are one product before the loop. Inside, four stages:

1. *product*: W h as one MatMulInteger. ``direct``: an 8-bit state. ``digits``: a wide state as two digits per unit,
   h = 2^q hi + lo, against the weights 2^q W and W side by side, where 2^q W fits 8 bits. ``rows``: a wide state as a
   high and a low byte, two rows of one product, brought together by a 1x2 product. ``hadamard``: a wide state as it is,
   against the factors of a Hadamard matrix (hadamard_product.py).
2. *drive*: plus the hoisted part.
3. *finish*: sigma and the requantization. ``gather``: one look-up in a table of all accumulators (or of all between
   the two saturated ends, after a Clip), whatever sigma and multiplier are: the table is made from them at load.
   ``divide``: ReLU with a power of two. ``multiply``: the 64-bit form, for multipliers per channel and the rest.
4. *encode*: back to what the product reads.

A wide state is held in the loop as h - low, so that it is never negative.
"""

from __future__ import annotations

import onnx

from qdeploy.export.onnx.functions import Site, body, function
from qdeploy.export.onnx.rnn_arrangement import arrange
from qdeploy.export.onnx.rnn_text import BodyText
from qdeploy.export.onnx.rounding import attributes_of


@body("RNN")
def rnn(site: Site) -> onnx.FunctionProto:
    """Chooses the arrangement from the node's constants and writes it."""
    chosen = arrange(site)
    return function("RNN", chosen.name, BodyText(chosen).lines(), besides=attributes_of(site))

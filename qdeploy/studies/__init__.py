"""Studies: what a choice of quantization costs, measured on a trained network and its data; one file a study."""

from __future__ import annotations

__all__ = ["STUDIES"]

STUDIES = {
    "state-bits": "loss and error over time against the bits of the state and the rule for its range",
    "weight-bits": "one configuration trained for each number of bits, beside its float twin",
    "ptq": "weights quantized after training against weights trained on the grid",
}

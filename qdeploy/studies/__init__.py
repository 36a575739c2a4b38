"""Studies: what a choice of quantization costs, measured on a trained network and its data; one file a study."""

from __future__ import annotations

__all__ = ["STUDIES"]

STUDIES = {
    "state-bits": "loss and error over time against the bits of the state and the rule for its range",
    "weight-bits": "one configuration trained for each number of bits, beside its float twin",
    "cells": "every shipped recurrent network: states of 8 bits, weights of 4, and the recommended setting",
    "sizes": "every cell trained on one data set in several sizes: accuracy against bytes, in float and as integers",
    "quaternion": "every shipped quaternion network: recipes default and w7a8 beside its expanded matrices and onnxruntime's",
    "pruning": "a network and its quaternion counterpart pruned step by step: accuracy against weights and bytes left",
    "kinds": "a quaternion network beside its real twins: accuracy against epochs, training speed",
    "ptq": "weights quantized after training against weights trained on the grid",
}

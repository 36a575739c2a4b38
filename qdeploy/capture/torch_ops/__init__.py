"""Torch operators that stand for whole layers during export, one a file, and how each becomes one ONNX node."""

from __future__ import annotations

from .affine import channel_affine, quaternion_affine
from .embedding import embedding
from .fast_rnn import fast_grnn, fast_rnn
from .gate_rows import gate_rows
from .gru import gru
from .hamilton_matrix import hamilton_matrix
from .hypercomplex_matrix import hypercomplex_matrix
from .ligru import ligru
from .linear import linear
from .lstm import lstm
from .modrelu import modrelu
from .registry import translations
from .rnn import rnn

__all__ = [
    "channel_affine",
    "embedding",
    "fast_grnn",
    "fast_rnn",
    "gate_rows",
    "gru",
    "hamilton_matrix",
    "hypercomplex_matrix",
    "ligru",
    "linear",
    "lstm",
    "modrelu",
    "quaternion_affine",
    "rnn",
    "translations",
]

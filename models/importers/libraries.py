"""The libraries whose checkpoints of orthogonal RNNs are read with a side-car, by the name that it gives."""

from __future__ import annotations

from . import exprnn, geotorch, hadamrnn, projunn, torch_orthogonal
from .library import Library

__all__ = ["LIBRARIES"]

LIBRARIES: dict[str, Library] = {
    "exprnn": exprnn.LIBRARY,
    "geotorch": geotorch.LIBRARY,
    "hadamrnn": hadamrnn.LIBRARY,
    "projunn": projunn.LIBRARY,
    "torch-orthogonal": torch_orthogonal.LIBRARY,
}

"""Which standard operators exist, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.runtime.standard.arithmetic import ARITHMETIC
from qdeploy.runtime.standard.cast import CASTS
from qdeploy.runtime.standard.convolution import CONVOLUTIONS
from qdeploy.runtime.standard.layout import LAYOUT
from qdeploy.runtime.standard.matmul import MATMULS
from qdeploy.runtime.standard.pooling import POOLINGS
from qdeploy.runtime.standard.reduction import REDUCTIONS
from qdeploy.runtime.standard.scan import SCANS

if TYPE_CHECKING:
    from qdeploy.runtime.standard.node import Build

__all__ = ["OPERATORS"]

OPERATORS: dict[str, Build] = dict(
    sorted({**ARITHMETIC, **CASTS, **CONVOLUTIONS, **LAYOUT, **MATMULS, **POOLINGS, **REDUCTIONS, **SCANS}.items())
)

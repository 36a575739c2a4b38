"""Emitters: how each operator is written for LiteRT, by the operator's name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from qdeploy.runtime.errors import UnsupportedModelError

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site

__all__ = ["Emitter", "emitter", "emitters", "tflite_operator"]

Emitter: TypeAlias = "Callable[[Site], None]"
"""Writes a layer's operators into the subgraph at hand."""

_EMITTERS: dict[str, Emitter] = {}


def tflite_operator(*names: str) -> Callable[[Emitter], Emitter]:
    """Registers a function as the emitter of these operators, of the domain ``qdeploy`` or standard ones that move data."""

    def register(function: Emitter) -> Emitter:
        for name in names:
            _EMITTERS[name] = function
        return function

    return register


@cache
def emitters() -> dict[str, Emitter]:
    """Every emitter by operator; importing this package's files registers them."""
    package = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{__package__}.{module.name}")
    return _EMITTERS


def emitter(operator: str, node: str) -> Emitter:
    """The emitter of an operator.

    Raises:
        UnsupportedModelError: there is none.
    """
    found = emitters().get(operator)
    if found is None:
        raise UnsupportedModelError(
            f"node {node}: the operator {operator} has no form for LiteRT; expected one of {', '.join(sorted(emitters()))}. "
            "Export without the format tflite."
        )
    return found

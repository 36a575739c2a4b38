"""The emitters of C: how each operator is written, by the operator's name. Every file of this package may register some."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.emitters import Emitters

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site

__all__ = ["c_operator", "emitter", "emitters"]

_EMITTERS: Emitters[Site] = Emitters(__package__, "in C", "c")

c_operator = _EMITTERS.register
emitters = _EMITTERS.all
emitter = _EMITTERS.of

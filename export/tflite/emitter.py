"""The emitters of LiteRT: how each operator is written, by the operator's name. Every file of this package may register some."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.emitters import Emitters

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site

__all__ = ["emitter", "emitters", "tflite_operator"]

_EMITTERS: Emitters[Site] = Emitters(__package__, "for LiteRT", "tflite")

tflite_operator = _EMITTERS.register
emitters = _EMITTERS.all
emitter = _EMITTERS.of

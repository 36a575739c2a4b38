"""Every state of a recurrent layer, kept while its loop runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qdeploy.export.tflite.arithmetic import Code

if TYPE_CHECKING:
    from qdeploy.export.tflite.loop import Variables
    from qdeploy.export.tflite.site import Site
    from qdeploy.export.tflite.writer import Value

__all__ = ["Recorder"]

_NAME = "every"


@dataclass(frozen=True)
class Recorder:
    """Writes each step's state into one tensor ``[T, H]``, where somebody reads it.

    Attributes:
        start: the loop's variables for it: none, or a tensor of zeros.
        single: whether the loop is one step, whose state is all there is.
    """

    start: Variables
    wanted: bool

    @classmethod
    def of(cls, site: Site, code: Code, drive: Value) -> Recorder:
        """For a layer whose loop runs along ``drive`` ``[T, N]``, N not below the state's size."""
        wanted = site.has("y")
        hidden = site.tensor("y").shape[-1] if wanted else 0
        if not wanted:
            return cls({}, wanted=False)
        first = code.slice(drive, [0, 0], [-1, hidden]) if drive.shape[1] != hidden else drive
        return cls({_NAME: code.multiply(first, 0)}, wanted=True)

    def record(self, code: Code, now: Variables, number: Value, h: Value) -> Variables:
        """The variables with the state ``[1, H]`` of step ``number`` in its place."""
        if not self.wanted:
            return {}
        place = code.concatenate([number, code.subgraph.constant([0])], 0)
        return {_NAME: code.update(now[_NAME], h, place)}

    def finish(self, site: Site, last: Variables) -> None:
        """Gives the tensor of all states to the layer's output y."""
        if self.wanted:
            site.set("y", last[_NAME])

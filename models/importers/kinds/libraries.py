"""The libraries whose feed-forward networks an architecture file may describe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from . import gaudet, htorch, hypernets, orkis, qytorch, real, recurrent, speechbrain
from .kind import Kind

__all__ = ["QUATERNION_LIBRARIES", "QuaternionLibrary"]


@dataclass(frozen=True)
class QuaternionLibrary:
    """A library's kinds of layers, those of torch among them.

    Attributes:
        kinds: by name.
        formats: where samples have their channels, of ``channels_first`` [C, *S] and ``channels_last`` [*S, C].
        explicit: whether the file has to say which; else the first one is the default.
    """

    kinds: Mapping[str, Kind]
    formats: tuple[str, ...] = ("channels_first",)
    explicit: bool = False


QUATERNION_LIBRARIES: Mapping[str, QuaternionLibrary] = {
    "orkis": QuaternionLibrary(
        {**real.KINDS, **orkis.KINDS, **recurrent.ORKIS}, formats=("channels_first", "channels_last")
    ),
    "speechbrain": QuaternionLibrary(
        {**real.KINDS, **speechbrain.KINDS, **recurrent.SPEECHBRAIN}, formats=("channels_last",)
    ),
    "htorch": QuaternionLibrary({**real.KINDS, **htorch.KINDS}),
    "qytorch": QuaternionLibrary({**real.KINDS, **qytorch.KINDS}),
    "gaudet": QuaternionLibrary(gaudet.KINDS, formats=("channels_first", "channels_last"), explicit=True),
    "hypernets": QuaternionLibrary({**real.KINDS, **hypernets.KINDS}),
}
"""By the name that an architecture file gives."""

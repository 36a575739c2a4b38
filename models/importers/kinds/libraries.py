"""The libraries whose feed-forward networks an architecture file may describe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from . import gaudet, htorch, hypernets, orkis, qytorch, real, speechbrain
from .kind import Kind

__all__ = ["QUATERNION_LIBRARIES", "QuaternionLibrary"]


@dataclass(frozen=True)
class QuaternionLibrary:
    """A library's kinds of layers, those of torch among them.

    Attributes:
        kinds: by name.
        channels_last: whether samples are [*S, C]; ``None`` where the file says it.
    """

    kinds: Mapping[str, Kind]
    channels_last: bool | None = False


QUATERNION_LIBRARIES: Mapping[str, QuaternionLibrary] = {
    "orkis": QuaternionLibrary({**real.KINDS, **orkis.KINDS}),
    "speechbrain": QuaternionLibrary({**real.KINDS, **speechbrain.KINDS}, channels_last=True),
    "htorch": QuaternionLibrary({**real.KINDS, **htorch.KINDS}),
    "qytorch": QuaternionLibrary({**real.KINDS, **qytorch.KINDS}),
    "gaudet": QuaternionLibrary(gaudet.KINDS, channels_last=None),
    "hypernets": QuaternionLibrary({**real.KINDS, **hypernets.KINDS}),
}
"""By the name that an architecture file gives."""

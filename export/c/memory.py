"""Where tensors live: parameters of the caller, states that stay, and slots that layers share one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["SLACK", "Place", "Slot", "SlotRequest", "assign_slots", "c_type", "field_of"]

SLACK = 32
"""Entries behind a tensor that kernels may read: a block of columns is at most 32 wide, and meets zero weights there."""

_TYPES = {
    "uint8": "uint8_t",
    "uint16": "uint16_t",
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
}
_FIELDS = {"uint8": "u8", "int8": "s8", "int16": "s16", "int32": "s32", "int64": "s64"}


def c_type(dtype: np.dtype[Any] | type[np.integer[Any]]) -> str:
    """``uint8_t`` and so on."""
    return _TYPES[np.dtype(dtype).name]


def field_of(dtype: np.dtype[Any]) -> str:
    """The member of a slot's union that has this type."""
    return _FIELDS[dtype.name]


@dataclass(frozen=True)
class Place:
    """A tensor's memory.

    Attributes:
        expression: C, in the functions that call layers: ``x``, ``state->slot0.s32``, ``state->recurrent_state``.
        slack: whether SLACK entries behind it may be read.
    """

    expression: str
    slack: bool


@dataclass
class SlotRequest:
    """Memory that is wanted from layer ``first`` to layer ``last``, both inclusive."""

    key: str
    dtype: np.dtype[Any]
    entries: int
    first: int
    last: int

    @property
    def bytes(self) -> int:
        """With the slack."""
        return (self.entries + SLACK) * self.dtype.itemsize


@dataclass
class Slot:
    """Memory of the arena that serves one tensor at a time.

    Attributes:
        entries: by type, the most entries that a tensor in it has, slack counted.
        held: who uses it: keys, first and last layer.
    """

    name: str
    entries: dict[str, int] = field(default_factory=dict)
    held: list[SlotRequest] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """As large as its largest tensor."""
        return max(count * np.dtype(kind).itemsize for kind, count in self.entries.items())


def assign_slots(requests: list[SlotRequest]) -> tuple[list[Slot], Mapping[str, Slot]]:
    """A slot for every request, so that no two share one at a time; the largest first, each where it costs least.

    Returns:
        the slots, and by key which one.
    """
    slots: list[Slot] = []
    chosen: dict[str, Slot] = {}
    for request in sorted(requests, key=lambda r: (-r.bytes, r.first, r.key)):
        free = [slot for slot in slots if all(request.last < o.first or o.last < request.first for o in slot.held)]
        # Requests come in falling size: any free slot is large enough. The smallest one leaves large ones to others.
        slot = min(free, key=lambda s: s.bytes) if free else Slot("")
        if not free:
            slots.append(slot)
        slot.held.append(request)
        kind = request.dtype.name
        slot.entries[kind] = max(slot.entries.get(kind, 0), request.entries + SLACK)
        chosen[request.key] = slot
    for place, slot in enumerate(slots):
        slot.name = f"slot{place}"
    return slots, chosen

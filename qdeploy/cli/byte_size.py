"""Sizes of memories as people write them."""

from __future__ import annotations

import re
from typing import Any

import click

__all__ = ["BYTE_SIZE"]

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class _ByteSize(click.ParamType):  # type: ignore[type-arg] - not generic before click 8.5
    """``65536``, ``256K``, ``1M``: K is 1024, as on data sheets of microcontrollers."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The size in bytes."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,9})\s?([KMG]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
        if match is None or int(match[1]) == 0:
            self.fail(f"found {value!r}, expected bytes as in 65536, 256K or 1M", param, ctx)
        return int(match[1]) * _UNITS[match[2].upper()]


BYTE_SIZE = _ByteSize()

"""Sizes of memories as people write them."""

from __future__ import annotations

import re

import click

__all__ = ["byte_size"]

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def byte_size(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """A callback for options: ``65536``, ``256K`` and ``1M`` as bytes; K is 1024, as on data sheets of microcontrollers.

    Raises:
        click.BadParameter: anything else, and none.
    """
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,9}) ?([KMG]?)(?:i?B)?", value.strip(), re.IGNORECASE)
    if match is None or int(match[1]) == 0:
        raise click.BadParameter(f"found {value!r}, expected bytes as in 65536, 256K or 1M", context, parameter)
    return int(match[1]) * _UNITS[match[2].upper()]

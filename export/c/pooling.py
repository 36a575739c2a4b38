"""What pools have in common: sums of channels that become outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdeploy.export.c.site import Operand, Site

__all__ = ["requantize_sums"]


def requantize_sums(site: Site, target: str, y: Operand, sums: str, multiplier: str, channels: int) -> None:
    """The statement that makes the outputs of one place: one multiplier for all channels."""
    attributes = site.attributes
    kernel = site.kernel("requantize_u8" if y.tensor.dtype.name == "uint8" else "requantize_s16")
    site.line(
        f"{kernel}({target}, {sums}, {multiplier}, {channels}, 0, {attributes['shift']}, {attributes['y_zero_point']}, "
        f"{attributes['low']}, {attributes['high']});"
    )

"""Reductions of integers, and running sums: sums and products wrap in their own type."""

from __future__ import annotations

from typing import Any

import numpy as np

from qdeploy.runtime.standard.node import Array, Build, Kernel, Node, as_integers, require_kind

__all__ = ["REDUCTIONS"]


def _reduction(function: Any) -> Build:
    def build(node: Node) -> Kernel:
        keep = bool(node.attributes.get("keepdims", 1))
        attribute = node.attributes.get("axes")
        noop = bool(node.attributes.get("noop_with_empty_axes", 0))

        def kernel(x: Array, axes: Array | None = None) -> Array:
            require_kind(x, "iu")
            chosen = as_integers(axes) if axes is not None and axes.size else attribute
            if not chosen and noop:
                return x
            result: Array = function(x, tuple(chosen) if chosen else None, keep)
            return result

        return kernel

    return build


def _build_cumulative_sum(node: Node) -> Kernel:
    """``y[i] = x[0] + ... + x[i]`` along the axis that the second input names."""
    if node.attributes.get("exclusive", 0) or node.attributes.get("reverse", 0):
        msg = "found exclusive or reverse, expected neither"
        raise ValueError(msg)

    def kernel(x: Array, axis: Array) -> Array:
        require_kind(x, "iu")
        return np.cumsum(x, axis=as_integers(axis.reshape(-1))[0], dtype=x.dtype)

    return kernel


REDUCTIONS: dict[str, Build] = {
    "CumSum": _build_cumulative_sum,
    "ReduceMax": _reduction(lambda x, axes, keep: np.max(x, axis=axes, keepdims=keep)),
    "ReduceMin": _reduction(lambda x, axes, keep: np.min(x, axis=axes, keepdims=keep)),
    "ReduceProd": _reduction(lambda x, axes, keep: np.prod(x, axis=axes, keepdims=keep, dtype=x.dtype)),
    "ReduceSum": _reduction(lambda x, axes, keep: np.sum(x, axis=axes, keepdims=keep, dtype=x.dtype)),
}

"""Convolutions that hand their rows to a pool: a pass over the graph, before C is written.

Where nothing but a maximum pool reads a convolution, and no row belongs to two of its windows, the image between them need not
stand in memory: each row of the convolution is taken into the pool's result as soon as it is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from qdeploy.export.sample_graph import Graph, Layer, Tensor

__all__ = ["POOL", "pooled_rows"]

POOL = "pool"
"""The attribute of a Conv that holds the pool's attributes, and as ``between`` the shape of what it reads."""


def pooled_rows(graph: Graph) -> Graph:
    """The same graph; a pool that can be part of a convolution is."""
    readers: dict[str, list[Layer]] = {}
    for layer in graph.layers:
        for name in layer.inputs.values():
            readers.setdefault(graph.root(name), []).append(layer)
    kept = {graph.root(name) for name in (*graph.outputs, *(spec.output for spec in graph.states))}
    layers: list[Layer] = []
    gone: set[str] = set()
    for layer in graph.layers:
        if layer.name in gone:
            continue
        y = layer.outputs.get("y", "")
        pool = readers.get(y, [])
        if (
            layer.operator in {"Conv", "QLinearConv"}
            and y not in kept
            and len(pool) == 1
            and pool[0].operator == "MaxPool"
            and _each_row_once(pool[0].attributes, graph.tensors[y])
        ):
            gone.add(pool[0].name)
            attributes = {**layer.attributes, POOL: {**pool[0].attributes, "between": graph.tensors[y].shape}}
            layers.append(replace(layer, outputs=pool[0].outputs, attributes=attributes))
        else:
            layers.append(layer)
    return replace(graph, layers=tuple(layers))


def _each_row_once(attributes: Mapping[str, list[int]], image: Tensor) -> bool:
    """Whether windows overlap along the last axis at most, with nothing around the image."""
    rows = len(image.shape) - 3
    return (
        not any(attributes["pads"])
        and set(attributes["dilations"]) == {1}
        and all(k <= s for k, s in zip(attributes["kernel"][:rows], attributes["strides"][:rows], strict=True))
    )

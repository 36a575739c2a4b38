"""Bodies as a file holds them: nothing computed twice, and names of a letter or two. What they compute stays to the bit.

Small networks are mostly bodies: that of a convolution has 70 nodes and 180 names. Names that a body shares with its caller,
its inputs and outputs, keep their words.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator, Sequence

import onnx

__all__ = ["shorten"]


def shorten(function: onnx.FunctionProto) -> None:
    """Merge nodes that compute the same and rename what lies between inputs and outputs, in place.

    Requires: nodes in topological order, each output written once; operators without side effects or chance.
    Ensures: the same inputs, outputs, attributes and results.
    """
    kept = _merged(function.node, {}, {}, set(function.output))
    del function.node[:]
    function.node.extend(kept)
    outside = {*function.input, *function.output}
    _rename(function.node, {}, (name for name in _letters() if name not in outside), set(function.output))


def _merged(
    nodes: Sequence[onnx.NodeProto], same: dict[str, str], seen: dict[bytes, Sequence[str]], results: set[str]
) -> list[onnx.NodeProto]:
    """Those that are left.

    Args:
        same: names of values that are dropped, and of the equal ones that stay; grows.
        seen: outputs by what computes them, of this graph and those around it; grows.
        results: outputs of the graph, which stay.
    """
    kept = []
    for node in nodes:
        for field in ("domain", "name", "doc_string"):
            # Without a value they take two bytes each.
            if not getattr(node, field):
                node.ClearField(field)
        node.input[:] = [same.get(name, name) for name in node.input]
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                inner = _merged(attribute.g.node, dict(same), dict(seen), {value.name for value in attribute.g.output})
                del attribute.g.node[:]
                attribute.g.node.extend(inner)
        computes = onnx.NodeProto()
        computes.CopyFrom(node)
        del computes.output[:]
        key = computes.SerializeToString(deterministic=True)
        if key in seen and not results & set(node.output):
            same.update(zip(node.output, seen[key], strict=True))
            continue
        seen.setdefault(key, tuple(node.output))
        kept.append(node)
    return kept


def _rename(nodes: Sequence[onnx.NodeProto], names: dict[str, str], free: Iterator[str], results: set[str]) -> None:
    """New names for all outputs but ``results``, and for what subgraphs define."""
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                graph, inner = attribute.g, dict(names)
                for value in graph.input:
                    inner[value.name] = next(free)
                    value.name = inner[value.name]
                _rename(graph.node, inner, free, set())
                for value in graph.output:
                    value.name = inner[value.name]
        for place, name in enumerate(node.output):
            if name and name not in results:
                names[name] = next(free)
                node.output[place] = names[name]


def _letters() -> Iterator[str]:
    """a to z, aa, ab, and so on."""
    for length in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_lowercase, repeat=length))

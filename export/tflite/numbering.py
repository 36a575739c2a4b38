"""Numbers of tensors, chosen so that operators of several subgraphs are the same bytes.

The signature of one step has what stands before the loop, in it and behind it once more. Where a tensor has the same number
in both subgraphs, so have the operators that read and write it, and the file holds them once. Tensors correspond if they are
computed alike: from constants of one buffer, inputs of one name, and tensors that correspond, by the same operator. What a
loop's variable is inside follows from what it is outside, and a state that was given on as digits is what they were made of.
Where a step computes what the loop looks up, emitters say so (``Subgraph.roles``).

Operators whose results nobody reads are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdeploy.export.tflite.writer import Operator, Subgraph

__all__ = ["ABSENT", "Numbered", "numbered"]

ABSENT = -1
"""Stands for an input that an operator lacks, in files too."""


@dataclass(frozen=True)
class Numbered:
    """A subgraph with its final numbers.

    Attributes:
        operators: those that are needed.
        tensors: by number, the subgraph's own index of the tensor; None where the number is another subgraph's alone.
        numbers: by the subgraph's own index.
    """

    operators: list[Operator]
    tensors: list[int | None]
    numbers: dict[int, int]

    def all(self, indices: Sequence[int]) -> list[int]:
        """The numbers of tensors."""
        return [index if index == ABSENT else self.numbers[index] for index in indices]


def numbered(subgraphs: Sequence[Subgraph]) -> list[Numbered]:
    """Numbers for all tensors of a model that are in use."""
    operators = [_needed(graph) for graph in subgraphs]
    origins = _Origins(subgraphs, operators)
    by_graph = [origins.of(index) for index in range(len(subgraphs))]
    sizes: dict[int, list[int]] = {}
    for found in by_graph:
        for origin in found.values():
            sizes.setdefault(origin, []).append(len(found))
    shared = [origin for origin, graphs in sizes.items() if len(graphs) > 1]
    # First what most subgraphs have, and small ones: so the fewest numbers stay empty.
    shared.sort(key=lambda origin: (-len(sizes[origin]), min(sizes[origin])))
    common = {origin: number for number, origin in enumerate(shared)}
    return [_numbered(kept, found, common) for kept, found in zip(operators, by_graph, strict=True)]


def _numbered(operators: list[Operator], origins: dict[int, int], common: dict[int, int]) -> Numbered:
    numbers = {tensor: common[origin] for tensor, origin in origins.items() if origin in common}
    last = max(numbers.values(), default=-1)
    taken = set(numbers.values())
    free = (number for number in range(last + len(origins) + 1) if number not in taken)
    numbers |= {tensor: next(free) for tensor in origins if tensor not in numbers}
    tensors: list[int | None] = [None] * (max(numbers.values(), default=-1) + 1)
    for tensor, number in numbers.items():
        tensors[number] = tensor
    return Numbered(operators, tensors, numbers)


def _needed(graph: Subgraph) -> list[Operator]:
    """The operators that the outputs depend on."""
    read = set(graph.outputs)
    kept = []
    for operator in reversed(graph.operators):
        if read.intersection(operator.outputs):
            kept.append(operator)
            read.update(operator.inputs)
    return kept[::-1]


class _Origins:
    """Of every tensor in use a number that corresponding tensors of other subgraphs have too, and no other of its own."""

    def __init__(self, subgraphs: Sequence[Subgraph], operators: Sequence[list[Operator]]) -> None:
        self._subgraphs = subgraphs
        self._operators = operators
        self._conditions = {operator.options.get("cond") for kept in operators for operator in kept}
        self._known: dict[Any, int] = {}
        self._found: dict[int, dict[int, int]] = {}
        self._wholes: dict[tuple[int, ...], int] = {}

    def of(self, index: int, inputs: Sequence[int] | None = None) -> dict[int, int]:
        """Of a subgraph's tensors, by their indices.

        Args:
            index: of the subgraph.
            inputs: what its inputs correspond to, where a loop gives them.
        """
        if index in self._found:
            return self._found[index]
        graph, found = self._subgraphs[index], self._found.setdefault(index, {})
        taken: set[int] = set()

        def set_origin(tensor: int, *key: Any, origin: int | None = None) -> None:
            origin = self._number(key) if origin is None else origin
            while origin in taken:
                origin = self._number(("again", origin))
            taken.add(origin)
            found[tensor] = origin

        for place, tensor in enumerate(graph.inputs):
            given = None if inputs is None else inputs[place]
            # A condition is two or three operators: numbers of its own are smaller.
            apart = graph.name if index in self._conditions else None
            set_origin(tensor, "input", apart, graph.tensors[tensor].name, origin=given)
        for operator in self._operators[index]:
            for tensor in operator.inputs:
                if tensor != ABSENT and tensor not in found:
                    constant = graph.tensors[tensor]
                    values = (constant.buffer, constant.dtype.name, constant.name)
                    set_origin(tensor, "constant", *values)
            read = tuple(ABSENT if tensor == ABSENT else found[tensor] for tensor in operator.inputs)
            results = self._of_loop(operator, read)
            options = tuple(sorted(operator.options.items()))
            for place, tensor in enumerate(operator.intermediates):
                set_origin(tensor, operator.kind, "inside", read, place)
            for place, tensor in enumerate(operator.outputs):
                origin = results[place] if results else self._of_digits(graph, tensor, found)
                key: tuple[Any, ...] = (operator.kind, options, read, place)
                if tensor in graph.roles:
                    role, source = graph.roles[tensor]
                    key = ("role", role, found[source.index])
                set_origin(tensor, *key, origin=origin)
        for digits, whole in graph.joined.items():
            if whole.index in found and all(digit in found for digit in digits):
                self._wholes.setdefault(tuple(found[digit] for digit in digits), found[whole.index])
        return found

    def _of_loop(self, loop: Operator, read: tuple[int, ...]) -> list[int]:
        """Of a loop's results: what its body gives. None of another operator's."""
        if "body" not in loop.options:
            return []
        number = loop.options["body"]
        inside = self.of(number, read)
        return [inside[tensor] for tensor in self._subgraphs[number].outputs]

    def _of_digits(self, graph: Subgraph, tensor: int, found: Mapping[int, int]) -> int | None:
        """Of a tensor that is joined of a loop's digits: what the loop made them of."""
        digits = graph.digits.get(tensor, [])
        return self._wholes.get(tuple(found[digit.index] for digit in digits))

    def _number(self, key: Any) -> int:
        return self._known.setdefault(key, len(self._known))

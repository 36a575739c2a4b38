"""What every cell's template reads and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..algebra import NO_SOURCE, Algebra, Key, Matrix, Polynomial

__all__ = ["Affine", "Cell", "Mixture", "Step", "register", "registered", "stacked"]


@dataclass(frozen=True)
class Cell:
    """A step that one operator of the float domain computes.

    Attributes:
        operator: its name.
        attributes: of the node.
        inputs: numbers of the sources whose values side by side are the operator's ``x``.
        parameters: names and values of its inputs after ``x`` and before the initial states, in their order.
        states: places of the step's states in the order of the operator's initial states; the first is the one that is
            given for every step.
        overload: from whether there are initial states.
    """

    operator: str
    attributes: Mapping[str, int | float | str | list[int]]
    inputs: tuple[int, ...]
    parameters: tuple[tuple[str, NDArray[np.float32]], ...]
    states: tuple[int, ...]
    overload: Callable[[bool], str]


@dataclass(frozen=True)
class Affine:
    """``recurrent h + sum of inputs[source] source + bias``.

    Attributes:
        recurrent: [rows, width of the state].
        inputs: matrices by the number of their source.
        bias: [rows].
    """

    recurrent: Matrix
    inputs: Mapping[int, Matrix]
    bias: Matrix

    def scaled(self, factor: float) -> Affine:
        """Every coefficient times ``factor``."""
        inputs = {source: factor * matrix for source, matrix in self.inputs.items()}
        return Affine(factor * self.recurrent, inputs, factor * self.bias)


@dataclass(frozen=True)
class Mixture:
    """``h' = z * h + (1 - z) * candidate``, the gate ``z`` a sigmoid.

    Attributes:
        gate: the argument of ``z``.
        candidate: the number of its atom.
    """

    gate: Affine
    candidate: int


@dataclass(frozen=True)
class Step:
    """The new states of one step, those of one layer.

    Attributes:
        algebra: of the step.
        sources: the numbers of the old states.
        following: the new states in the same order.
    """

    algebra: Algebra
    sources: tuple[int, ...]
    following: tuple[Polynomial, ...]

    @property
    def width(self) -> int:
        """The number of features of the first state."""
        return self.following[0].width

    def affine(self, value: Polynomial, state: int) -> Affine | None:
        """``value`` where it is affine in the old state number ``state`` and what depends on no state."""
        recurrent = np.zeros((value.width, self.algebra.sources[state].width))
        inputs: dict[int, Matrix] = {}
        bias = np.zeros(value.width)
        apart: dict[Key, Matrix] = {}
        for key, coefficient in value.terms.items():
            atoms, source = key
            if not atoms and source == NO_SOURCE:
                bias = coefficient
            elif not atoms and source == state:
                recurrent = coefficient
            elif self.algebra.depends_on(Polynomial(value.width, {key: coefficient})) & set(self.sources):
                return None
            elif atoms:
                apart[key] = coefficient
            else:
                inputs[source] = coefficient
        if apart:
            derived = self.algebra.transform(np.eye(value.width), Polynomial(value.width, apart))
            for (_, source), coefficient in derived.terms.items():
                inputs[source] = inputs[source] + coefficient if source in inputs else coefficient
        return Affine(recurrent, inputs, bias)

    def atom(self, number: int, *functions: str) -> Polynomial | None:
        """The argument of an atom that is one of ``functions``."""
        atom = self.algebra.atoms[number]
        return atom.argument if atom.function in functions else None

    def mixture(self, value: Polynomial, state: int) -> Mixture | None:
        """``value`` as a gated mixture of the old state and a candidate, however it is written."""
        for (atoms, source), coefficient in value.terms.items():
            if source != state or len(atoms) != 1 or not _is_identity(np.abs(coefficient)):
                continue
            (gate,) = atoms
            argument = self.atom(gate, "Sigmoid")
            affine = None if argument is None else self.affine(argument, state)
            if affine is None:
                continue
            # z h + n - z n, or with the gate's complement h - z h + z n.
            kept = coefficient[0, 0] > 0
            candidates = {atom for others, at in value.terms if at == NO_SOURCE for atom in others if atom != gate}
            for candidate in candidates:
                both = tuple(sorted((gate, candidate)))
                expected: dict[Key, float] = {((gate,), state): 1.0 if kept else -1.0}
                expected[both, NO_SOURCE] = -1.0 if kept else 1.0
                expected[((candidate,), NO_SOURCE) if kept else ((), state)] = 1.0
                if self.has_terms(value, expected):
                    # 1 - sigmoid(a) = sigmoid(-a)
                    return Mixture(affine if kept else affine.scaled(-1.0), candidate)
        return None

    def has_terms(self, value: Polynomial, expected: Mapping[Key, float]) -> bool:
        """Whether ``value`` has these terms and no other, each times one number (a matrix: times the identity)."""
        if value.terms.keys() != expected.keys():
            return False
        for key, factor in expected.items():
            coefficient = value.terms[key]
            if coefficient.ndim == 1 and not np.allclose(coefficient, factor, rtol=0.0, atol=1e-6):
                return False
            if coefficient.ndim == 2 and not _is_identity(coefficient / factor):
                return False
        return True


def _is_identity(matrix: Matrix) -> bool:
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
    return square and bool(np.allclose(matrix, np.eye(matrix.shape[0]), rtol=0.0, atol=1e-6))


@dataclass(frozen=True)
class Stacked:
    """Gates below each other, as operators hold them: float32, the columns of ``input_weight`` in the order of ``inputs``."""

    inputs: tuple[int, ...]
    input_weight: NDArray[np.float32]
    recurrent_weight: NDArray[np.float32]
    bias: NDArray[np.float32]


def stacked(algebra: Algebra, gates: Sequence[Affine]) -> Stacked | None:
    """The weights of ``gates``, one below the other; ``None`` where no gate reads an input."""
    sources = tuple(sorted({source for gate in gates for source in gate.inputs}))
    if not sources:
        return None
    rows = []
    for gate in gates:
        none = [np.zeros((gate.bias.size, algebra.sources[source].width)) for source in sources]
        rows.append(np.hstack([gate.inputs.get(source, zero) for source, zero in zip(sources, none, strict=True)]))
    return Stacked(
        sources,
        np.vstack(rows).astype(np.float32),
        np.vstack([gate.recurrent for gate in gates]).astype(np.float32),
        np.concatenate([gate.bias for gate in gates]).astype(np.float32),
    )


Template = Callable[[Step], Cell | None]


@dataclass
class _Registry:
    templates: dict[str, Template] = field(default_factory=dict)


_REGISTRY = _Registry()


def register(words: str) -> Callable[[Template], Template]:
    """Registers what recognises a cell; ``words`` say what it computes, for messages."""

    def add(template: Template) -> Template:
        _REGISTRY.templates[words] = template
        return template

    return add


def registered() -> Mapping[str, Template]:
    """Every template by its words."""
    return _REGISTRY.templates

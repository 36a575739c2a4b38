"""Normal form of what one step of a loop computes: polynomials over rows, gates and activations.

A value of the step is a vector of ``n`` features. It is written as a sum of terms ``atoms * (M source)`` or ``atoms * v``:
a product of atoms (an activation of another such sum, element by element), times a matrix of one source (a state, an input
of the step, or a product that a matrix was applied to), or times a vector of constants. Whatever order a network's author
added, multiplied, stacked and split in, ``(1 - z) * n + z * h``, ``h + (1 - z) * (n - h)`` and ``n - z * (n - h)`` are the
same three terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_SOURCE", "Algebra", "Atom", "Key", "Matrix", "Polynomial", "Source", "StepError"]

Matrix = NDArray[np.float64]

# Atoms by number, in rising order, and the number of the source.
Key = tuple[tuple[int, ...], int]
NO_SOURCE = -1

# A recurrent cell has a handful of terms; more of them is another kind of body, or a file that was made to take long.
_MOST_TERMS = 64
_MOST_ATOMS = 512

# Numbers of one matrix: those of 4,096 features of a state, 128 MB while they are handled.
_LARGEST_MATRIX = 1 << 24

# Weights are float32; sums of a few of them in another order differ less than this, relative to the largest.
_TOLERANCE = 1e-6


class StepError(Exception):
    """A value of the step has no normal form; the message says why."""


@dataclass(frozen=True, eq=False)
class Polynomial:
    """A vector of ``width`` features as a sum of terms: a matrix [width, source's width], or a vector without a source."""

    width: int
    terms: Mapping[Key, Matrix]


@dataclass(frozen=True, eq=False)
class Source:
    """What terms are linear in.

    Attributes:
        kind: ``state``, ``input`` (of the step), ``result`` (a state of this step that an operator gives), or ``derived``.
        value: of a derived source, the polynomial that a matrix was applied to.
    """

    name: str
    width: int
    kind: str
    value: Polynomial | None = None


@dataclass(frozen=True, eq=False)
class Atom:
    """``function(argument)`` of every feature; ``parameters`` are the operator's attributes."""

    function: str
    parameters: tuple[tuple[str, float], ...]
    argument: Polynomial


def _close(first: Matrix, second: Matrix) -> bool:
    if first.shape != second.shape:
        return False
    largest = max(float(np.max(np.abs(first), initial=0.0)), float(np.max(np.abs(second), initial=0.0)))
    return bool(np.max(np.abs(first - second), initial=0.0) <= _TOLERANCE * largest)


class Algebra:
    """Sources and atoms of one step, each equal one kept once, and the arithmetic of polynomials over them."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.atoms: list[Atom] = []
        self._selected: dict[tuple[int, bytes], int] = {}
        self._dependences: dict[tuple[str, int], frozenset[int]] = {}

    def source(self, name: str, width: int, kind: str) -> Polynomial:
        """A new source as a polynomial."""
        self.check_size(width, width)
        self.sources.append(Source(name, width, kind))
        return Polynomial(width, {((), len(self.sources) - 1): np.eye(width)})

    def check_size(self, rows: int, columns: int) -> None:
        """Raises StepError for a matrix that is too large to be made."""
        if rows * columns > _LARGEST_MATRIX:
            raise StepError(f"the step needs a matrix [{rows}, {columns}], expected at most {_LARGEST_MATRIX} numbers")

    def constant(self, vector: NDArray[np.generic]) -> Polynomial:
        """A vector of constants; zeros have no term."""
        values = vector.astype(np.float64).reshape(-1)
        return Polynomial(values.size, {((), NO_SOURCE): values} if values.any() else {})

    def add(self, first: Polynomial, second: Polynomial, sign: float = 1.0) -> Polynomial:
        """``first + sign second``."""
        terms = dict(first.terms)
        for key, value in second.terms.items():
            terms[key] = _sum(terms[key], sign * value) if key in terms else sign * value
        return self._checked(first.width, terms)

    def multiply(self, first: Polynomial, second: Polynomial) -> Polynomial:
        """The product of every feature."""
        total: dict[Key, Matrix] = {}
        for (atoms, source), value in first.terms.items():
            for (other_atoms, other_source), other in second.terms.items():
                found, left, right = [*atoms, *other_atoms], value, other
                kept = source if other_source == NO_SOURCE else other_source
                if NO_SOURCE not in {source, other_source}:
                    # Two linear forms: one of them becomes a factor of its own.
                    form = Polynomial(first.width, {((), source): value})
                    found.append(self._number("", (), form))
                    left = np.ones(first.width)
                key = (tuple(sorted(found)), kept)
                product = _scaled(left, right)
                total[key] = _sum(total[key], product) if key in total else product
        return self._checked(first.width, total)

    def select(self, value: Polynomial, rows: NDArray[np.intp]) -> Polynomial:
        """The features ``rows``, which may repeat."""
        if rows.size == value.width and np.array_equal(rows, np.arange(rows.size)):
            return value
        terms: dict[Key, Matrix] = {}
        for (atoms, source), matrix in value.terms.items():
            part = matrix[rows]
            if not part.any():
                continue
            key = (tuple(sorted(self._selected_atom(atom, rows) for atom in atoms)), source)
            terms[key] = _sum(terms[key], part) if key in terms else part
        return self._checked(rows.size, terms)

    def place(self, value: Polynomial, rows: NDArray[np.intp], width: int) -> Polynomial:
        """``value`` as the features ``rows`` of a vector of ``width``, zero elsewhere."""
        if rows.size == width and np.array_equal(rows, np.arange(width)):
            return value
        terms: dict[Key, Matrix] = {}
        for (atoms, source), matrix in value.terms.items():
            placed = np.zeros((width, *matrix.shape[1:]))
            placed[rows] = matrix
            numbers = []
            for number in atoms:
                atom = self.atoms[number]
                numbers.append(self._number(atom.function, atom.parameters, self.place(atom.argument, rows, width)))
            terms[tuple(sorted(numbers)), source] = placed
        return self._checked(width, terms)

    def transform(self, matrix: Matrix, value: Polynomial) -> Polynomial:
        """``matrix value``; what is not linear in ``value`` becomes a derived source."""
        terms: dict[Key, Matrix] = {}
        products: dict[Key, Matrix] = {}
        for key, part in value.terms.items():
            if key[0]:
                products[key] = part
            else:
                terms[key] = matrix @ part
        if products:
            self.check_size(matrix.shape[0], value.width)
            source, rows, scale = self._derived(Polynomial(value.width, products))
            applied = matrix[:, rows] * scale
            key = ((), source)
            terms[key] = _sum(terms[key], applied) if key in terms else applied
        return self._checked(matrix.shape[0], terms)

    def apply(self, function: str, parameters: tuple[tuple[str, float], ...], argument: Polynomial) -> Polynomial:
        """``function`` of every feature."""
        number = self._number(function, parameters, argument)
        return Polynomial(argument.width, {((number,), NO_SOURCE): np.ones(argument.width)})

    def equal(self, first: Polynomial, second: Polynomial) -> bool:
        """Whether two polynomials are the same up to the rounding of float32."""
        if first.width != second.width or first.terms.keys() != second.terms.keys():
            return False
        return all(_close(value, second.terms[key]) for key, value in first.terms.items())

    def depends_on(self, value: Polynomial) -> frozenset[int]:
        """The numbers of the sources that are not derived, through atoms and derived sources as well."""
        found: set[int] = set()
        for atoms, source in value.terms:
            for atom in atoms:
                argument = self.atoms[atom].argument
                found |= self._remembered(("atom", atom), lambda argument=argument: self.depends_on(argument))  # type: ignore[misc]  # mypy cannot infer a lambda's default
            if source != NO_SOURCE:
                inner = self.sources[source].value
                if inner is None:
                    found.add(source)
                else:
                    found |= self._remembered(("source", source), lambda inner=inner: self.depends_on(inner))  # type: ignore[misc]  # as above
        return frozenset(found)

    def _remembered(self, key: tuple[str, int], compute: Callable[[], frozenset[int]]) -> frozenset[int]:
        if key not in self._dependences:
            self._dependences[key] = compute()
        return self._dependences[key]

    def _derived(self, products: Polynomial) -> tuple[int, NDArray[np.intp], Matrix]:
        """The source of ``products``, which of its rows that is, and the factor of each."""
        alive = np.zeros(products.width, np.bool_)
        for part in products.terms.values():
            alive |= part.reshape(products.width, -1).any(axis=1)
        rows = np.flatnonzero(alive)
        value = self.select(products, rows)
        scale = np.ones(rows.size)
        if len(value.terms) == 1:
            # One product: its constant factors belong to the matrix, so that equal products are one source.
            (key, part), *_ = value.terms.items()
            factors = part if part.ndim == 1 else np.diagonal(part)
            if part.ndim == 1 or (part.shape[0] == part.shape[1] and np.array_equal(part, np.diag(factors))):
                scale = factors.copy()
                value = Polynomial(rows.size, {key: np.ones(rows.size) if part.ndim == 1 else np.eye(rows.size)})
        for number, source in enumerate(self.sources):
            if source.value is not None and self.equal(source.value, value):
                return number, rows, scale
        self.sources.append(Source("a product", rows.size, "derived", value))
        return len(self.sources) - 1, rows, scale

    def _number(self, function: str, parameters: tuple[tuple[str, float], ...], argument: Polynomial) -> int:
        for number, atom in enumerate(self.atoms):
            same = atom.function == function and atom.parameters == parameters
            if same and (atom.argument is argument or self.equal(atom.argument, argument)):
                return number
        if len(self.atoms) == _MOST_ATOMS:
            raise StepError(f"the step has more than {_MOST_ATOMS} activations of different values")
        self.atoms.append(Atom(function, parameters, argument))
        return len(self.atoms) - 1

    def _selected_atom(self, number: int, rows: NDArray[np.intp]) -> int:
        key = (number, rows.tobytes())
        if key not in self._selected:
            atom = self.atoms[number]
            self._selected[key] = self._number(atom.function, atom.parameters, self.select(atom.argument, rows))
        return self._selected[key]

    def _checked(self, width: int, terms: dict[Key, Matrix]) -> Polynomial:
        kept = {key: value for key, value in terms.items() if value.any()}
        if len(kept) > _MOST_TERMS:
            raise StepError(f"the step multiplies out to more than {_MOST_TERMS} terms")
        return Polynomial(width, kept)


def _sum(first: Matrix, second: Matrix) -> Matrix:
    """The sum of two coefficients; what rounding leaves of two that cancel is zero."""
    total = first + second
    rounding = 1e-12 * max(float(np.max(np.abs(first))), float(np.max(np.abs(second))))
    return total if np.max(np.abs(total)) > rounding else np.zeros_like(total)


def _scaled(first: Matrix, second: Matrix) -> Matrix:
    """The product of two coefficients, of which at most one is a matrix; vectors scale its rows."""
    if first.ndim == 2 and second.ndim == 1:
        return first * second[:, None]
    if first.ndim == 1 and second.ndim == 2:
        return first[:, None] * second
    return first * second

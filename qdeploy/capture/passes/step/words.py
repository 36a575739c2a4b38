"""A normal form in words, for messages."""

from __future__ import annotations

import numpy as np

from .algebra import NO_SOURCE, Algebra, Key, Matrix, Polynomial

__all__ = ["described"]

# More terms or atoms than these help nobody.
_SHOWN = 8


def described(algebra: Algebra, value: Polynomial) -> str:
    """``value`` as a sum of products; matrices are ``M``, vectors ``v``, atoms ``a1``, ``a2`` ... with what they are of."""
    names: dict[int, str] = {}
    terms = [_term(algebra, key, coefficient, names) for key, coefficient in list(value.terms.items())[:_SHOWN]]
    text = " ".join(terms).removeprefix("+ ") or "0"
    if len(value.terms) > _SHOWN:
        text += f" + {len(value.terms) - _SHOWN} more terms"
    # Atoms are named as they are met, those inside of an atom after it.
    parts = []
    for number, name in names.items():
        atom = algebra.atoms[number]
        parts.append(f"{name} = {atom.function or 'a linear form'} of ({_of(algebra, atom.argument)})")
    return f"{text}, where {', '.join(parts)}" if parts else text


def _term(algebra: Algebra, key: Key, coefficient: Matrix, names: dict[int, str]) -> str:
    atoms, source = key
    factors = [names.setdefault(atom, f"a{len(names) + 1}") for atom in atoms]
    sign, factor = _coefficient(coefficient)
    if factor and (factor != "v" or not factors or source != NO_SOURCE):
        factors.insert(0, factor)
    elif factor:
        factors.insert(0, "v")
    if source != NO_SOURCE:
        factors.append(_source(algebra, source))
    return f"{sign} {' '.join(factors) or '1'}"


def _coefficient(coefficient: Matrix) -> tuple[str, str]:
    """The sign of a coefficient, and how it is written where it is not one."""
    diagonal = coefficient
    if coefficient.ndim == 2:
        diagonal = np.diagonal(coefficient)
        if coefficient.shape[0] != coefficient.shape[1] or not np.array_equal(coefficient, np.diag(diagonal)):
            return "+", "M"
    number = float(diagonal[0])
    if not np.allclose(diagonal, number, rtol=1e-6):
        return "+", "v"
    if abs(abs(number) - 1.0) < 1e-6:  # as templates compare
        return ("-" if number < 0 else "+"), ""
    return ("-" if number < 0 else "+"), f"{abs(number):.4g}"


def _source(algebra: Algebra, number: int) -> str:
    source = algebra.sources[number]
    return source.name if source.value is None else f"[{_of(algebra, source.value)}]"


def _of(algebra: Algebra, value: Polynomial) -> str:
    """The names of what ``value`` is computed from; a product of them shows as such."""
    linear = sorted(
        {algebra.sources[source].name for atoms, source in value.terms if not atoms and source != NO_SOURCE}
    )
    products = []
    for atoms, source in value.terms:
        if atoms:
            functions = [algebra.atoms[atom].function or "a linear form" for atom in atoms]
            products.append(" ".join([*functions, *([] if source == NO_SOURCE else [algebra.sources[source].name])]))
    return ", ".join([*linear, *sorted(set(products))][:_SHOWN])

"""Registers of emitters: how each operator is written in one format, by the operator's name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from qdeploy.runtime.errors import UnsupportedModelError

__all__ = ["Emitters"]

SiteT = TypeVar("SiteT")
_Emitter: TypeAlias = Callable[[SiteT], None]


class Emitters(Generic[SiteT]):
    """The emitters of one format; an emitter writes one layer, which it is told of by a site.

    Args:
        package: whose files register emitters when they are imported.
        form: what a layer becomes, for errors: ``in C``.
        name: the format's, as ``--format`` has it.
    """

    def __init__(self, package: str, form: str, name: str) -> None:
        self._package = package
        self._form = form
        self._name = name
        self._known: dict[str, _Emitter[SiteT]] = {}
        self._complete = False

    def register(self, *operators: str) -> Callable[[_Emitter[SiteT]], _Emitter[SiteT]]:
        """Marks a function as the emitter of operators of the domain ``qdeploy``, or of standard ones that move data."""

        def mark(function: _Emitter[SiteT]) -> _Emitter[SiteT]:
            for operator in operators:
                self._known[operator] = function
            return function

        return mark

    def all(self) -> dict[str, _Emitter[SiteT]]:
        """Every emitter by operator."""
        if not self._complete:
            self._complete = True
            for module in pkgutil.iter_modules(importlib.import_module(self._package).__path__):
                importlib.import_module(f"{self._package}.{module.name}")
        return self._known

    def of(self, operator: str, node: str) -> _Emitter[SiteT]:
        """The emitter of an operator.

        Raises:
            UnsupportedModelError: there is none.
        """
        found = self.all().get(operator)
        if found is None:
            raise UnsupportedModelError(
                f"node {node}: the operator {operator} has no form {self._form}; expected one of "
                f"{', '.join(sorted(self.all()))}. Export without the format {self._name}."
            )
        return found

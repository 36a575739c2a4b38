"""Live modules of other libraries, known by the names of their classes and attributes; no library is imported."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from qdeploy.models.masks import masked_products
from qdeploy.runtime.errors import UnsupportedModelError

from .stored import Stored

__all__ = ["Foreign", "convert_layers", "refused"]


@dataclass(frozen=True)
class Foreign:
    """A class of another library.

    Attributes:
        name: of the class.
        attributes: that its objects have, and those of other libraries' classes of the same name do not.
        convert: gives the layer of this package, of the object and its tensors; it takes every tensor or drops it by name.
    """

    name: str
    attributes: frozenset[str]
    convert: Callable[[Any, Stored], nn.Module]


def refused(name: str, reason: str, *attributes: str) -> Foreign:
    """A class that has no form here, and why."""

    def refuse(part: Any, stored: Stored) -> nn.Module:
        del part
        raise UnsupportedModelError(f"{stored.where}: {reason}")

    return Foreign(name, frozenset(attributes), refuse)


def convert_layers(module: nn.Module, library: str, known: Iterable[Foreign]) -> nn.Module:
    """A copy of ``module`` in evaluation mode whose layers of ``library`` are layers of this package; ``module`` stays as it is.

    Args:
        module: any module; the layers may stand anywhere in it, and it may be one itself.
        library: for messages.
        known: the library's classes.

    Raises:
        UnsupportedModelError: a layer that has no form here, one of another library's class of the same name, or no layer of
            the library at all.
        InvalidFileError: tensors of shapes that do not fit, NaN, or tensors that no known layer of its kind has.
    """
    by_name: dict[str, list[Foreign]] = {}
    for one in known:
        by_name.setdefault(one.name, []).append(one)
    # Copied with the new layers in the old ones' places: libraries keep results of a forward pass in their layers, which
    # cannot be copied. A layer that is used at several places stays one layer.
    memo: dict[int, Any] = {}
    inside: list[str] = []
    for path, part in module.named_modules():
        kind = type(part).__name__
        if kind not in by_name or any(path.startswith(one) for one in inside):
            continue
        where = f"layer {path or 'model'} ({kind})"
        matching = [one for one in by_name[kind] if all(hasattr(part, name) for name in one.attributes)]
        if not matching:
            expected = " or ".join(", ".join(sorted(one.attributes)) for one in by_name[kind])
            raise UnsupportedModelError(
                f"{where}: has not the attributes of {library}'s class of that name ({expected}); it is "
                f"{type(part).__module__}.{kind}, a class of another library or version"
            )
        stored = Stored(masked_products(part.state_dict(), where), "", where)
        memo[id(part)] = matching[0].convert(part, stored)
        if stored.state:
            raise UnsupportedModelError(
                f"{where}: has the tensors {', '.join(sorted(stored.state)[:12])}, which {library}'s class of that name has not"
            )
        inside.append(f"{path}." if path else "")
    if not memo:
        raise UnsupportedModelError(
            f"{type(module).__name__}: found no layer of {library}, expected one of {', '.join(by_name)}"
        )
    return copy.deepcopy(module, memo).eval()

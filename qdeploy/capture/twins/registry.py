"""Which class exports a layer, and how the layers of a model get theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from qdeploy.runtime.errors import UnsupportedModelError

__all__ = ["replace_layers", "twin_of"]

_Twin = TypeVar("_Twin", bound=type[nn.Module])


@dataclass(frozen=True)
class _Registered:
    twin: type[nn.Module]
    recurrent: bool
    path: str


_OWN_FORWARD_KEPT = (nn.Linear, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001  # it has no public name

_TWINS: dict[type[nn.Module], _Registered] = {}


def twin_of(layer: type[nn.Module], *, recurrent: bool = False, path: str | None = None) -> Callable[[_Twin], _Twin]:
    """Registers a subclass of ``layer`` as what exports it; a subclass of ``layer`` takes it too.

    A twin has ``capture_path``, the layer's path in the model, and may have ``freeze``, which is called once.

    Args:
        layer: the class of the layers.
        recurrent: whether the layer has a state.
        path: the name of a layer that is the whole model, by default that of its class in lower case.
    """

    def register(twin: _Twin) -> _Twin:
        _TWINS[layer] = _Registered(twin, recurrent, layer.__name__.lower() if path is None else path)
        return twin

    return register


def replace_layers(module: nn.Module) -> int:
    """Gives the layers of ``module`` (a copy, in evaluation mode) their twins' classes, in place.

    A subclass of ``torch.nn.Linear`` or of a batch normalization with a ``forward`` of its own keeps it, and so does a layer
    with forward hooks: what they compute is traced operator by operator.

    Returns:
        The number of recurrent layers.

    Raises:
        UnsupportedModelError: a recurrent layer with forward hooks.
    """
    recurrent = 0
    for path, part in module.named_modules():
        base = next((one for one in type(part).__mro__ if one in _TWINS), None)
        if base is None or (base in _OWN_FORWARD_KEPT and type(part).forward is not base.forward):
            continue
        found = _TWINS[base]
        if part._forward_hooks or part._forward_pre_hooks:  # noqa: SLF001  # torch has no other way to ask
            if found.recurrent:
                raise UnsupportedModelError(
                    f"layer {path or 'model'} ({type(part).__name__}): found forward hooks, expected none on a "
                    "recurrent layer; remove them before the export"
                )
            continue
        recurrent += found.recurrent
        part.__class__ = type(f"{type(part).__name__}Twin", (found.twin, type(part)), {})
        vars(part)["capture_path"] = path or found.path
        freeze = getattr(part, "freeze", None)
        if freeze is not None:
            freeze()
    return recurrent

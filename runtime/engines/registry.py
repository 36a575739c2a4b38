"""Which engines exist, and which of them this machine has."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError

if TYPE_CHECKING:
    from collections.abc import Collection

    from qdeploy.runtime.engines.engine import Engine
    from qdeploy.runtime.litert_options import LitertOptions
    from qdeploy.runtime.model_source import ModelSource

__all__ = ["DEFAULTS", "ENGINES", "available", "check_litert_options", "open_engine"]

#: Name to class, imported when asked for: an engine's package is needed by that engine only.
ENGINES: dict[str, str] = {
    "numpy": "NumpyEngine",
    "bodies": "BodiesEngine",
    "onnxruntime": "OnnxruntimeEngine",
    "litert": "LitertEngine",
    "c": "CEngine",
}

#: The engines that are taken where none is named. C runs compiled code: only whoever names it gets it. LiteRT needs a file
#: of its own in the bundle.
DEFAULTS = tuple(name for name in ENGINES if name not in {"c", "litert"})


def open_engine(
    name: str, model: ModelSource, *, threads: int = 1, optimize: bool = True, litert: LitertOptions | None = None
) -> Engine:
    """Opens ``model`` (a ModelProto, its bytes, a path or an opened bundle) in the engine ``name``.

    ``threads`` and ``optimize`` (graph optimizations) matter to engines that have them; no result depends on either.
    ``litert``: kernels and delegate of the engine of that name.

    Raises InvalidInputError for an unknown name or another engine's options, MissingRequirementError where the engine's package
    is missing, UnsupportedModelError where the engine cannot load the model.
    """
    if name not in ENGINES:
        msg = f"found the runtime {name!r}, expected one of {', '.join(ENGINES)}"
        raise InvalidInputError(msg)
    if threads < 1:
        msg = f"found threads={threads}, expected at least 1"
        raise InvalidInputError(msg)
    if litert:
        check_litert_options(litert, [name])
    module = import_module(f"qdeploy.runtime.engines.{name}")
    options = litert.to_dict() if litert else {}
    engine: Engine = getattr(module, ENGINES[name])(model, threads=threads, optimize=optimize, **options)
    return engine


def check_litert_options(litert: LitertOptions | None, runtimes: Collection[str]) -> None:
    """Raises InvalidInputError for kernels or a delegate of LiteRT where it is none of the runtimes."""
    if litert and "litert" not in runtimes:
        option = "a resolver" if litert.resolver is not None else "a delegate"
        found = f"the runtime {', '.join(runtimes)}" if runtimes else "no runtime named"
        msg = f"found {option} with {found}; it belongs to LiteRT, name the runtime litert or leave it out"
        raise InvalidInputError(msg)


def available() -> dict[str, str | None]:
    """Each engine with the version of the package that computes, None where it is missing."""
    found: dict[str, str | None] = {}
    for name in ENGINES:
        try:
            found[name] = import_module(f"qdeploy.runtime.engines.{name}").version()
        except (MissingRequirementError, ImportError):
            found[name] = None
    return found

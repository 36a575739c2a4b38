"""Trained quaternion and orthogonal recurrent networks become integer-only models, proven bit for bit.

The whole public API; everything is loaded when it is first used, so that ``import qdeploy`` costs nothing::

    export_model(model, output, *, calibration, ...) -> Bundle     a trained model becomes a bundle
    load(path) -> Bundle                                           opens a bundle (folder or .zip)
    Bundle.run(inputs, ...)       -> dict                          one inference
    Bundle.session(...)           -> Session                       streaming, state kept between calls
    Bundle.verify(...)            -> VerifyReport                  do all runtimes compute the same bits?
    Bundle.validate(data, ...)    -> ValidateReport                what did quantization cost?
    Bundle.inspect()              -> InspectReport                 operators, bits, bytes, head-room
    Bundle.bench(...)             -> BenchReport                   microseconds a step, each runtime
    Bundle.push(address, ...)     -> PushReport                    verified and measured on a board, by ssh
    LitertOptions(resolver, delegate, ...)                         kernels and delegate of the runtime litert
    __version__

    QdeployError                                                   base of all errors
    CheckFailedError, ContractError, InvalidInputError, InvalidFileError, UnsupportedModelError,
    AccumulatorOverflowError, MissingRequirementError, MissingDataError, BuildError
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bundle import Bundle, load
    from .exporter import export_model
    from .runtime.errors import (
        AccumulatorOverflowError,
        BuildError,
        CheckFailedError,
        ContractError,
        InvalidFileError,
        InvalidInputError,
        MissingDataError,
        MissingRequirementError,
        QdeployError,
        UnsupportedModelError,
    )
    from .runtime.litert_options import LitertOptions

__version__ = "0.1.0"

__all__ = [
    "AccumulatorOverflowError",
    "BuildError",
    "Bundle",
    "CheckFailedError",
    "ContractError",
    "InvalidFileError",
    "InvalidInputError",
    "LitertOptions",
    "MissingDataError",
    "MissingRequirementError",
    "QdeployError",
    "UnsupportedModelError",
    "__version__",
    "export_model",
    "load",
]

_HOMES = {
    "Bundle": ".bundle",
    "load": ".bundle",
    "export_model": ".exporter",
    "LitertOptions": ".runtime.litert_options",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'qdeploy' has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, ".runtime.errors"), __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

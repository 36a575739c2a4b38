"""The engine "litert": ai-edge-litert, else its older twin tflite-runtime, on the bundle's ``model.tflite``."""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.runtime.c_samples import c_bundle
from qdeploy.runtime.errors import ContractError, InvalidInputError, MissingRequirementError, UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdeploy.runtime.bundle import BundleFiles
    from qdeploy.runtime.engines.engine import Array
    from qdeploy.runtime.model_source import ModelSource

__all__ = ["RESOLVERS", "LitertEngine", "interpreter_module", "version"]

_PACKAGES = (("ai-edge-litert", "ai_edge_litert.interpreter"), ("tflite-runtime", "tflite_runtime.interpreter"))
_INSTALL = "pip install 'qdeploy[litert]' (on boards with 32 bits 'qdeploy[tflite]'), or choose another runtime"
#: Who gives the bytes of a bundle's model.tflite, made anew from its model.onnx.
_MAKER = "qdeploy.tflite_file"
_SIGNATURE = "serving_default"

RESOLVERS = {"default": "AUTO", "plain": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}
"""Which kernels compute: with the delegates that the runtime takes by itself (XNNPACK), without them, the reference ones."""


def version() -> str:
    """Which of the two packages is installed, and its version, without importing it.

    Raises MissingRequirementError where neither is.
    """
    for package, _ in _PACKAGES:
        try:
            return f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            continue
    raise MissingRequirementError(f"neither ai-edge-litert nor tflite-runtime is installed on this machine; {_INSTALL}")


def interpreter_module() -> Any:
    """The module of the installed package that has the interpreter.

    Raises MissingRequirementError where neither package is installed, or where it cannot be imported.
    """
    name = version().split()[0]
    try:
        return import_module(dict(_PACKAGES)[name])
    except ImportError as error:
        raise MissingRequirementError(f"{name} cannot be imported ({error}); {_INSTALL}") from error


class LitertEngine:
    """An interpreter that computes a batch sample by sample.

    Args:
        source: an opened bundle.
        threads: of the interpreter.
        optimize: whether the runtime may take its default delegates.
        resolver: a name of RESOLVERS in place of that choice.

    Raises:
        UnsupportedModelError: an operator has no form for LiteRT, or the runtime lacks one.
    """

    name = "litert"

    def __init__(
        self, source: ModelSource, *, threads: int = 1, optimize: bool = True, resolver: str | None = None
    ) -> None:
        module = interpreter_module()
        self.version: str = version()
        files = c_bundle(source)
        chosen = resolver or ("default" if optimize else "plain")
        if chosen not in RESOLVERS:
            raise InvalidInputError(f"found the resolver {chosen!r}, expected one of {', '.join(RESOLVERS)}")
        content = _content(files)
        kernels = getattr(module.OpResolverType, RESOLVERS[chosen])
        try:
            interpreter = module.Interpreter(
                model_content=content, num_threads=threads, experimental_op_resolver_type=kernels
            )
            self._runner = interpreter.get_signature_runner(_SIGNATURE)
        except (ValueError, RuntimeError) as error:
            raise UnsupportedModelError(
                f"{self.version} cannot load model.tflite: {str(error).strip()[:300]}; update it, or choose another runtime"
            ) from error
        manifest = files.manifest
        self._batch = {spec.name: spec.batch_axis for spec in manifest.inputs}
        self._batch |= {spec.input: _axis(spec.shape) for spec in manifest.states}
        self._outputs = {spec.name: _axis(spec.shape) for spec in manifest.outputs}
        self._outputs |= {spec.output: _axis(spec.shape) for spec in manifest.states}
        self._dtypes = {spec.name: spec.dtype for spec in manifest.inputs}
        self._dtypes |= {spec.input: spec.dtype for spec in manifest.states}

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Computes once."""
        if feeds.keys() != self._dtypes.keys():
            odd = min(feeds.keys() ^ self._dtypes.keys())
            what = f"input {odd!r} is missing" if odd in self._dtypes else f"found an input {odd!r}"
            raise InvalidInputError(f"{what}; the model's inputs are {', '.join(self._dtypes)}")
        for name, array in feeds.items():
            if array.dtype != np.dtype(self._dtypes[name]):
                raise InvalidInputError(f"input {name!r}: found {array.dtype}, expected {self._dtypes[name]}")
        batch = next((feeds[name].shape[axis] for name, axis in self._batch.items() if axis is not None), 1)
        parts: list[dict[str, Array]] = []
        for sample in range(batch):
            single = {name: _sample(array, self._batch[name], sample) for name, array in feeds.items()}
            try:
                found = self._runner(**single)
            except (ValueError, RuntimeError) as error:
                raise ContractError(f"{self.version} failed while it ran: {str(error).strip()[:300]}") from error
            parts.append({name: np.array(found[name]) for name in self._outputs})
        return {
            name: parts[0][name] if axis is None else np.concatenate([part[name] for part in parts], axis)
            for name, axis in self._outputs.items()
        }


def _content(files: BundleFiles) -> bytes:
    try:
        maker = import_module(_MAKER)
    except ImportError as error:
        raise MissingRequirementError(
            f"the writer of .tflite files cannot be imported ({error}); install qdeploy whole"
        ) from error
    content: bytes = maker.trusted_tflite(files)
    return content


def _axis(shape: tuple[int | str, ...]) -> int | None:
    return shape.index("batch") if "batch" in shape else None


def _sample(array: Array, axis: int | None, sample: int) -> Array:
    return np.ascontiguousarray(array if axis is None else np.take(array, [sample], axis))

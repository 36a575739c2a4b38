"""An interpreter of LiteRT on the bytes of a ``.tflite`` file, for machines that have NumPy and a runtime, and no onnx.

Some boards have neither a wheel of onnx nor the writer of such files: they get the bytes and a description of the borders.
:mod:`qdeploy.runtime.engines.litert` makes both of a bundle.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.runtime.errors import ContractError, InvalidInputError, MissingRequirementError, UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdeploy.runtime.engines.engine import Array
    from qdeploy.runtime.manifest import Manifest

__all__ = ["PACKAGES", "RESOLVERS", "Border", "LitertInterpreter", "interpreter_module", "version"]

PACKAGES = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}
"""Package -> the module that has its interpreter; the first that is installed is taken where none is named."""

RESOLVERS = {"default": "AUTO", "plain": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}
"""Which kernels compute: with the delegates that the runtime takes by itself (XNNPACK), without them, the reference ones."""

_INSTALL = "pip install 'qdeploy[litert]' (on boards with 32 bits 'qdeploy[tflite]'), or choose another runtime"
_SIGNATURE = "serving_default"
_LONGEST_MESSAGE = 300


def version(package: str | None = None) -> str:
    """Which of the two packages is installed, and its version, without importing it; ``package``: only that one.

    Raises MissingRequirementError where neither is.
    """
    for name in (package,) if package else PACKAGES:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    what = f"{package} is not" if package else "neither ai-edge-litert nor tflite-runtime is"
    raise MissingRequirementError(f"{what} installed on this machine; {_INSTALL}")


def interpreter_module(package: str | None = None) -> Any:
    """The module of the installed package that has the interpreter; ``package``: only that one.

    Raises MissingRequirementError where there is none, or where it cannot be imported.
    """
    name = version(package).split()[0]
    try:
        return import_module(PACKAGES[name])
    except ImportError as error:
        raise MissingRequirementError(f"{name} cannot be imported ({error}); {_INSTALL}") from error


@dataclass(frozen=True)
class Border:
    """What a model takes and gives, states included: plain values, which go to another machine as JSON.

    ``dtypes``: of each input. ``input_axes`` and ``output_axes``: where the batch lies, None where there is none.
    """

    dtypes: Mapping[str, str]
    input_axes: Mapping[str, int | None]
    output_axes: Mapping[str, int | None]

    @classmethod
    def of(cls, manifest: Manifest) -> Border:
        """The border of a bundle's model."""
        states = manifest.states
        return cls(
            dtypes={spec.name: spec.dtype for spec in manifest.inputs} | {spec.input: spec.dtype for spec in states},
            input_axes={spec.name: _axis(spec.shape) for spec in manifest.inputs}
            | {spec.input: _axis(spec.shape) for spec in states},
            output_axes={spec.name: _axis(spec.shape) for spec in manifest.outputs}
            | {spec.output: _axis(spec.shape) for spec in states},
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values: ``Border(**border.to_dict())`` is the same."""
        return asdict(self)


class LitertInterpreter:
    """Computes a batch sample by sample: the model's own batch is 1.

    Args:
        content: the file's bytes. LiteRT ends the whole process on some that are not as it expects: whoever does not know where
            they come from opens them in a child process.
        border: of the model in the file.
        threads: of the interpreter.
        resolver: a name of RESOLVERS.
        package: a name of PACKAGES; the first that is installed where None.

    Raises:
        InvalidInputError: another name of a resolver.
        MissingRequirementError: no such package is installed.
        UnsupportedModelError: the runtime lacks an operator, or takes the file for no model.
    """

    name = "litert"

    def __init__(
        self,
        content: bytes,
        border: Border,
        *,
        threads: int = 1,
        resolver: str = "default",
        package: str | None = None,
    ) -> None:
        if resolver not in RESOLVERS:
            raise InvalidInputError(f"found the resolver {resolver!r}, expected one of {', '.join(RESOLVERS)}")
        module = interpreter_module(package)
        self.version: str = version(package)
        self._border = border
        kernels = getattr(module.OpResolverType, RESOLVERS[resolver])
        try:
            interpreter = module.Interpreter(
                model_content=content, num_threads=threads, experimental_op_resolver_type=kernels
            )
            self._runner = interpreter.get_signature_runner(_SIGNATURE)
        except (ValueError, RuntimeError) as error:
            raise UnsupportedModelError(
                f"{self.version} cannot load model.tflite: {_said(error)}; update it, or choose another runtime"
            ) from error

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Computes once; raises InvalidInputError for feeds that are not the model's inputs."""
        border = self._border
        if feeds.keys() != border.dtypes.keys():
            odd = min(feeds.keys() ^ border.dtypes.keys())
            what = f"input {odd!r} is missing" if odd in border.dtypes else f"found an input {odd!r}"
            raise InvalidInputError(f"{what}; the model's inputs are {', '.join(border.dtypes)}")
        for name, array in feeds.items():
            if array.dtype != np.dtype(border.dtypes[name]):
                raise InvalidInputError(f"input {name!r}: found {array.dtype}, expected {border.dtypes[name]}")
        batch = next((feeds[name].shape[axis] for name, axis in border.input_axes.items() if axis is not None), 1)
        parts: list[dict[str, Array]] = []
        for sample in range(batch):
            single = {name: _sample(array, border.input_axes[name], sample) for name, array in feeds.items()}
            try:
                found = self._runner(**single)
            except (ValueError, RuntimeError) as error:
                raise ContractError(f"{self.version} failed while it ran: {_said(error)}") from error
            parts.append({name: np.array(found[name]) for name in border.output_axes})
        return {
            name: parts[0][name] if axis is None else np.concatenate([part[name] for part in parts], axis)
            for name, axis in border.output_axes.items()
        }


def _said(error: Exception) -> str:
    return str(error).strip()[:_LONGEST_MESSAGE]


def _axis(shape: tuple[int | str, ...]) -> int | None:
    return shape.index("batch") if "batch" in shape else None


def _sample(array: Array, axis: int | None, sample: int) -> Array:
    return np.ascontiguousarray(array if axis is None else np.take(array, [sample], axis))

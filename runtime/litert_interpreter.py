"""An interpreter of LiteRT on the bytes of a ``.tflite`` file, for machines that have NumPy and a runtime, and no onnx.

Some boards have neither a wheel of onnx nor the writer of such files: they get the bytes and a description of the borders.
:mod:`qdeploy.runtime.engines.litert` makes both of a bundle.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.runtime.errors import ContractError, InvalidInputError, MissingRequirementError, UnsupportedModelError
from qdeploy.runtime.litert_delegate import load_delegate
from qdeploy.runtime.litert_options import RESOLVERS, LitertOptions

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from qdeploy.runtime.engines.engine import Array
    from qdeploy.runtime.manifest import Manifest

__all__ = ["PACKAGES", "RESOLVERS", "SIGNATURE", "STEP", "Border", "LitertInterpreter", "interpreter_module", "version"]

PACKAGES = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}
"""Package -> the module that has its interpreter; the first that is installed is taken where none is named."""

_INSTALL = "pip install 'qdeploy[litert]' (on boards with 32 bits 'qdeploy[tflite]'), or choose another runtime"
SIGNATURE = "serving_default"
"""The key of the signature that takes a sample, or a sequence of any length."""

STEP = "step"
"""The key of the signature that takes one step, for streaming: it has no loop."""

#: Such packages ask for no upper bound of NumPy, and die with 2.
_NUMPY_1_ONLY = "tflite-runtime"
_LONGEST_MESSAGE = 300


def version(package: str | None = None) -> str:
    """Which of the two packages is installed, and its version, without importing it; ``package``: only that one.

    Raises MissingRequirementError where neither is, or where it is one that dies with the NumPy that is here.
    """
    for name in (package,) if package else PACKAGES:
        try:
            found = f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
        if name == _NUMPY_1_ONLY and not np.__version__.startswith("1."):
            raise MissingRequirementError(
                f"{found} ends the process with NumPy 2, found NumPy {np.__version__}; pip install 'qdeploy[tflite]', which "
                "takes NumPy 1.26, or where there is one ai-edge-litert: pip install 'qdeploy[litert]'"
            )
        return found
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

    ``dtypes``: of each input. ``input_axes`` and ``output_axes``: where the batch lies, None where there is none. ``time_axes``:
    where the steps of those inputs lie that have them.
    """

    dtypes: Mapping[str, str]
    input_axes: Mapping[str, int | None]
    output_axes: Mapping[str, int | None]
    time_axes: Mapping[str, int]

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
            time_axes={spec.name: spec.time_axis for spec in manifest.inputs if spec.time_axis is not None},
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values: ``Border(**border.to_dict())`` is the same."""
        return asdict(self)


class LitertInterpreter:
    """Computes a batch sample by sample: the model's own batch is 1. A single step has a signature of its own, without a loop.

    Args:
        content: the file's bytes. LiteRT ends the whole process on some that are not as it expects: whoever does not know where
            they come from opens them in a child process.
        border: of the model in the file.
        threads: of the interpreter.
        resolver: a name of RESOLVERS.
        package: a name of PACKAGES; the first that is installed where None.
        delegate, delegate_options: as in :class:`~qdeploy.runtime.litert_options.LitertOptions`.

    Raises:
        InvalidInputError: another name of a resolver, a delegate that is none.
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
        delegate: str | os.PathLike[str] | None = None,
        delegate_options: Mapping[str, str] | None = None,
    ) -> None:
        options = LitertOptions(resolver, delegate, delegate_options or {})
        module = interpreter_module(package)
        self.version: str = version(package)
        self._border = border
        kernels = getattr(module.OpResolverType, RESOLVERS[resolver])
        delegates = (
            [load_delegate(module, str(options.delegate), options.delegate_options)] if options.delegate else None
        )
        try:
            self._interpreter = module.Interpreter(
                model_content=content,
                num_threads=threads,
                experimental_op_resolver_type=kernels,
                experimental_delegates=delegates,
            )
            self._runner = self._interpreter.get_signature_runner(SIGNATURE)
        except (ValueError, RuntimeError) as error:
            raise UnsupportedModelError(self._cannot_load(error, options)) from error
        self._steps = self._interpreter.get_signature_list().keys() & {STEP}
        self._step_runner: Any = None

    def _cannot_load(self, error: Exception, options: LitertOptions) -> str:
        """Which operator is missing, where it is that."""
        said = str(error).strip()
        found = re.search(r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'", said)
        beyond = re.search(r"Op builtin_code out of range: (\d+)", said)
        if found or beyond:
            what = f"operator {found[1]} in version {found[2]}" if found else f"operator {beyond[1] if beyond else ''}"
            kernels = f" among its {options.resolver} kernels" if options.resolver != "default" else ""
            return (
                f"{self.version} lacks the {what}{kernels}, which model.tflite has; update it (pip install --upgrade "
                "'qdeploy[litert]'), or choose another runtime: onnxruntime, numpy, bodies"
            )
        where = f" with the delegate {options.delegate}" if options.delegate else ""
        return f"{self.version} cannot load model.tflite{where}: {_said(error)}; update it, or choose another runtime"

    def _runner_for(self, feeds: Mapping[str, Array]) -> Any:
        """The signature of one step for one step, if the file has it; its arena is laid out when it is first asked for."""
        times = self._border.time_axes
        if not self._steps or any(feeds[name].shape[axis : axis + 1] != (1,) for name, axis in times.items()):
            return self._runner
        if self._step_runner is None:
            self._step_runner = self._interpreter.get_signature_runner(STEP)
        return self._step_runner

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
        runner = self._runner_for(feeds)
        parts: list[dict[str, Array]] = []
        for sample in range(batch):
            single = {name: _sample(array, border.input_axes[name], sample) for name, array in feeds.items()}
            try:
                found = runner(**single)
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

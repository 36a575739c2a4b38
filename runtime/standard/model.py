"""The executor's front: a model is compiled once and then run on arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.runtime.errors import ContractError, InvalidInputError
from qdeploy.runtime.model_source import read_model
from qdeploy.runtime.standard.compile import Compiler, declared_dtype, last_reads
from qdeploy.runtime.standard.frame import execute
from qdeploy.runtime.standard.node import Array, Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qdeploy.runtime.model_source import ModelSource


__all__ = ["BodyModel"]


class BodyModel:
    """Executes the standard operators of a model's bodies; integers wrap as ONNX's do.

    ``model``: a ModelProto, its bytes, the path of its file or an opened bundle. Functions are inlined and everything
    that depends on constants alone is computed here, once. Raises UnsupportedModelError for operators, types or
    attributes outside the set that bodies use, InvalidFileError for a file that is not a model.
    """

    def __init__(self, model: ModelSource) -> None:
        proto = read_model(model)
        self._tracer = Tracer()
        with np.errstate(all="ignore"):
            self._compiled = Compiler(proto, self._tracer)
        self._last_reads = last_reads(self._compiled)
        self._declared = {value.name: value for value in proto.graph.input if value.name in self._compiled.inputs}
        self._result_types = {value.name: declared_dtype(value) for value in proto.graph.output}

    def run(
        self,
        feeds: Mapping[str, Array],
        *,
        outputs: Sequence[str] | None = None,
        trace: Callable[[str, Array], None] | None = None,
    ) -> dict[str, Array]:
        """Runs once.

        ``outputs`` may name any tensor of the top-level graph; by default the graph's outputs.
        ``trace(label, array)`` is called for every result of every step, in the order of computation, loops included;
        the label is the path ``node/inner node:operator``. Results that were folded at load are not repeated.

        Raises InvalidInputError for feeds that do not match the graph's inputs, ContractError (with the node's path)
        for what no operator defines: a division by 0, an index out of range, operands of two types.
        """
        compiled = self._compiled
        self._check_feeds(feeds)
        wanted = list(compiled.outputs) if outputs is None else list(outputs)
        unknown = [name for name in wanted if name not in compiled.names]
        if unknown:
            msg = f"the graph has no tensor {unknown[0]!r}; it has {', '.join(n for n in compiled.names if n)}"
            raise InvalidInputError(msg)
        values = compiled.template.copy()
        for name, register in compiled.inputs.items():
            values[register] = np.asarray(feeds[name])
        self._tracer.callback = trace
        try:
            with np.errstate(all="ignore"):
                kept = {compiled.names[name] for name in wanted}
                for step, done in zip(compiled.steps, self._last_reads, strict=True):
                    execute([step], values, self._tracer)
                    # The intermediate results of large images do not all fit memory at once.
                    for register in done - kept:
                        values[register] = None
        finally:
            self._tracer.callback = None
        results: dict[str, Array] = {}
        for name in wanted:
            array = values[compiled.names[name]]
            if array is None:
                msg = f"tensor {name!r} was left out by the call that should give it"
                raise ContractError(msg)
            expected = self._result_types.get(name)
            if expected is not None and array.dtype != expected:
                msg = f"output {name!r} has type {array.dtype}, the graph declares {expected}"
                raise ContractError(msg)
            # Never a view of a feed, a constant or another result.
            results[name] = np.array(array, copy=True, order="C")
        return results

    def _check_feeds(self, feeds: Mapping[str, Array]) -> None:
        extra = [name for name in feeds if name not in self._compiled.inputs]
        missing = [name for name in self._compiled.inputs if name not in feeds]
        if extra or missing:
            what = f"found an input {extra[0]!r}" if extra else f"input {missing[0]!r} is missing"
            msg = f"{what}; the model's inputs are {', '.join(self._compiled.inputs) or 'none'}"
            raise InvalidInputError(msg)
        for name, declared in self._declared.items():
            array = np.asarray(feeds[name])
            dtype = declared_dtype(declared)
            if dtype is not None and array.dtype != dtype:
                msg = f"input {name!r}: found type {array.dtype}, expected {dtype}"
                raise InvalidInputError(msg)
            if not declared.type.tensor_type.HasField("shape"):
                continue
            dims = declared.type.tensor_type.shape.dim
            fixed = [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in dims]
            if len(fixed) != array.ndim or any(
                isinstance(d, int) and d != n for d, n in zip(fixed, array.shape, strict=False)
            ):
                msg = f"input {name!r}: found shape {list(array.shape)}, expected [{', '.join(map(str, fixed))}]"
                raise InvalidInputError(msg)

"""A ``.tflite`` file in ai-edge-litert's interpreter, one thread, for timing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.c.generated import bundle_of
from benchmarks.loops import Contender
from qdeploy.export.tflite.generator import SIGNATURE, tflite_file
from qdeploy.quantize import IntegerModel
from qdeploy.runtime.reference import ReferenceModel

__all__ = ["Interpreted", "checked", "integer_file", "same_floats"]

TOLERANCE = 1e-3
"""Of float results, against onnxruntime's: both round sums in orders of their own, over hundreds of steps."""


class Interpreted:
    """A file and the feeds of one call of its signature.

    Args:
        content: the file.
        feeds: inputs and states by name.
    """

    def __init__(self, content: bytes, feeds: Mapping[str, NDArray[Any]]) -> None:
        self.content = content
        self.feeds = dict(feeds)
        self._runner = self._opened().get_signature_runner(SIGNATURE)

    def microseconds(self) -> float:
        """One call, per step."""
        return Contender.timed(self.call)

    def call(self) -> dict[str, NDArray[Any]]:
        """One call."""
        results: dict[str, NDArray[Any]] = self._runner(**self.feeds)
        return results

    def results(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """One call with other feeds of the same shapes."""
        results: dict[str, NDArray[Any]] = self._runner(**feeds)
        return results

    def invocation(self) -> Callable[[], None]:
        """The runtime alone, of a file with one input: what a call in C++ costs. The tensor holds the feeds already."""
        interpreter = self._opened()
        interpreter.allocate_tensors()
        ((name, detail),) = zip(self.feeds, interpreter.get_input_details(), strict=True)
        interpreter.set_tensor(detail["index"], self.feeds[name])
        invoke: Callable[[], None] = interpreter.invoke
        return invoke

    def _opened(self) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(model_content=self.content, num_threads=1)


def integer_file(integers: IntegerModel, time_axis: int | None, batch_axis: int) -> bytes:
    """``model.tflite`` of a quantized model, as an export writes it."""
    files = bundle_of(integers, time_axis, batch_axis)
    return tflite_file(files.model, files.manifest)


def checked(integers: IntegerModel, feeds: Mapping[str, NDArray[Any]], content: bytes) -> Interpreted:
    """A file of these integers; raises RuntimeError where LiteRT gives other bits than the reference."""
    made = Interpreted(content, feeds)
    found = made.call()
    for name, array in ReferenceModel(integers.model).run(dict(feeds)).outputs.items():
        if (found[name].reshape(-1) != array.reshape(-1)).any():
            message = f"LiteRT and the reference differ in {name}"
            raise RuntimeError(message)
    return made


def same_floats(found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Raises RuntimeError where LiteRT's float results are not those of the network that they stand for."""
    if not np.allclose(found.reshape(-1), expected.reshape(-1), rtol=TOLERANCE, atol=TOLERANCE):
        worst = float(np.abs(found.reshape(-1) - expected.reshape(-1)).max())
        message = f"LiteRT's float network differs from onnxruntime's by up to {worst}"
        raise RuntimeError(message)

"""Which float operator is lowered by which function; one file an operator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import onnx

from qdeploy.calibration import Calibration
from qdeploy.quantize.float_graph import LAYOUT_OPERATORS, FloatGraph
from qdeploy.quantize.integer_graph import IntegerGraph
from qdeploy.quantize.recipe import Recipe
from qdeploy.quantize.tensor_type import TensorType, activation_type, logits_type, state_type


@dataclass
class Context:
    """What a lowering reads and writes.

    Attributes:
        done: outputs of nodes that an earlier lowering took in (a ReLU behind a linear layer).
    """

    floats: FloatGraph
    integers: IntegerGraph
    calibration: Calibration
    recipe: Recipe
    done: set[str]

    def type_of(self, name: str) -> TensorType:
        """The integer type of an activation that was lowered before."""
        return self.integers.types[name]

    def output_type(self, name: str) -> TensorType:
        """The type that a layer's output gets: 16 bits where it leaves the network, else the recipe's activation.

        What a concatenation alone reads gets the range of its result, so that its operands have one type already.
        """
        name = self._concatenated(name)
        if self.leaves(name):
            return logits_type(self.calibration[name].low, self.calibration[name].high)
        low, high = self.calibration[name].bounds(self.recipe.range, self.recipe.percentile)
        if self._is_whitened(name):
            # What is whitened may be far smaller in one channel than in another.
            return state_type(max(-low, high) or 1.0, 16, signed=True)
        bend = self._bend(name)
        low, high = max(low, -bend), min(high, bend)
        return activation_type(low, high, self.recipe.activation_bits)

    def _is_whitened(self, name: str) -> bool:
        """Whether only 4 x 4 affine maps read ``name``, or what layout operators make of it."""
        readers = [] if name in self.floats.outputs else self.floats.readers(name)
        return bool(readers) and all(
            reader.op_type == "QuaternionAffine"
            or (reader.op_type in LAYOUT_OPERATORS and self._is_whitened(reader.output[0]))
            for reader in readers
        )

    def _bend(self, name: str) -> float:
        """Beyond this nobody distinguishes the values of ``name``: where all its readers' tables are flat."""
        readers = [] if name in self.floats.outputs else self.floats.readers(name)
        return max((FLAT_BEYOND.get(reader.op_type, math.inf) for reader in readers), default=math.inf)

    def leaves(self, name: str) -> bool:
        """Whether ``name``, or what operators that keep its type make of it, is an output of the network and nothing else."""
        if name in self.floats.outputs:
            return not self.floats.readers(name)
        readers = self.floats.readers(name)
        return bool(readers) and all(r.op_type in KEEPING_TYPE and self.leaves(r.output[0]) for r in readers)

    def _concatenated(self, name: str) -> str:
        """The result of the Concat, or of several behind each other, that alone reads ``name``; else ``name``."""
        while (joined := self._joined(name)) is not None:
            name = joined
        return name

    def _joined(self, name: str) -> str | None:
        """The result of the one Concat to which all readers of ``name`` lead, such as those of its chunks."""
        found = set()
        for reader in [] if name in self.floats.outputs else self.floats.readers(name):
            if reader.op_type == "Concat":
                found.add(reader.output[0])
            else:
                found.add(self._joined(reader.output[0]) if reader.op_type in KEEPING_TYPE else None)
        return found.pop() if len(found) == 1 else None


KEEPING_TYPE = (*LAYOUT_OPERATORS, "MaxPool", "GlobalMaxPool", "Pad")
"""Float operators whose result has the integer type of their first input."""

FLAT_BEYOND = {"Tanh": 3.5, "Sigmoid": 6.5}
"""Beyond this the function is within half a step of its end, so that neither its table nor its operand reaches further."""

Lowering = Callable[[Context, onnx.NodeProto], None]
LOWERINGS: dict[str, Lowering] = {}


def lowers(*operators: str) -> Callable[[Lowering], Lowering]:
    """Registers the lowering of float operators."""

    def register(lowering: Lowering) -> Lowering:
        for name in operators:
            LOWERINGS[name] = lowering
        return lowering

    return register

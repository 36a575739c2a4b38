"""Networks made by hand: several layers that read the same inputs, each of them an output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.runtime.manifest import InputSpec, Manifest, OutputSpec
from qdeploy.runtime.ops import DOMAIN
from qdeploy.runtime.ops.operator import OPERATORS
from qdeploy.runtime.reference import ReferenceModel

from .running import Library, of_model

Array = NDArray[Any]


@dataclass
class Network:
    """Nodes and constants, as they are added.

    Attributes:
        inputs: one sample of each graph input; types and shapes are theirs, behind an axis of samples.
    """

    inputs: Mapping[str, Array]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    def add(self, operator: str, arguments: dict[str, str | Array], *, output: bool = True, **attributes: Any) -> str:
        """A node with one result, whose name is given back; arrays become constants."""
        name = f"{operator.lower()}_{len(self.nodes)}"
        inputs = []
        for argument, value in arguments.items():
            if isinstance(value, str):
                inputs.append(value)
                continue
            inputs.append(f"{name}.{argument}")
            self.constants.append(onnx.numpy_helper.from_array(value, inputs[-1]))
        domain = DOMAIN if operator in OPERATORS else ""
        self.nodes.append(onnx.helper.make_node(operator, inputs, [name], name=name, domain=domain, **attributes))
        if output:
            self.outputs.append(name)
        return name

    def model(self) -> tuple[onnx.ModelProto, Manifest]:
        """The model and a manifest that says what C needs."""
        values = [_value(name, x.dtype, ["batch", *x.shape]) for name, x in self.inputs.items()]
        graph = onnx.helper.make_graph(self.nodes, "layers", values, [], self.constants)
        imports = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid(DOMAIN, 1)]
        for name in self.outputs:
            graph.output.append(onnx.ValueInfoProto(name=name))
        model = onnx.helper.make_model(graph, opset_imports=imports)
        found = ReferenceModel(model).run({name: x[None] for name, x in self.inputs.items()}).outputs
        del graph.output[:]
        for name, y in found.items():
            graph.output.append(_value(name, y.dtype, ["batch", *y.shape[1:]]))
        manifest = Manifest(
            schema=1,
            qdeploy="test",
            created_from={},
            recipe={},
            rounding="half_up",
            inputs=tuple(
                InputSpec(name, name, str(x.dtype), ("batch", *x.shape), 1.0, 0, batch_axis=0)
                for name, x in self.inputs.items()
            ),
            outputs=tuple(OutputSpec(name, str(y.dtype), ("batch", *y.shape[1:]), 1.0, 0) for name, y in found.items()),
            states=(),
            tensors={},
            layers=(),
            files={},
        )
        return onnx.helper.make_model(graph, opset_imports=imports), manifest

    def check(self, folder: Path, *, target: str, samples: int = 4) -> str:
        """Compiles it, and compares all outputs with the reference's: of its own inputs, of random ones and of extremes.

        Returns:
            the text of model.c.
        """
        model, manifest = self.model()
        library, reference = (
            Library(of_model(model, manifest), folder, target=target, flags=("-O0",)),
            ReferenceModel(model),
        )
        generator = np.random.default_rng(1)
        for sample in range(samples):
            feeds = {name: self._sample(x, sample, generator)[None] for name, x in self.inputs.items()}
            wanted, found = reference.run(feeds).outputs, library.run(feeds)
            assert wanted.keys() == found.keys()
            for name, array in wanted.items():
                assert (found[name] == array).all(), f"{name}, sample {sample}"
        return (folder / "model.c").read_text()

    @staticmethod
    def _sample(x: Array, sample: int, generator: np.random.Generator) -> Array:
        low, high = np.iinfo(x.dtype).min, np.iinfo(x.dtype).max
        if sample == 0:
            return x
        if sample == 1:
            return np.full_like(x, high)
        values = [low, high] if sample == 2 else list(range(low, high + 1))
        return generator.choice(np.array(values, x.dtype), x.shape)


def _value(name: str, dtype: np.dtype[Any], shape: list[Any]) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(dtype), shape)

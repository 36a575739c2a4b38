"""One question for every operator: do contract, bodies and onnxruntime give the same integers?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx.reference
from numpy.typing import NDArray

from qdeploy.export.onnx import attach_bodies, check_integer_only, inline
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.reference import ReferenceModel

ELEMENT_TYPES = {"uint8": 2, "int8": 3, "int16": 5, "int32": 6, "int64": 7}


def one_node(
    operator: str,
    activations: Mapping[str, NDArray[Any]],
    constants: Mapping[str, NDArray[Any]],
    inputs: list[str],
    outputs: Mapping[str, str],
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one ``qdeploy`` node; ``outputs`` has element types by name."""
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node(
        operator,
        inputs,
        [name if kind else "" for name, kind in outputs.items()],
        name="node",
        domain="qdeploy",
        **attributes,
    )
    rank = next(iter(activations.values())).ndim
    graph = onnx.helper.make_graph(
        [node],
        "test",
        [
            value(name, ELEMENT_TYPES[array.dtype.name], [f"{name}_{axis}" for axis in range(array.ndim)])
            for name, array in activations.items()
        ],
        [
            value(
                name, ELEMENT_TYPES[kind], [f"{name}_{axis}" for axis in range(2 if name in ("y_h", "y_c") else rank)]
            )
            for name, kind in outputs.items()
            if kind
        ],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("qdeploy", 1)]
    return onnx.helper.make_model(graph, opset_imports=opsets)


def agreed(
    model: onnx.ModelProto,
    feeds: Mapping[str, NDArray[Any]],
    *,
    onnx_reference: bool = False,
    inlined: bool = False,
    qlinear: bool = False,
) -> dict[str, NDArray[Any]]:
    """The reference's outputs, after every other voice gave the same values, types and shapes."""
    complete = attach_bodies(model)
    onnx.checker.check_model(complete, full_check=True)
    check_integer_only(complete, qlinear=qlinear)
    expected = ReferenceModel(complete).run(feeds).outputs
    voices = {
        "bodies": lambda: open_engine("bodies", complete).run(feeds),
        "onnxruntime, optimized": lambda: open_engine("onnxruntime", complete).run(feeds),
        "onnxruntime, plain": lambda: open_engine("onnxruntime", complete, optimize=False).run(feeds),
    }
    if inlined:
        voices["onnxruntime, inlined"] = lambda: open_engine("onnxruntime", inline(complete)).run(feeds)
    if onnx_reference:
        voices["onnx.reference"] = lambda: dict(
            zip(
                [output.name for output in complete.graph.output],
                onnx.reference.ReferenceEvaluator(inline(complete)).run(None, dict(feeds)),
                strict=True,
            )
        )
    for voice, run in voices.items():
        found = run()
        for name, array in expected.items():
            assert found[name].dtype == array.dtype, f"{voice}, {name}: {found[name].dtype} instead of {array.dtype}"
            assert found[name].shape == array.shape, f"{voice}, {name}: {found[name].shape} instead of {array.shape}"
            differing = np.argwhere(found[name] != array)
            assert not len(differing), f"{voice}, {name}: {len(differing)} differ, first at {differing[0]}"
    return expected

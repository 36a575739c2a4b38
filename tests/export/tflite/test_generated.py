"""Generated .tflite files against the reference: every golden bundle whose operators they have, in every resolver."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from qdeploy.export.onnx.integer_only import BORDERS
from qdeploy.export.tflite.emitter import emitters
from qdeploy.export.tflite.generator import SIGNATURE, STEP, tflite_file
from qdeploy.export.tflite.schema import METADATA
from qdeploy.litert_claims import kernel_uses
from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.engines.litert import RESOLVERS, LitertEngine, interpreter_module
from qdeploy.runtime.litert_interpreter import version
from qdeploy.runtime.litert_rules import claim, processor
from qdeploy.runtime.ops import DOMAIN, OPERATORS, WEIGHT_OPERATORS, operator_name
from qdeploy.runtime.reference import STANDARD, ReferenceModel

pytestmark = pytest.mark.litert

FOLDER = Path(__file__).parents[2] / "golden" / "bundles"
BUNDLES = sorted(path.stem for path in FOLDER.glob("*.zip"))
ALIASES = {"Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Concat", "Shape", "ConstantOfShape"}


def has_a_form(name: str) -> bool:
    """Whether a bundle's integers reach its borders, and all its nodes are operators that have a form for LiteRT."""
    nodes = read_bundle(FOLDER / f"{name}.zip").model.graph.node
    operators = {operator_name(node.op_type) for node in nodes if node.domain == DOMAIN}
    standard = {node.op_type for node in nodes if node.domain != DOMAIN}
    known = {*emitters(), *WEIGHT_OPERATORS}
    return operators <= known and standard <= (STANDARD.keys() - BORDERS) & {*known, *ALIASES}


@pytest.mark.parametrize("name", [name for name in BUNDLES if has_a_form(name)])
def test_every_golden_bundle_gives_the_references_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = read_bundle(FOLDER / f"{name}.zip")
    content = tflite_file(files.model, files.manifest)
    monkeypatch.setattr("qdeploy.tflite_file.trusted_tflite", lambda _: content)
    reference = ReferenceModel(files.model)
    compared = 0
    uses = kernel_uses(files.model)
    package, installed = version().split()
    claimed = [name for name in RESOLVERS if claim(uses, package, installed, name, processor()) is None]
    assert uses or claimed == list(RESOLVERS)
    for resolver in claimed:
        engine = LitertEngine(files, resolver=resolver)
        for vector in files.vectors().values():
            feeds = dict(vector.inputs)
            batch = next(feeds[s.name].shape[s.batch_axis] for s in files.manifest.inputs if s.batch_axis is not None)
            for state in files.manifest.states:
                shape = [batch if d == "batch" else d for d in state.shape]
                feeds.setdefault(state.input, np.full(shape, state.zero_point, state.dtype))
            found = engine.run(feeds)
            for key, array in reference.run(feeds).outputs.items():
                assert found[key].dtype == array.dtype
                assert (found[key] == array).all(), f"{key}, {vector.name}, {resolver}"
                compared += array.size
    assert compared > 0 or not claimed


def test_the_step_signature_goes_on_from_step_to_step() -> None:
    Interpreter = interpreter_module().Interpreter
    files = read_bundle(FOLDER / "rnn-relu-state12.zip")
    interpreter = Interpreter(model_content=tflite_file(files.model, files.manifest))
    assert set(interpreter.get_signature_list()) == {SIGNATURE, STEP}
    step, whole = interpreter.get_signature_runner(STEP), interpreter.get_signature_runner(SIGNATURE)
    (spec,), (state,) = files.manifest.inputs, files.manifest.states
    feeds = next(iter(files.vectors().values())).inputs
    x = np.take(feeds[spec.name], [0], spec.batch_axis)
    zero = np.full([1 if isinstance(d, str) else d for d in state.shape], state.zero_point, state.dtype)
    wanted = whole(**{spec.name: x, state.input: zero})
    held = zero
    for number in range(x.shape[spec.time_axis or 0]):
        found = step(**{spec.name: np.take(x, [number], spec.time_axis), state.input: held})
        held = np.array(found[state.output])
    assert (held == wanted[state.output]).all()
    assert (found[files.manifest.outputs[0].name] == wanted[files.manifest.outputs[0].name]).all()


@pytest.mark.needs("ai_edge_litert")
def test_a_loop_is_one_loop_and_the_file_says_where_it_comes_from() -> None:
    from ai_edge_litert import schema_py_generated as schema

    files = read_bundle(FOLDER / "rnn-relu-state12.zip")
    content = tflite_file(files.model, files.manifest)
    assert content == tflite_file(files.model, files.manifest)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    codes = [code.builtinCode for code in model.operatorCodes]
    loops = [
        o for graph in model.subgraphs for o in graph.operators if codes[o.opcodeIndex] == schema.BuiltinOperator.WHILE
    ]
    assert len(loops) == 1
    (entry,) = model.metadata
    said = json.loads(bytes(model.buffers[entry.buffer].data))
    assert entry.name.decode() == METADATA
    assert said["onnx_sha256"] == files.manifest.files["model.onnx"].sha256
    assert all(t.type != schema.TensorType.FLOAT32 for graph in model.subgraphs for t in graph.tensors)


def test_every_operator_has_a_form() -> None:
    assert set(OPERATORS) - set(WEIGHT_OPERATORS) - set(emitters()) == set()

"""What users meet of a file: its signatures, names, scales, loops, and sequences of any length, whole or step by step."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import qdeploy
from qdeploy.export.sample_graph import WHOLE_SEQUENCE
from qdeploy.export.tflite.generator import tflite_file
from qdeploy.export.tflite.reader import SignatureEntry, TfliteContents, check_integer_only, read_tflite
from qdeploy.export.tflite.schema import METADATA
from qdeploy.export.tflite.traps import check_traps
from qdeploy.runtime.bundle import BundleFiles, read_bundle
from qdeploy.runtime.litert_interpreter import SIGNATURE, STEP, Border, LitertInterpreter, interpreter_module
from qdeploy.runtime.manifest import Manifest
from qdeploy.runtime.ops import RECURRENT, operator_name
from qdeploy.runtime.reference import ReferenceModel

from .test_generated import BUNDLES, FOLDER, has_a_form

pytestmark = [pytest.mark.litert, pytest.mark.needs("flatbuffers")]

FORMED = [name for name in BUNDLES if has_a_form(name)]
MOST_STEPS = 4
#: Layers that are no loop of the file: an operator of the runtime has it inside.
INSIDE = "UNIDIRECTIONAL_SEQUENCE_LSTM"


@cache
def golden(name: str) -> tuple[BundleFiles, bytes, TfliteContents]:
    """A bundle, its file, and what the file says."""
    files = read_bundle(FOLDER / f"{name}.zip")
    content = tflite_file(files.model, files.manifest)
    return files, content, read_tflite(content, name)


def feeds_of(files: BundleFiles, steps: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random integers of one sample with so many steps, from the zero states."""
    rng = np.random.default_rng(seed)

    def shape(dimensions: tuple[int | str, ...]) -> list[int]:
        return [{"batch": 1, "time": steps}.get(size, 1) if isinstance(size, str) else size for size in dimensions]

    feeds: dict[str, np.ndarray] = {}
    for spec in files.manifest.inputs:
        limits = np.iinfo(spec.dtype)
        top = limits.max if spec.scale is not None else (spec.vocabulary_size or 1) - 1
        low = limits.min if spec.scale is not None else 0
        feeds[spec.name] = rng.integers(low, top, shape(spec.shape), spec.dtype, endpoint=True)
    for state in files.manifest.states:
        feeds[state.input] = np.full(shape(state.shape), state.zero_point, state.dtype)
    return feeds


def borders(manifest: Manifest) -> tuple[dict[str, Any], dict[str, Any]]:
    """What goes in and what comes out by name, as the manifest has it."""
    given = {spec.name: spec for spec in manifest.inputs} | {spec.input: spec for spec in manifest.states}
    got = {spec.name: spec for spec in manifest.outputs} | {spec.output: spec for spec in manifest.states}
    return given, got


def signature(contents: TfliteContents, key: str) -> SignatureEntry:
    return next(entry for entry in contents.signatures if entry.key == key)


@pytest.mark.parametrize("name", FORMED)
def test_names_types_scales_and_loops_are_the_manifests(name: str) -> None:
    files, content, contents = golden(name)
    manifest = files.manifest
    check_integer_only(contents, name)
    check_traps(content, contents, name)
    timed = any(spec.time_axis is not None for spec in manifest.inputs)
    whole = any(operator_name(node.op_type) in WHOLE_SEQUENCE for node in files.model.graph.node)
    keys = [SIGNATURE, STEP] if timed and not whole and not manifest.whole_sequences else [SIGNATURE]
    assert [entry.key for entry in contents.signatures] == keys
    assert contents.origin() == {"qdeploy": manifest.qdeploy, "onnx_sha256": manifest.files["model.onnx"].sha256}
    layers = [node for node in files.model.graph.node if operator_name(node.op_type) in RECURRENT]
    for entry in contents.signatures:
        graph = contents.subgraphs[entry.subgraph]
        for found, wanted in zip((entry.inputs, entry.outputs), borders(manifest), strict=True):
            assert found.keys() == wanted.keys()
            for key, index in found.items():
                tensor, spec = graph.tensors[index], wanted[key]
                assert (tensor.name, tensor.dtype) == (key, spec.dtype)
                sizes = {"batch": 1, "time": 1 if entry.key == STEP else -1}
                assert tensor.shape == tuple(sizes[d] if isinstance(d, str) else d for d in spec.shape)
                assert tensor.scales == (() if spec.scale is None else (float(np.float32(spec.scale)),))
                assert spec.scale is None or tensor.zero_points in {(spec.zero_point,), ()}
        kinds = [operator.name for operator in graph.operators]
        loops = 0 if entry.key == STEP else len(layers) - kinds.count(INSIDE)
        assert kinds.count("WHILE") == loops

    if STEP in keys:
        compare_steps(name)


def compare_steps(name: str) -> None:
    """Every state after every step is that of the whole sequence and the reference, also as a sequence of one step."""
    files, content, _ = golden(name)
    feeds = feeds_of(files, MOST_STEPS)
    times = {spec.name: spec.time_axis for spec in files.manifest.inputs if spec.time_axis is not None}
    interpreter, reference = LitertInterpreter(content, Border.of(files.manifest)), ReferenceModel(files.model)
    whole = interpreter_module().Interpreter(model_content=content).get_signature_runner(SIGNATURE)
    states = {spec.input: feeds[spec.input] for spec in files.manifest.states}
    for step in range(MOST_STEPS):
        piece = {key: np.take(feeds[key], [step], axis) for key, axis in times.items()} | states
        wanted, found, also = reference.run(piece).outputs, interpreter.run(piece), whole(**piece)
        for key, array in wanted.items():
            assert (found[key] == array).all(), f"step {step}: {key}"
            assert (also[key] == array).all(), f"step {step} as a sequence: {key}"
        states = {spec.input: found[spec.output] for spec in files.manifest.states}
    last = interpreter.run(feeds)
    assert all((last[spec.output] == states[spec.input]).all() for spec in files.manifest.states)


@pytest.mark.parametrize("name", ["mlp", "rnn-relu-state12", "gru-state8", "embedding-gru"])
def test_the_usual_code_reads_scale_and_zero_point(name: str) -> None:
    files, content, _ = golden(name)
    interpreter = interpreter_module().Interpreter(model_content=content)
    interpreter.allocate_tensors()
    details = interpreter.get_input_details() + interpreter.get_output_details()
    found = {entry["name"]: (entry["dtype"], entry["quantization"]) for entry in details}
    given, got = borders(files.manifest)
    for key, spec in {**given, **got}.items():
        scale = 0.0 if spec.scale is None else float(np.float32(spec.scale))
        assert found[key] == (np.dtype(spec.dtype).type, (scale, 0 if spec.scale is None else spec.zero_point))
    for entry in interpreter.get_signature_runner(SIGNATURE).get_input_details().values():
        assert entry["quantization"] == found[entry["name"]][1]


_TWO = """<ir_version: 8, opset_import: ["": 17]>
    two (float[batch, 4] a, float[batch, 3] b) => (float[batch, 2] y, float[batch, 2] z) {
        p = MatMul (a, w1)
        q = MatMul (b, w2)
        y = Add (p, q)
        z = Relu (p)
    }"""


@pytest.mark.needs("torch")
def test_several_inputs_and_outputs_by_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(_TWO)
    for name, shape in {"w1": (4, 2), "w2": (3, 2)}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    (tmp_path / "two.onnx").write_bytes(model.SerializeToString())
    samples = {"a": rng.random((9, 4)).astype(np.float32), "b": rng.random((9, 3)).astype(np.float32)}
    bundle = qdeploy.export_model(
        tmp_path / "two.onnx", tmp_path / "out", calibration=samples, formats=("onnx", "tflite")
    )
    found, wanted = (bundle.run(samples, runtime=runtime, raw=True) for runtime in ("litert", "numpy"))
    assert found.keys() == wanted.keys() == {"y", "z"}
    assert all((found[key] == wanted[key]).all() for key in wanted)


@pytest.mark.parametrize("name", ["rnn-relu-every", "lstm-two-layers", "both-directions-lstm"])
def test_sequences_of_other_lengths_back_and_forth(name: str) -> None:
    files, content, _ = golden(name)
    interpreter, reference = LitertInterpreter(content, Border.of(files.manifest)), ReferenceModel(files.model)
    for number, steps in enumerate((5, 1, 9, 2, 1, 5, 31)):
        feeds = feeds_of(files, steps, seed=number)
        found = interpreter.run(feeds)
        for key, array in reference.run(feeds).outputs.items():
            assert found[key].shape == array.shape
            assert (found[key] == array).all(), f"{steps} steps: {key}"


def test_784_steps_are_one_loop_made_in_less_than_five_seconds() -> None:
    """Making the file knows nothing of the number of steps; running it does."""
    files = golden("rnn-relu-state12")[0]
    started = time.perf_counter()
    content = tflite_file(files.model, files.manifest)
    assert time.perf_counter() - started < 5
    found = LitertInterpreter(content, Border.of(files.manifest)).run(feeds_of(files, 784))
    wanted = ReferenceModel(files.model).run(feeds_of(files, 784)).outputs
    assert all((found[key] == array).all() for key, array in wanted.items())


class TestSessions:
    """Streams through the engine, of networks with a state."""

    @pytest.mark.parametrize("name", ["rnn-relu-every", "gru-state8", "lstm-two-layers", "fast-grnn-state12"])
    @pytest.mark.parametrize("resolver", ["default", "reference"])
    def test_any_cut_of_a_batch_gives_the_same(self, name: str, resolver: str) -> None:
        bundle = qdeploy.load(FOLDER / f"{name}.zip")
        (spec,) = bundle.manifest.inputs
        assert spec.time_axis is not None
        assert spec.batch_axis is not None
        one = [feeds_of(bundle.files, 7, seed)[spec.name] for seed in range(3)]
        x = np.concatenate(one, spec.batch_axis)
        wanted = bundle.session(runtime="numpy", raw=True)
        whole = wanted.run(x)
        session = bundle.session(runtime="litert", raw=True, litert=qdeploy.LitertOptions(resolver))
        pieces = [session.run(piece) for piece in np.split(x, [1, 2, 5], spec.time_axis)]
        assert all((session.state[key] == array).all() for key, array in wanted.state.items())
        for output in bundle.manifest.outputs:
            if output.time_axis is None:
                assert (pieces[-1][output.name] == whole[output.name]).all()
            else:
                joined = np.concatenate([piece[output.name] for piece in pieces], output.time_axis)
                assert (joined == whole[output.name]).all()

    def test_a_saved_state_goes_on_in_another_runtime(self, tmp_path: Path) -> None:
        bundle = qdeploy.load(FOLDER / "gru-state8.zip")
        (spec,) = bundle.manifest.inputs
        first, second = (feeds_of(bundle.files, 4, seed)[spec.name] for seed in (1, 2))
        litert, numpy = bundle.session(runtime="litert", raw=True), bundle.session(runtime="numpy", raw=True)
        litert.run(first)
        litert.save_state(tmp_path / "state.npz")
        numpy.load_state(tmp_path / "state.npz")
        found, wanted = litert.run(second), numpy.run(second)
        assert all((found[key] == array).all() for key, array in wanted.items())


def test_metadata_are_a_json_of_the_version_and_the_models_sha256() -> None:
    files, _, contents = golden("mlp")
    said = json.loads(contents.metadata[METADATA])
    assert said == {
        "qdeploy": files.manifest.qdeploy,
        "onnx_sha256": hashlib.sha256(_member(files.path, "model.onnx")).hexdigest(),
    }


def _member(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(next(member for member in archive.namelist() if member.endswith(name)))

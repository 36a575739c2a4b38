"""The studies: their figures are those of the networks, their errors say what is missing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest

from qdeploy.capture.session import FloatSession
from qdeploy.quantize import load_recipe, quantize
from qdeploy.quantize.grid import on_grid, recognise_grid
from qdeploy.quantize.orthogonality import Orthogonality
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.runtime.numeric import dequantize
from qdeploy.runtime.reference import ReferenceModel
from qdeploy.studies import ptq, state_bits, weight_bits
from qdeploy.studies.subject import Subject, integer_feeds, loss_of

HIDDEN, STEPS, SAMPLES, CLASSES = 12, 16, 40, 3


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A float recurrent network as an .onnx file, and samples whose labels it mostly gives."""
    folder = tmp_path_factory.mktemp("study")
    generator = np.random.default_rng(0)
    model = onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : 18]>
        g (float[{STEPS}, batch, 1] x) => (float[batch, {CLASSES}] logits)
        {{
            states, last = RNN <hidden_size = {HIDDEN}, activations = ["Relu"]> (x, w, r, b)
            axes = Constant <value = int64[1] {{0}}> ()
            state = Squeeze (last, axes)
            logits = Gemm <transB = 1> (state, v, c)
        }}""")
    weights = {
        "w": generator.uniform(-0.5, 0.5, (1, HIDDEN, 1)),
        "r": np.linalg.qr(generator.standard_normal((HIDDEN, HIDDEN)))[0][None],
        "b": generator.uniform(0, 0.1, (1, 2 * HIDDEN)),
        "v": generator.standard_normal((CLASSES, HIDDEN)),
        "c": generator.standard_normal(CLASSES),
    }
    for name, values in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
    onnx.save(model, folder / "net.onnx")
    x = generator.integers(0, 256, (SAMPLES, STEPS, 1)).astype(np.float32) / 256
    logits = FloatSession(model).run({"x": x.transpose(1, 0, 2)})["logits"]
    labels = logits.argmax(axis=-1)
    labels[:4] = (labels[:4] + 1) % CLASSES
    np.savez(folder / "data.npz", x=x, y=labels)
    return folder / "net.onnx", folder / "data.npz"


def test_cross_entropy_and_accuracy() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]))
    found = loss_of(logits, np.array([0, 2]))
    assert found.cross_entropy == pytest.approx(-(math.log(0.5) + math.log(0.1)) / 2)
    assert (found.accuracy, found.answers) == (0.5, 2)
    # Far apart logits overflow nothing.
    assert loss_of(np.array([[1000.0, -1000.0]]), np.array([1])).cross_entropy == pytest.approx(2000)
    with pytest.raises(InvalidInputError, match="labels have shape"):
        loss_of(logits, np.array([0]))


@pytest.mark.needs("matplotlib")
def test_state_bits(network: tuple[Path, Path], tmp_path: Path) -> None:
    report = state_bits.run(network[0], data=str(network[1]), bits=(6, 12), rules=("minmax", "mse"))
    assert (report.samples, report.steps, report.state_samples) == (SAMPLES, STEPS, SAMPLES)
    assert report.float_loss.accuracy == 0.9
    assert report.memoryless is None
    assert [(row.bits, row.rule) for row in report.rows] == [(6, "minmax"), (6, "mse"), (12, "minmax"), (12, "mse")]
    for row in report.rows:
        assert row.differing == 0
        assert row.compared > STEPS * HIDDEN
        assert row.ratio == pytest.approx(row.cross_entropy / report.float_loss.cross_entropy)
        assert len(row.state_error) == STEPS
    assert np.mean(report.rows[0].state_error) > 2 * np.mean(report.rows[2].state_error)
    assert report.rows[0].saturated_share == 0 < report.rows[1].saturated_share
    assert len(report.lines()) == 6 + len(report.rows) + 1
    table, picture = state_bits.write(report, tmp_path / "out")
    written = json.loads(table.read_text(encoding="utf-8"))
    assert written["rows"][0]["state_error"] == list(report.rows[0].state_error)
    assert written["authors"]["12"] == 1.07e-4
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_states_error_is_that_of_the_reference(network: tuple[Path, Path]) -> None:
    """By the definition: the NumPy reference's states against those of the float file itself."""
    report = state_bits.run(network[0], data=str(network[1]), bits=(8,), rules=("minmax",))
    subject = Subject.load(network[0], str(network[1]), None)
    integers = quantize(subject.captured.model, subject.statistics, load_recipe("default").changed(state_bits=8))
    node = next(node for node in integers.model.graph.node if node.op_type == "RNN")
    node.output[0] = "every_state"
    run = ReferenceModel(integers.model).run(integer_feeds(subject.captured, integers, subject.feeds()), keep=True)
    state = integers.graph.states[0].type
    real = dequantize(run.tensors["every_state"], state.scale, state.zero_point)
    float_states = FloatSession(exposed(network[0])).run(subject.feeds())["states"]
    expected = np.abs(real - float_states[:, 0]).mean(axis=(1, 2))
    assert np.allclose(report.rows[0].state_error, expected, rtol=1e-4, atol=1e-6)


def exposed(path: Path) -> onnx.ModelProto:
    model = onnx.load(path)
    model.graph.output.append(onnx.helper.make_tensor_value_info("states", onnx.TensorProto.FLOAT, None))
    return model


def test_quantization_after_training(network: tuple[Path, Path], tmp_path: Path) -> None:
    report = ptq.run(network[0], data=str(network[1]), bits=(3, 8), trained=[gridded(network[0], tmp_path, 5)])
    assert report.recurrent.frobenius < 1e-5
    assert [(row.bits, row.how) for row in report.rows] == [
        (3, "q_k"),
        (3, "recipe"),
        (5, "trained"),
        (8, "q_k"),
        (8, "recipe"),
    ]
    weight = onnx.numpy_helper.to_array(next(t for t in onnx.load(network[0]).graph.initializer if t.name == "r"))[0]
    rows = {(row.bits, row.how): row for row in report.rows}
    for bits, how, k in ((3, "q_k", 3), (5, "trained", 5), (8, "q_k", 8)):
        expected = Orthogonality.of(on_grid(weight, k))
        assert rows[bits, how].recurrent.frobenius == pytest.approx(expected.frobenius, rel=1e-5)
        assert rows[bits, how].recurrent.deviation == pytest.approx(expected.deviation, rel=1e-4)
    assert rows[8, "q_k"].recurrent.frobenius < 0.2 * rows[3, "q_k"].recurrent.frobenius
    assert all(row.differing == 0 < row.compared for row in report.rows)
    (table,) = ptq.write(report, tmp_path / "out")
    assert json.loads(table.read_text(encoding="utf-8"))["rows"][0]["recurrent"]["deviation"] > 0
    assert any("trained: " in line for line in report.lines())


def gridded(path: Path, folder: Path, bits: int) -> Path:
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name in ("w", "r", "v"):
            array = on_grid(onnx.numpy_helper.to_array(tensor), bits)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    onnx.save(model, folder / "trained.onnx")
    return folder / "trained.onnx"


def test_what_a_study_cannot_use(network: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = network
    np.savez(tmp_path / "unlabelled.npz", x=np.load(data)["x"])
    with pytest.raises(InvalidInputError, match="no labels"):
        state_bits.run(model, data=str(tmp_path / "unlabelled.npz"))
    with pytest.raises(InvalidInputError, match="names no data set; give one with --data"):
        state_bits.run(model)
    with pytest.raises(InvalidInputError, match="expected some of minmax, percentile, mse, power-of-two"):
        state_bits.run(model, data=str(data), rules=("median",))
    with pytest.raises(InvalidInputError, match="lies on a quantization grid already"):
        ptq.run(gridded(model, tmp_path, 4), data=str(data))
    with pytest.raises(InvalidInputError, match=r"net.onnx: its weights lie on no q_k grid"):
        ptq.run(model, data=str(data), bits=(8,), trained=[model])
    with pytest.raises(InvalidInputError, match="weight bits"):
        ptq.run(model, data=str(data), bits=(1,))


@pytest.mark.parametrize("bits", range(1, 9))
def test_the_grid_is_that_of_training(bits: int) -> None:
    torch = pytest.importorskip("torch")
    from qdeploy.models import quantize_weight

    weight = np.random.default_rng(bits).standard_normal((30, 20)).astype(np.float32)
    ours = on_grid(weight, bits)
    assert (ours == quantize_weight(torch.from_numpy(weight), bits).numpy()).all()
    found = recognise_grid(ours)
    assert found is not None
    assert found.bits <= max(2, bits)
    assert (on_grid(np.zeros((2, 2), np.float32), bits) == 0).all()


def test_orthogonality() -> None:
    found = Orthogonality.of(np.diag([1.0, 1.2, 0.5]))
    assert (found.smallest, found.largest, found.deviation) == pytest.approx((0.5, 1.2, 0.5))
    assert found.spectral == pytest.approx(0.75)
    assert found.frobenius == pytest.approx(math.hypot(0.44, 0.75))
    weight = np.random.default_rng(0).standard_normal((8, 8))
    assert Orthogonality.of(weight).frobenius == pytest.approx(np.linalg.norm(weight @ weight.T - np.eye(8)))


def test_the_copy_task_keeps_its_loss_in_twelve_bits() -> None:
    """At most 1.3 times the float network's cross-entropy, on a hundred of the test's sequences."""
    pytest.importorskip("torch")
    report = state_bits.run("qornn-copy", bits=(12,), rules=("minmax",), limit=100)
    assert report.memoryless == pytest.approx(10 * math.log(8) / 120)
    assert report.float_loss.cross_entropy < 0.01 * report.memoryless
    assert report.rows[0].ratio <= 1.3
    assert report.rows[0].differing == 0


def test_weight_bits_trains_each_and_goes_on(tmp_path):
    seen = []
    report = weight_bits.run(
        "qornn-digits",
        tmp_path,
        twin="ornn-digits",
        bits=(3, 8),
        methods=("bjorck", "projunn-t"),
        epochs=1,
        limit=60,
        progress=lambda *now: seen.append(now),
    )
    names = [f"qornn-digits-{method}-k{k}" for method in ("bjorck", "projunn-t") for k in (3, 8)]
    trained = [row for row in report.table.rows if row.how == "trained"]
    assert sorted(Path(row.name).stem for row in trained) == sorted(names)
    assert {Path(row.name).stem: row.bits for row in trained} == dict(zip(names, [3, 8, 3, 8], strict=True))
    assert all(row.differing == 0 < row.compared for row in report.table.rows)
    # projUNN keeps the weight orthogonal; three bits do not.
    deviation = {Path(row.name).stem: row.recurrent.frobenius for row in trained}
    assert deviation["qornn-digits-projunn-t-k8"] < 0.1
    assert ("training", 4, 4) in seen
    picture, table = (tmp_path / f"weight_bits.{kind}" for kind in ("png", "json"))
    assert weight_bits.write(report, tmp_path) == [table, picture]
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert json.loads(table.read_text())["methods"] == ["bjorck", "projunn-t"]
    # A second run takes the trainings as they are.
    before = {name: (tmp_path / name / f"{name}.safetensors").stat().st_mtime_ns for name in names}
    again = weight_bits.run(
        "qornn-digits", tmp_path, twin="ornn-digits", bits=(3, 8), methods=("bjorck", "projunn-t"), epochs=1, limit=60
    )
    assert again.lines() == report.lines()
    assert before == {name: (tmp_path / name / f"{name}.safetensors").stat().st_mtime_ns for name in names}


@pytest.mark.parametrize(
    ("config", "given", "message"),
    [
        ("lenet300-digits", {}, "trains lenet-300-100; the study is about orthogonal-classifier"),
        ("qornn-digits", {"bits": (9,)}, "expected numbers of 2 to 8"),
        ("qornn-digits", {"methods": ("shaped",)}, "can be trained by bjorck, projunn-d, projunn-t"),
        ("qornn-smnist", {"methods": ("bjorck",)}, "can be trained by shaped"),
        ("qornn-digits", {}, "name its float twin with --twin"),
    ],
)
def test_weight_bits_refuses(tmp_path, config, given, message):
    with pytest.raises(InvalidInputError, match=message):
        weight_bits.run(config, tmp_path, **given)
    assert not list(tmp_path.iterdir())

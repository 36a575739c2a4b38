"""LSTM8x8x16: the reference, the body, onnxruntime and the operator that LiteRT has built in give the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.gemmlowp import logistic, tanh
from qdeploy.runtime.litert_interpreter import RESOLVERS, interpreter_module
from qdeploy.runtime.manifest import InputSpec, Manifest, OutputSpec, StateSpec
from qdeploy.runtime.reference import ReferenceModel

from .agreement import agreed, one_node

INT16 = np.arange(-(2**15), 2**15).astype(np.int16)


def layer(
    *, hidden: int = 11, inputs: int = 3, seed: int = 0, every_step: bool = True, **given_attributes: int
) -> tuple[onnx.ModelProto, dict[str, NDArray[Any]], dict[str, int]]:
    """A model of one layer whose gates are neither all open nor all closed, its constants and its attributes."""
    generator = np.random.default_rng(seed)
    constants = {
        "input_weight": generator.integers(-127, 128, (4 * hidden, inputs)).astype(np.int8),
        "recurrent_weight": generator.integers(-127, 128, (4 * hidden, hidden)).astype(np.int8),
        "bias": generator.integers(-20000, 20000, 4 * hidden).astype(np.int32),
        "input_multiplier": generator.integers(2**20, 2**24, 4).astype(np.int32),
        "recurrent_multiplier": generator.integers(2**20, 2**24, 4).astype(np.int32),
    }
    attributes = {
        "x_zero_point": 77,
        "input_shift": 25,
        "recurrent_shift": 26,
        "cell_integer_bits": 2,
        "output_shift": 23,
    }
    attributes.update(given_attributes)
    return model_of(constants, attributes, every_step=every_step), constants, attributes


def model_of(
    constants: dict[str, NDArray[Any]], attributes: dict[str, int], *, every_step: bool = True
) -> onnx.ModelProto:
    hidden, inputs = constants["recurrent_weight"].shape[1], constants["input_weight"].shape[1]
    activations = {
        "x": np.zeros((1, 1, inputs), np.uint8),
        "h0": np.zeros((1, hidden), np.uint8),
        "c0": np.zeros((1, hidden), np.int16),
    }
    outputs = {"y": "uint8" if every_step else "", "y_h": "uint8", "y_c": "int16"}
    names = [*activations, *constants]
    return one_node("LSTM8x8x16", activations, constants, names, outputs, **attributes)


def feeds(model: onnx.ModelProto, *, steps: int = 5, batch: int = 2, seed: int = 0) -> dict[str, NDArray[Any]]:
    generator = np.random.default_rng(seed)
    constants = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    hidden, inputs = constants["recurrent_weight"][1], constants["input_weight"][1]
    return {
        "x": generator.integers(0, 256, (steps, batch, inputs)).astype(np.uint8),
        "h0": generator.integers(0, 256, (batch, hidden)).astype(np.uint8),
        "c0": generator.integers(-(2**15), 2**15, (batch, hidden)).astype(np.int16),
    }


def litert_file(model: onnx.ModelProto) -> bytes:
    """The layer as a file for LiteRT, with its states as inputs and outputs."""
    from qdeploy.export.tflite.generator import tflite_file

    constants = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    hidden, inputs = constants["recurrent_weight"][1], constants["input_weight"][1]
    manifest = Manifest(
        schema=1,
        qdeploy="test",
        created_from={},
        recipe={},
        rounding="half_up",
        inputs=(
            InputSpec(
                name="x",
                float_name="x",
                dtype="uint8",
                shape=("time", "batch", inputs),
                scale=0.01,
                zero_point=77,
                time_axis=0,
                batch_axis=1,
            ),
        ),
        outputs=(OutputSpec("y", "uint8", ("time", "batch", hidden), 2.0**-7, 128),),
        states=(
            StateSpec("h0", "y_h", "uint8", ("batch", hidden), 2.0**-7, 128, 8),
            StateSpec("c0", "y_c", "int16", ("batch", hidden), 2.0**-12, 0, 16),
        ),
        tensors={},
        layers=(),
        files={},
    )
    named = onnx.ModelProto()
    named.CopyFrom(model)
    for value in (*named.graph.input, *named.graph.output):
        sizes = {"x": ("time", "batch", inputs), "y": ("time", "batch", hidden)}.get(value.name, ("batch", hidden))
        for dim, size in zip(value.type.tensor_type.shape.dim, sizes, strict=True):
            dim.Clear()
            if isinstance(size, str):
                dim.dim_param = size
            else:
                dim.dim_value = size
    return tflite_file(named, manifest)


def in_litert(content: bytes, resolver: str, signature: str = "serving_default") -> Any:
    """A function of feeds."""
    module = interpreter_module()
    kernels = getattr(module.OpResolverType, RESOLVERS[resolver])
    interpreter = module.Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kernels)
    runner = interpreter.get_signature_runner(signature)
    runner.interpreter = interpreter
    return runner


@pytest.mark.parametrize("cell_integer_bits", [0, 6])
def test_body_gives_the_references_bits(cell_integer_bits: int) -> None:
    every_step = cell_integer_bits == 0
    model, _, _ = layer(cell_integer_bits=cell_integer_bits, every_step=every_step, seed=cell_integer_bits)
    found = agreed(model, feeds(model), onnx_reference=every_step, inlined=not every_step)
    assert found["y_h"].min() < 100
    assert found["y_h"].max() > 156


def test_calls_can_be_cut_anywhere_and_batches_are_their_sequences() -> None:
    model, _, _ = layer()
    reference, given_feeds = ReferenceModel(model), feeds(model, steps=6)
    whole = reference.run(given_feeds).outputs
    first = reference.run({**given_feeds, "x": given_feeds["x"][:2]}).outputs
    second = reference.run({"x": given_feeds["x"][2:], "h0": first["y_h"], "c0": first["y_c"]}).outputs
    assert (np.concatenate([first["y"], second["y"]]) == whole["y"]).all()
    assert (second["y_c"] == whole["y_c"]).all()
    alone = reference.run({name: np.take(array, [1], -2) for name, array in given_feeds.items()}).outputs
    assert (alone["y"][:, 0] == whole["y"][:, 1]).all()


def test_activations_are_close_to_the_real_functions() -> None:
    real = INT16.astype(np.float64)
    assert np.abs(logistic(INT16) - 2**15 / (1 + np.exp(-real / 2**12))).max() < 8
    for bits in range(7):
        assert np.abs(tanh(INT16, bits) - 2**15 * np.tanh(real / 2 ** (15 - bits))).max() < 13


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_weight": np.full((44, 3), -128, np.int8)}, r"input_weight has an entry of -128"),
        ({"input_multiplier": np.array([1, 2, 3, 2**24], np.int32)}, r"expected 1 to 16777215"),
        ({"input_multiplier": np.array([1, 2, 3, 0], np.int32)}, r"expected 1 to 16777215"),
        ({"bias": np.full(44, 2**31 - 1, np.int32)}, r"the input product could reach \d+, beyond int32"),
        ({"bias": np.zeros(44, np.int64)}, r"bias is int64"),
        ({"recurrent_weight": np.zeros((40, 11), np.int8)}, r"recurrent_weight has shape"),
    ],
)
def test_constants_outside_the_contract_are_named(change: dict[str, NDArray[Any]], message: str) -> None:
    _, constants, attributes = layer()
    model = model_of({**constants, **change}, attributes)
    with pytest.raises(ContractError, match=f"node node: .*{message}"):
        ReferenceModel(model).run(feeds(layer()[0]))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"cell_integer_bits": 7}, "cell_integer_bits is 7; expected 0 to 6"),
        ({"output_shift": 15}, "output_shift is 15; expected 16 to 30"),
        ({"x_zero_point": 256}, "x_zero_point is 256"),
        ({"input_shift": 47}, "input_shift is 47; expected 0 to 46"),
        ({"recurrent_shift": 2}, "the recurrent product could reach"),
    ],
)
def test_attributes_outside_the_contract_are_named(attributes: dict[str, int], message: str) -> None:
    model, _, _ = layer(**attributes)
    with pytest.raises(ContractError, match=message):
        ReferenceModel(model).run(feeds(model))


def test_a_multiplier_that_litert_takes_for_nothing_is_named() -> None:
    _, constants, attributes = layer(input_shift=46)
    small = {**constants, "input_multiplier": np.array([1, 2**20, 2**20, 2**20], np.int32)}
    with pytest.raises(ContractError, match="which LiteRT takes for 0"):
        ReferenceModel(model_of(small, attributes)).run(feeds(layer()[0]))


@pytest.mark.litert
@pytest.mark.parametrize("seed", range(8))
def test_litert_gives_the_references_bits(seed: int) -> None:
    generator = np.random.default_rng(seed)
    hidden, inputs = (int(size) for size in generator.integers(1, 40, 2))
    model, _, _ = layer(
        hidden=hidden,
        inputs=inputs,
        seed=seed,
        x_zero_point=int(generator.integers(0, 256)),
        input_shift=int(generator.integers(21, 34)),
        recurrent_shift=int(generator.integers(22, 34)),
        cell_integer_bits=seed % 7,
        output_shift=int(generator.integers(20, 25)),
    )
    given_feeds = feeds(model, batch=1, steps=9, seed=seed)
    expected = ReferenceModel(model).run(given_feeds).outputs
    content = litert_file(model)
    for resolver in RESOLVERS:
        runner = in_litert(content, resolver)
        for _ in range(2):
            found = runner(**given_feeds)
            assert all((found[name] == array).all() for name, array in expected.items()), resolver
        step, states = in_litert(content, resolver, "step"), {name: given_feeds[name] for name in ("h0", "c0")}
        for t, row in enumerate(given_feeds["x"]):
            found = step(x=row[None], **states)
            assert (found["y"][0] == expected["y"][t]).all(), f"{resolver}, step {t}"
            states = {"h0": found["y_h"], "c0": found["y_c"]}
        assert (states["c0"] == expected["y_c"]).all()


@pytest.mark.litert
@pytest.mark.parametrize("swept", [0, 2], ids=["logistic", "tanh"])
def test_litert_has_the_references_activations_of_every_integer(swept: int) -> None:
    """One gate takes every 16-bit value, 256 in each unit; the others are open, or closed for the state before."""
    units = 256
    bias = np.repeat(np.array([2**15, -(2**15), 2**15, 2**15]), units)
    bias[swept * units : (swept + 1) * units] = np.arange(-128, 128) * 256
    constants = {
        "input_weight": np.repeat(np.arange(4) == swept, units).astype(np.int8)[:, None],
        "recurrent_weight": np.zeros((4 * units, units), np.int8),
        "bias": bias.astype(np.int32),
        "input_multiplier": np.full(4, 2**23, np.int32),
        "recurrent_multiplier": np.full(4, 2**23, np.int32),
    }
    attributes = {
        "x_zero_point": 0, "input_shift": 23, "recurrent_shift": 23, "cell_integer_bits": 0, "output_shift": 22,
    }  # fmt: skip
    model = model_of(constants, attributes)
    reference, step = ReferenceModel(model), in_litert(litert_file(model), "default", "step")
    distinct: set[int] = set()
    for value in range(256):
        given_feeds = {
            "x": np.full((1, 1, 1), value, np.uint8),
            "h0": np.full((1, units), 128, np.uint8),
            "c0": np.arange(value - 2**15, 2**15, 256).astype(np.int16)[None],
        }
        found, expected = step(**given_feeds), reference.run(given_feeds).outputs
        assert (found["y_c"] == expected["y_c"]).all()
        assert (found["y_h"] == expected["y_h"]).all()
        distinct.update(expected["y_c"].ravel().tolist())
    assert len(distinct) > 9000

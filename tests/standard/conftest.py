"""Every operator is compared with onnxruntime and with onnx.reference, on the same arrays, with ==."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import parser
from onnx.reference import ReferenceEvaluator

from qdeploy.runtime.standard import BodyModel

HEADER = '<ir_version: 10, opset_import: ["": 18, "qdeploy": 1]>\n'


def _older(version: str) -> bool:
    return [int(part) for part in version.split(".")[:2]] < [1, 31]


@lru_cache(maxsize=512)
def _opened(text: str) -> tuple[BodyModel, Any, Any]:
    model = parser.parse_model(HEADER + text)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 (a type that onnxruntime lacks)
        session = error
        # A kernel that came later; the newest that is tested has all that the tests ask of it.
        if "NOT_IMPLEMENTED" in str(error) and _older(onnxruntime.__version__):
            session = None
    return BodyModel(model), session, model


@lru_cache(maxsize=512)
def _evaluator(text: str) -> ReferenceEvaluator:
    return ReferenceEvaluator(_opened(text)[2])


@pytest.fixture(scope="session")
def compare():
    """``compare(text, feeds)``: our result, equal to that of the voices asked for; ``text`` is an ONNX graph."""

    def run(text: str, feeds: dict[str, Any], *, onnxruntime: bool = True, reference: bool = True) -> list[np.ndarray]:
        ours, session, _ = _opened(text)
        results = list(ours.run(feeds).values())
        if onnxruntime and session is not None:
            assert not isinstance(session, Exception), session
            _equal(results, session.run(None, feeds))
        if reference:
            with np.errstate(all="ignore"):
                _equal(results, _evaluator(text).run(None, feeds))
        return results

    return run


def _equal(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    for a, b in zip(ours, map(np.asarray, theirs), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert (a == b).all(), (a[a != b][:5], b[a != b][:5])


@pytest.fixture(scope="session")
def body():
    """``body(text)``: the executor of an ONNX graph in text syntax."""
    return lambda text: BodyModel(parser.parse_model(HEADER + text))


@pytest.fixture(scope="session")
def pairs():
    """Two arrays of a type that hold every pair of its extremes, then random pairs."""

    def make(dtype: str, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        limits = np.iinfo(dtype)
        low, high = int(limits.min), int(limits.max)
        edges = sorted({low, low + 1, low // 2, -1 if low else 0, 0, 1, 2, 3, 7, 64, high // 2, high - 1, high})
        grid = np.array([(a, b) for a in edges for b in edges], dtype)
        rng = np.random.default_rng(seed)
        random = rng.integers(low, high, (500, 2), dtype, endpoint=True)
        # Small second operands meet every bit of the first.
        random[250:, 1] = rng.integers(0, 20, 250)
        both = np.concatenate([grid, random])
        return both[:, 0].copy(), both[:, 1].copy()

    return make


@pytest.fixture(scope="session")
def onnx_model():
    return lambda text: onnx.parser.parse_model(HEADER + text)

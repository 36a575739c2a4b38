"""Bytes of shipped networks' model.tflite against their model.onnx."""

from __future__ import annotations

from pathlib import Path

import pytest

import qdeploy
from qdeploy.runtime.bundle import read_bundle
from qdeploy.tflite_report import TfliteReport, tflite_report

pytestmark = [pytest.mark.needs("torch"), pytest.mark.needs("onnx_ir"), pytest.mark.needs("flatbuffers")]

SPOKEN = pytest.mark.data("spoken-digits")


def report_of(name: str, folder: Path) -> TfliteReport:
    """Of a network exported here."""
    bundle = qdeploy.export_model(name, folder / name, limit=32, formats=("onnx", "tflite"))
    found = tflite_report(read_bundle(bundle.path))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "name",
    [
        "lenet300-digits",
        "lstm-digits",
        pytest.param("rnn-spoken", marks=SPOKEN),
        pytest.param("fastgrnn-spoken", marks=SPOKEN),
    ],
)
def test_real_networks_of_8_bits_take_little_more_than_model_onnx(name: str, tmp_path: Path) -> None:
    found = report_of(name, tmp_path)
    assert found.bytes <= 1.3 * found.model_bytes
    # One copy of the weights serves both signatures.
    assert found.constants["weights"] <= found.model_bytes


def test_a_quaternion_network_stays_components(tmp_path: Path) -> None:
    found = report_of("quaternion-lenet300-digits", tmp_path)
    assert found.constants["weights"] == (16 * 75 * 4 + 75 * 25 * 4) + 100 * 10
    assert found.bytes <= 1.3 * found.model_bytes


def test_a_hadamard_matrix_takes_less_than_its_signs_as_32_bits_and_a_factor(tmp_path: Path) -> None:
    found = report_of("block-hadamrnn-digits", tmp_path)
    assert found.constants["weights"] == 16 * 16 + 128 + 128 * 10
    assert found.bytes <= 1.3 * found.model_bytes

"""The demo's report: its fields, and what counts as passed. `make demo` itself is run by CI."""

from __future__ import annotations

import dataclasses
from io import StringIO

import pytest
from rich.console import Console

from qdeploy.demo import COMPARED, Row, table

FIELDS = [
    "name",
    "family",
    "weight_bits",
    "activation_bits",
    "state_bits",
    "bytes_float32",
    "bytes_integer",
    "accuracy_float",
    "accuracy_integer",
    "samples",
    "disagreements",
    "compared_integers",
    "mismatched_integers",
    "us_per_step_float",
    "us_per_step_integer",
]

GOOD = Row(
    name="net",
    family="quaternion",
    weight_bits=8,
    activation_bits=8,
    state_bits=None,
    bytes_float32=1000,
    bytes_integer=70,
    accuracy_float=0.98,
    accuracy_integer=0.979,
    samples=10_000,
    disagreements=30,
    compared_integers=COMPARED,
    mismatched_integers=0,
    us_per_step_float=2.0,
    us_per_step_integer=3.0,
)


def test_fields_of_the_report():
    assert list(dataclasses.asdict(GOOD)) == FIELDS


@pytest.mark.parametrize(
    ("changes", "passed"),
    [
        ({}, True),
        ({"mismatched_integers": 1}, False),
        ({"compared_integers": COMPARED - 1}, False),
        ({"accuracy_integer": 0.9781}, True),
        ({"family": "real", "accuracy_integer": 0.9779}, False),
        ({"family": "quaternion", "accuracy_integer": 0.9771}, True),
        ({"family": "quaternion", "accuracy_integer": 0.9769}, False),
        ({"accuracy_integer": 0.99}, True),
        ({"samples": 360, "accuracy_float": 350 / 360, "accuracy_integer": 348 / 360}, True),
        ({"samples": 360, "accuracy_float": 350 / 360, "accuracy_integer": 347 / 360}, False),
    ],
)
def test_what_passes(changes, passed):
    assert dataclasses.replace(GOOD, **changes).passed is passed


def test_table_shows_every_figure():
    stream = StringIO()
    Console(width=120, file=stream).print(table([GOOD]))
    for figure in ("net", "8/8/–", "70", "7.0%", "98.00%", "97.90%", "30 of 10,000", "0 of 10.0M", "3.00", "2.00"):
        assert figure in stream.getvalue()

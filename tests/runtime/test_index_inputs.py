"""Inputs without a scale in a manifest: indices, with the rows of their table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.errors import InvalidFileError
from qdeploy.runtime.manifest import parse_manifest

BUNDLE = Path(__file__).parents[1] / "golden/bundles/embedding-gru.zip"


def changed(**values: Any) -> str:
    plain = read_bundle(BUNDLE).manifest.to_dict()
    plain["inputs"][0] |= values
    return json.dumps({k: v for k, v in plain.items() if v is not ...})


def test_a_manifest_comes_back() -> None:
    manifest = read_bundle(BUNDLE).manifest
    assert parse_manifest(manifest.to_json()) == manifest
    assert (manifest.inputs[0].scale, manifest.inputs[0].vocabulary_size) == (None, 7)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"vocabulary_size": None}, r"inputs\[0\].vocabulary_size: found NoneType"),
        ({"vocabulary_size": 0}, "vocabulary_size: found 0, expected an integer in 1"),
        ({"vocabulary_size": 2**30}, "vocabulary_size"),
        ({"vocabulary_size": True}, "vocabulary_size"),
        ({"dtype": "uint8"}, r"scale: found null with the type uint8, expected a positive number"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidFileError, match=words):
        parse_manifest(changed(**values))


def test_a_scale_makes_them_values() -> None:
    assert parse_manifest(changed(scale=1.0)).inputs[0].vocabulary_size is None

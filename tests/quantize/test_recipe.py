"""Recipes: every named one loads, every wrong one says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qdeploy.quantize import Recipe, load_recipe, recipe_names
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError


@pytest.mark.parametrize("name", recipe_names())
def test_the_packages_recipes_load_and_describe_themselves(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description


def test_a_file_and_changes(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"weight_bits": 5}))
    assert load_recipe(path).weight_bits == 5
    assert load_recipe(path).changed(weight_bits=None, state_bits=9) == Recipe("mine", "", weight_bits=5, state_bits=9)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "no JSON object"),
        ('{"weight_bit": 4}', "unknown fields.*weight_bit"),
        ('{"weight_bits": "4"}', "expected int"),
        ('{"weight_bits": true}', "expected int"),
        ('{"weight_bits": 9}', "expected 1 to 8"),
        ('{"rounding": "down"}', "rounding"),
        ('{"name": "\\u001b[2J"}', "printable characters"),
        ('{"name": "\\ud800"}', "printable characters"),
        ('{"percentile": NaN}', "expected 50.0 to 100.0"),
        ('{"weight_bits": ' + "9" * 5000 + "}", "cannot be read"),
        ('{"multiplier_bits": 16}', "multiplier_bits"),
    ],
)
def test_wrong_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises((InvalidFileError, InvalidInputError), match=message):
        load_recipe(path)


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(InvalidFileError, match="no such file"):
        load_recipe(tmp_path / "folder.json")


def test_unknown_names_list_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="default"):
        load_recipe("defualt")
    with pytest.raises(InvalidFileError):
        load_recipe(tmp_path / "absent.json")

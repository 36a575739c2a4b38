"""What a bundle's place holds before and after; what failures and kills leave there is in tests/interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qdeploy.export.bundle import file_specs, write_bundle
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.runtime.manifest import InputSpec, Manifest, OutputSpec

CONTENTS = {"model.onnx": b"model", "example.py": b"print()"}


def manifest(contents: dict[str, bytes]) -> Manifest:
    return Manifest(
        schema=1,
        qdeploy="0",
        created_from={},
        recipe={},
        rounding="half_up",
        inputs=(InputSpec("x", "x", "uint8", ("batch", 1), 1.0, 0),),
        outputs=(OutputSpec("y", "uint8", ("batch", 1), 1.0, 0),),
        states=(),
        tensors={},
        layers=(),
        files=file_specs(contents),
    )


def write(target: Path, contents: dict[str, bytes] | None = None, **options: Any) -> None:
    chosen = contents or CONTENTS
    write_bundle(target, manifest(chosen), chosen, **{"zipped": False, "force": False} | options)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_folder_and_nothing_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "out")
    assert set(everything(tmp_path)) == {f"deep/out/{name}" for name in (*CONTENTS, "manifest.json")}


def test_an_archive_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        write(tmp_path / name, zipped=True)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize("zipped", [False, True])
def test_what_is_there_stays_without_force_and_is_replaced_whole_with_it(tmp_path: Path, zipped: bool) -> None:
    target = tmp_path / "out"
    write(target, {**CONTENTS, "old.bin": b"old"}, zipped=zipped)
    before = everything(tmp_path)
    with pytest.raises(InvalidInputError, match="--force"):
        write(target, zipped=zipped)
    assert everything(tmp_path) == before
    write(target, zipped=zipped, force=True)
    assert everything(tmp_path) != before
    assert not any("old.bin" in name for name in everything(tmp_path))


def test_force_never_replaces_a_folder_of_other_things(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInputError, match="something else than a bundle"):
        write(tmp_path / "home", force=True)
    assert everything(tmp_path) == {"home/thesis.txt": b"years of work"}


def test_targets_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="is a file"):
        write(tmp_path / "file" / "out")

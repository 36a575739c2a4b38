"""What the next writing takes away, and what it never touches."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.errors import InvalidFileError
from qdeploy.runtime.staging import NEW, recover, staging, write_bytes, write_whole


def left_over(target: Path, *content: str) -> Path:
    """A folder as a killed process leaves it."""
    place = target.with_name(f".{target.name}.qdeploy-abcdefgh")
    place.mkdir()
    for name in content:
        (place / name).mkdir()
        (place / name / "model.onnx").write_bytes(b"half")
    return place


def test_a_left_over_is_taken_away_and_is_no_bundle(tmp_path: Path) -> None:
    place = left_over(tmp_path / "out", NEW)
    with pytest.raises(InvalidFileError, match=r"manifest\.json"):
        read_bundle(place)
    with pytest.raises(InvalidFileError, match=r"manifest\.json"):
        read_bundle(place / NEW)
    write_whole(tmp_path / "out", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_living_process_keeps_its_folder(tmp_path: Path) -> None:
    """Two writers of one target: neither takes the other's work for a left-over."""
    target = tmp_path / "state"
    with staging(target) as first:
        write_bytes(first / NEW, b"first")
        write_whole(target, b"second")
        assert (first / NEW).read_bytes() == b"first"
    assert target.read_bytes() == b"second"


@pytest.mark.parametrize("name", ["out", "a[b]*", "x.zip"])
def test_only_what_belongs_to_the_target(tmp_path: Path, name: str) -> None:
    kept = [left_over(tmp_path / "other", NEW), tmp_path / f".{name}.config"]
    kept[1].mkdir()
    mine = left_over(tmp_path / name, NEW)
    recover(tmp_path / name)
    assert not mine.exists()
    assert all(path.exists() for path in kept)


def test_a_folder_of_somebody_elses_content_stays(tmp_path: Path) -> None:
    place = left_over(tmp_path / "out", "thesis")
    recover(tmp_path / "out")
    assert (place / "thesis" / "model.onnx").exists()


def test_what_was_moved_aside_comes_back_unless_something_took_its_place(tmp_path: Path) -> None:
    left_over(tmp_path / "out", NEW, "previous")
    recover(tmp_path / "out")
    assert (tmp_path / "out" / "model.onnx").read_bytes() == b"half"
    (tmp_path / "out" / "model.onnx").write_bytes(b"mine")
    left_over(tmp_path / "out", NEW, "previous")
    recover(tmp_path / "out")
    assert (tmp_path / "out" / "model.onnx").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / NEW).mkdir(parents=True)
    (tmp_path / ".out.qdeploy-abcdefgh").symlink_to(tmp_path / "elsewhere")
    recover(tmp_path / "out")
    assert (tmp_path / "elsewhere" / NEW).exists()

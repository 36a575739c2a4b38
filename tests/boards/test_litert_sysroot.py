"""The folders of LiteRT for boards: whole or absent, and not used where they belong to another Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qdeploy.boards import litert_sysroot, programs, roots, setup
from qdeploy.boards.litert_sysroot import LitertSysroot, find_litert, remove_litert, setup_litert
from qdeploy.boards.roots import make_root
from qdeploy.boards.sysroot import Sysroot
from qdeploy.runtime.errors import MissingRequirementError


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "qdeploy" / "boards"


def record(folder: Path, **values) -> None:
    folder.mkdir(parents=True)
    (folder / "sysroot.json").write_text(json.dumps({"layout": 1, "bytes": 9, "wheels": {}, "packages": {}, **values}))


def test_one_for_another_python_is_not_used(cache):
    record(cache / "arm64", python="python3.13")
    record(cache / "arm64-litert", python="python3.11", architecture="arm64")
    with pytest.raises(MissingRequirementError, match=r"is for python3\.11, which is no longer there; make it with"):
        find_litert("arm64")
    record(cache / "armhf", python="python3.11", architecture="armhf")
    assert find_litert("armhf").python == "python3.11"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"layout": 1}', '{"layout": 0, "python": "python3.11"}'])
@pytest.mark.parametrize("folder", ["arm64-litert", "armhf"])
def test_a_damaged_or_older_one_is_not_used(cache, folder, content):
    (cache / folder).mkdir(parents=True)
    (cache / folder / "sysroot.json").write_text(content)
    with pytest.raises(MissingRequirementError, match="qdeploy board setup"):
        find_litert(folder.removesuffix("-litert"))


@pytest.fixture
def unpacked(monkeypatch):
    """Everything but the network: a Python of this version, wheels that are empty folders."""
    monkeypatch.setattr(programs.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(roots, "emulator", list)
    monkeypatch.setattr(litert_sysroot, "compile_code", lambda *_: None)

    def unpack(python: str):
        def do(new, architecture, tell, besides):
            assert architecture == "armhf"
            assert {"python3-numpy", "libblas3", "liblapack3", "libgfortran5"} <= set(besides)
            (new / "root" / "usr" / "lib" / "arm-linux-gnueabihf").mkdir(parents=True)
            return python, {"python3-numpy": "1:1.24.2-1+deb12u1"}

        monkeypatch.setattr(litert_sysroot, "unpack_python", do)

    def install(site, python, platforms, names, *, options):
        assert python == "3.11"
        assert options == ("--no-deps",)
        site.mkdir()
        return {"tflite_runtime": "2.14.0"}

    monkeypatch.setattr(litert_sysroot, "install_wheels", install)
    return unpack


def test_armhf_is_put_together_and_tried(cache, monkeypatch, unpacked):
    unpacked("python3.11")
    tried = []
    monkeypatch.setattr(litert_sysroot, "try_imports", lambda *words: tried.append(words))
    made = setup_litert("armhf")
    ((command, sites, modules, numpy),) = tried
    assert command[:3] == ["qemu-arm", "-cpu", "cortex-a7"]
    assert [Path(site).name for site in sites] == ["site", "dist-packages"]
    assert modules == ["tflite_runtime.interpreter"]
    assert numpy == "1.24.2"
    libraries = made.folder / "root" / "usr" / "lib" / "arm-linux-gnueabihf"
    assert (libraries / "libblas.so.3").readlink() == Path("blas/libblas.so.3")
    assert find_litert("armhf") == made
    assert setup_litert("armhf") == made
    assert len(tried) == 1
    assert made.lines() == [f"{cache / 'armhf'}: 0 MB", "tflite-runtime 2.14.0, numpy 1.24.2 (armhf)"]
    assert remove_litert() > 0
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("trial", [True, False])
def test_what_cannot_be_made_leaves_nothing_behind(cache, monkeypatch, unpacked, trial):
    """A Python that is too new for the wheels, and one that does not start."""
    unpacked("python3.11" if trial else "python3.13")

    def fail(*_):
        raise MissingRequirementError("the emulated Python does not start")

    monkeypatch.setattr(litert_sysroot, "try_imports", fail)
    message = "does not start" if trial else r"no LiteRT for 32-bit boards with python3\.13: .*3\.9 to 3\.11"
    with pytest.raises(MissingRequirementError, match=message):
        setup_litert("armhf")
    assert list(cache.iterdir()) == []


def test_roots_may_be_moved(tmp_path):
    root = tmp_path / "before" / "root"
    (root / "usr").mkdir(parents=True)
    (root / "usr" / "file").touch()
    make_root(tmp_path / "before" / "roots" / "cortex-a53", root, "cortex-a53")
    (tmp_path / "before").rename(tmp_path / "after")
    made = tmp_path / "after" / "roots" / "cortex-a53"
    assert (made / "usr" / "file").exists()
    assert (made / "proc" / "cpuinfo").read_text().count("CPU part\t: 0xd03\n") == 4


@pytest.mark.parametrize(
    ("board", "litert", "made"),
    [
        (None, True, ["arm64", "litert arm64", "litert armhf"]),
        (None, False, ["arm64"]),
        ("pi4", True, ["arm64", "litert arm64"]),
        ("pi4", False, ["arm64"]),
        ("pi2", True, ["litert armhf"]),
    ],
)
def test_a_board_gets_what_it_runs(monkeypatch, board, litert, made):
    asked = []

    def python(**_):
        asked.append("arm64")
        return Sysroot(Path("arm64"), "python3.11", {}, {}, 0)

    def runtime(architecture, **_):
        asked.append(f"litert {architecture}")
        return LitertSysroot(Path(architecture), "python3.11", {}, {}, 0, architecture)

    monkeypatch.setattr(setup, "setup_sysroot", python)
    monkeypatch.setattr(setup, "setup_litert", runtime)
    report = setup.setup_boards(board, litert=litert)
    assert asked == made
    assert len(report.to_dict()["sysroots"]) == len(made)

"""The C files of a bundle: what is there, that it compiles and runs, and that it is the same bytes each time."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from qdeploy.c_library import remade_sources
from qdeploy.export.bundle import file_specs, write_bundle
from qdeploy.export.c import c_files
from qdeploy.export.c.artifacts import c_artifacts
from qdeploy.export.c.build import WARNINGS, build_file
from qdeploy.runtime.bundle import BundleFiles, read_bundle
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError
from qdeploy.runtime.npz import read_npz

from .running import golden

EXAMPLE = ("example.c", "golden.h", "model.c", "model.h")


def artifacts(
    files: BundleFiles, *targets: str, library: str | None = None, max_steps: int | None = None
) -> tuple[dict[str, bytes], dict]:
    vectors = read_npz(files.contents["vectors.npz"], "vectors.npz")
    return c_artifacts(files.model, files.manifest, vectors, targets, library, max_steps=max_steps)


def written(files: BundleFiles, made: dict[str, bytes], said: dict, target: Path, *, zipped: bool = False) -> Path:
    """A bundle with these files of C."""
    contents = {**files.contents, "example.py": b"", **made}
    manifest = dataclasses.replace(
        files.manifest, files=file_specs(contents), extra={**files.manifest.extra, "c": said}
    )
    write_bundle(target, manifest, contents, zipped=zipped, force=False)
    return target


@pytest.fixture(scope="module")
def rnn() -> BundleFiles:
    return golden("rnn-relu-state8")


@pytest.mark.cc
def test_files_of_the_host(rnn: BundleFiles) -> None:
    made, said = artifacts(rnn, "host")
    assert set(made) == {*EXAMPLE, "selftest.c", "CMakeLists.txt", "lib/host/libmodel.so"}
    assert said["targets"]["host"]["library"] == "lib/host/libmodel.so"
    assert artifacts(rnn, "host") == (made, said)
    assert made["model.c"] == c_files(rnn.model, rnn.manifest, said["sources"])["model.c"]


@pytest.mark.cc
def test_the_self_test_passes(rnn: BundleFiles, tmp_path: Path) -> None:
    made, _ = artifacts(rnn, "generic")
    sources = {name: made[name] for name in ("selftest.c", "model.c", "model.h")}
    build_file(sources, "host", "program", tmp_path / "selftest", flags=[*WARNINGS, "-O1"])
    done = subprocess.run([tmp_path / "selftest", "--no-time"], capture_output=True, text=True, check=True)
    axis = rnn.manifest.inputs[0].batch_axis
    count = sum(vector.inputs["x"].shape[axis] for vector in rnn.vectors().values())
    assert f"PASSED {count} of {count} samples" in done.stdout


@pytest.mark.needs("ziglang")
def test_each_target_gets_its_library_and_the_first_the_sources(rnn: BundleFiles) -> None:
    made, said = artifacts(rnn, "pi4", "cortex-m4", "generic")
    assert {name for name in made if name.startswith("lib/")} == {"lib/pi4/libmodel.so", "lib/cortex-m4/libmodel.a"}
    assert said["sources"] == "pi4"
    assert made["model.c"] == c_files(rnn.model, rnn.manifest, "pi4")["model.c"]
    assert b"#define MODEL_OFFSET 128" in made["model.c"]


def test_sources_alone_need_no_compiler(rnn: BundleFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    made, said = artifacts(rnn, "generic")
    assert set(made) == {*EXAMPLE, "selftest.c", "CMakeLists.txt"}
    assert said == {"sources": "generic", "targets": {}}


@pytest.mark.cc
@pytest.mark.parametrize("name", ["rnn-relu-every", "mlp", "rnn-modrelu-state12"])
def test_the_example_runs_a_golden_vector(name: str, tmp_path: Path) -> None:
    made, _ = artifacts(golden(name), "generic")
    sources = {file: made[file] for file in EXAMPLE}
    build_file(sources, "generic", "program", tmp_path / "example", flags=(*WARNINGS, "-O1"))
    assert (
        subprocess.run([tmp_path / "example"], check=True, capture_output=True).stdout
        == b"the golden vector's outputs\n"
    )
    body = made["example.c"].decode().partition("int main")[2].splitlines()
    assert len(body) <= 14


@pytest.mark.cc
def test_the_example_notices_another_output(rnn: BundleFiles, tmp_path: Path) -> None:
    made, _ = artifacts(rnn, "generic")
    head, sign, numbers = made["golden.h"].decode().rpartition("= {\n")
    wrong = head + sign + re.sub(r"-?\d+", lambda m: str(int(m[0]) ^ 1), numbers, count=1)
    sources = {**{file: made[file] for file in EXAMPLE}, "golden.h": wrong.encode()}
    build_file(sources, "generic", "program", tmp_path / "example", flags=("-O1",))
    assert subprocess.run([tmp_path / "example"], check=False, capture_output=True).returncode == 1


@pytest.mark.program("cmake")
def test_cmake_builds_it_and_runs_the_golden_vector(rnn: BundleFiles, tmp_path: Path) -> None:
    made, _ = artifacts(rnn, "generic")
    for name, text in made.items():
        (tmp_path / name).write_bytes(text)
    for command in (
        ["cmake", "-S", ".", "-B", "build", "-DMODEL_FLAGS=-O1"],
        ["cmake", "--build", "build"],
        ["ctest", "--test-dir", "build", "--output-on-failure"],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "100% tests passed" in done.stdout


SERIAL = """
#include <string.h>
struct Port {
    void begin(long) {}
    void println(const char *) {}
};
static Port Serial;
"""


@pytest.mark.program("g++")
def test_an_arduino_library(rnn: BundleFiles, tmp_path: Path) -> None:
    made, _ = artifacts(rnn, "generic", library="arduino")
    folder = {name.removeprefix("arduino/"): text for name, text in made.items() if name.startswith("arduino/")}
    assert folder["src/model.c"] == made["model.c"]
    properties = dict(line.split("=", 1) for line in folder["library.properties"].decode().splitlines())
    # What Arduino's library specification asks for.
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert required <= properties.keys()
    for name, text in folder.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text)
    # Arduino's own header declares Serial and puts itself in front of a sketch, which is C++.
    (tmp_path / "serial.h").write_text(SERIAL)
    compiler = ["g++", "-fsyntax-only", "-Wall", "-Werror", "-I", "src"]
    sketch = ["-x", "c++", "-include", "serial.h", "examples/golden/golden.ino"]
    done = subprocess.run([*compiler, *sketch], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.cc
def test_a_platformio_library(rnn: BundleFiles, tmp_path: Path) -> None:
    made, _ = artifacts(rnn, "generic", library="platformio")
    folder = {name.removeprefix("platformio/"): text for name, text in made.items() if name.startswith("platformio/")}
    said = json.loads(folder["library.json"])
    assert {"name", "version", "frameworks", "platforms"} <= said.keys()
    base = said["examples"][0]["base"]
    sources = {Path(name).name: text for name, text in folder.items() if name.startswith(("src/", f"{base}/"))}
    assert set(said["examples"][0]["files"]) <= set(sources)
    build_file(sources, "generic", "program", tmp_path / "example", flags=("-O1",))
    assert subprocess.run([tmp_path / "example"], check=False).returncode == 0


def test_another_shape_is_refused(rnn: BundleFiles) -> None:
    with pytest.raises(InvalidInputError, match="'mbed', expected one of arduino, platformio"):
        artifacts(rnn, "generic", library="mbed")


@pytest.mark.cc
@pytest.mark.parametrize("zipped", [False, True])
def test_a_bundle_with_c_is_read_back_and_runs(rnn: BundleFiles, tmp_path: Path, zipped: bool) -> None:
    made, said = artifacts(rnn, "host", library="arduino")
    target = written(rnn, made, said, tmp_path / ("out.zip" if zipped else "out"), zipped=zipped)
    opened = read_bundle(target, trust=True)
    assert set(made) <= opened.manifest.files.keys()
    # The manifest has gone through JSON, and lists more files than at export.
    assert remade_sources(opened, said["sources"]) == {name: made[name] for name in ("model.h", "model.c")}
    for files in (opened, read_bundle(target)):
        vector = next(iter(files.vectors().values()))
        for name, found in open_engine("c", files).run(vector.inputs).items():
            assert (found == vector.outputs[name]).all()


@pytest.mark.cc
def test_a_folder_that_leads_elsewhere_is_refused(rnn: BundleFiles, tmp_path: Path) -> None:
    target = written(rnn, *artifacts(rnn, "host"), tmp_path / "out")
    (target / "lib").rename(tmp_path / "elsewhere")
    (target / "lib").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidFileError, match="lib: is a link or no folder"):
        read_bundle(target)


@pytest.mark.cc
def test_an_altered_library_is_refused(rnn: BundleFiles, tmp_path: Path) -> None:
    target = written(rnn, *artifacts(rnn, "host"), tmp_path / "out")
    library = target / "lib" / "host" / "libmodel.so"
    data = library.read_bytes()
    library.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(InvalidFileError, match=r"lib/host/libmodel\.so: found SHA-256"):
        read_bundle(target, trust=True)
    library.unlink()
    with pytest.raises(InvalidFileError, match=r"lib/host/libmodel\.so: cannot be read"):
        read_bundle(target)


@pytest.mark.cc
def test_the_longest_whole_sequence_is_chosen_at_export(tmp_path: Path) -> None:
    files = golden("both-directions-lstm")
    made, said = artifacts(files, "generic", max_steps=29)
    assert said["max_steps"] == 29
    assert b"#define MODEL_MAX_STEPS 29\n" in made["model.h"]
    bundle = read_bundle(written(files, made, said, tmp_path / "out"), everything=True)
    assert remade_sources(bundle, "generic")["model.h"] == made["model.h"]
    extra = {**bundle.manifest.extra, "c": {**said, "max_steps": 28}}
    other = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, extra=extra))
    with pytest.raises(InvalidFileError, match=r"model\.[ch] is not what model\.onnx gives"):
        remade_sources(other, "generic")


def test_networks_of_any_number_of_steps_have_no_longest_sequence(rnn: BundleFiles) -> None:
    with pytest.raises(InvalidInputError, match="--max-steps 29: this network does not take whole sequences"):
        artifacts(rnn, "generic", max_steps=29)


@pytest.mark.parametrize("steps", [0, True, "9", 2**24 + 1])
def test_a_manifest_with_an_impossible_longest_sequence_is_refused(steps: object) -> None:
    files = golden("both-directions-lstm")
    changed = dataclasses.replace(files.manifest, extra={**files.manifest.extra, "c": {"max_steps": steps}})
    with pytest.raises(InvalidFileError, match=r"c\.max_steps: found"):
        c_files(files.model, changed)

"""Compilers: what they make, what they are refused, and that they leave nothing behind."""

from __future__ import annotations

import ctypes
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from qdeploy.export.c import build as module
from qdeploy.export.c.build import build, build_file, compiler, compiler_version, library_name
from qdeploy.export.c.targets import TARGETS
from qdeploy.runtime.errors import BuildError, InvalidInputError, MissingRequirementError

SOURCES = {
    "model.h": b"#include <stdint.h>\n#include <stddef.h>\nint32_t model_sum(const uint8_t *x, size_t count);\n",
    "model.c": b"""#include "model.h"
#include <string.h>
int32_t model_sum(const uint8_t *x, size_t count)
{
    uint8_t copy[64];
    int32_t sum = 0;
    memcpy(copy, x, count);
    for (size_t i = 0; i < count; i++) {
        sum += copy[i];
    }
    return sum;
}
""",
}
PROGRAM = {
    **SOURCES,
    "main.c": b"""#include "model.h"
int main(void)
{
    const uint8_t x[3] = {100, 1, 2};
    return (int)model_sum(x, 3);
}
""",
}
ELF = {"x86_64": 62, "aarch64": 183, "arm": 40}


def machine_of(library: bytes) -> int:
    assert library[:4] == b"\x7fELF"
    return struct.unpack_from("<H", library, 18)[0]


@pytest.mark.cc
def test_a_library_for_this_machine_computes(tmp_path):
    path = tmp_path / "libmodel.so"
    build_file(SOURCES, "host", "library", path)
    model_sum = ctypes.CDLL(str(path)).model_sum
    model_sum.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
    assert model_sum(bytes([255, 255, 1]), 3) == 511
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.cc
@pytest.mark.parametrize("kind", ["library", "archive", "object"])
def test_the_same_sources_give_the_same_bytes(kind):
    assert build(SOURCES, "host", kind) == build(dict(SOURCES), "host", kind)


@pytest.mark.cc
def test_a_program_runs(tmp_path):
    build_file(PROGRAM, "host", "program", tmp_path / "sum")
    assert subprocess.run([tmp_path / "sum"], check=False).returncode == 103


@pytest.mark.needs("ziglang")
@pytest.mark.parametrize("target", [name for name, target in TARGETS.items() if target.zig_target])
def test_every_target_compiles(target):
    board = TARGETS[target]
    made = build(SOURCES, target, "archive" if board.microcontroller else "library")
    assert made == build(SOURCES, target, "archive" if board.microcontroller else "library")
    if board.microcontroller:
        assert made.startswith(b"!<arch>\n")
    else:
        assert machine_of(made) == ELF[board.zig_target.partition("-")[0]]
        # Whoever loads it has a C library; which one is no matter.
        assert b"libc.so.6" not in made


@pytest.mark.needs("ziglang")
def test_zig_builds_for_this_machine_where_no_other_compiler_is(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    path = tmp_path / "libmodel.so"
    build_file(SOURCES, "host", "library", path)
    assert ctypes.CDLL(str(path)).model_sum(b"\x07", ctypes.c_size_t(1)) == 7


@pytest.mark.cc
def test_a_refusal_is_told_in_the_compilers_words():
    with pytest.raises(BuildError, match=r"(?s)target host: .*cc .*\nsays:\n.*model\.c:1:.*undeclared_thing") as error:
        build({"model.c": b"int f(void) { return undeclared_thing; }\n"}, "host", "object")
    assert error.value.exit_code == 4


@pytest.mark.cc
def test_flags_are_told():
    narrowing = {"model.c": b"signed char f(int x);\nsigned char f(int x) { return x; }\n"}
    assert build(narrowing, "host", "object")
    with pytest.raises(BuildError, match="Wconversion"):
        build(narrowing, "host", "object", flags=module.WARNINGS)


def test_a_compiler_that_takes_too_long_is_stopped(tmp_path):
    # It starts another process, as compilers do.
    slow = ["sh", "-c", f"sh -c 'sleep 30; touch {tmp_path}/late' & wait"]
    with pytest.raises(BuildError, match=r"stopped after 0\.2 seconds"):
        build(SOURCES, "host", "object", command=slow, time_limit=0.2)
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"touch {tmp_path}/late" not in running


def test_a_failed_build_leaves_what_was_there(tmp_path):
    path = tmp_path / "libmodel.so"
    path.write_bytes(b"previous")
    with pytest.raises(BuildError, match="nothing, and ended with 1"):
        build_file(SOURCES, "host", "library", path, command=["false"])
    assert path.read_bytes() == b"previous"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_missing_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(
        MissingRequirementError, match=r"no C compiler \(.*apt install gcc\), or pip install 'qdeploy\[c\]'"
    ):
        compiler("host")
    with pytest.raises(
        MissingRequirementError, match=r"target pi4: ziglang is not installed; pip install 'qdeploy\[c\]'"
    ):
        compiler("pi4")
    with pytest.raises(MissingRequirementError, match="no/such/cc cannot be started"):
        build(SOURCES, "host", "object", command=["no/such/cc"])


@pytest.mark.parametrize("name", ["../model.c", "/model.c", "src/../../model.c", "-o.c"])
def test_no_source_leaves_its_folder(name):
    with pytest.raises(InvalidInputError, match="inside its folder"):
        build({name: b""}, "host", "object")


def test_what_cannot_be_made_is_refused():
    with pytest.raises(InvalidInputError, match="a microcontroller loads no shared library"):
        build(SOURCES, "cortex-m4", "library")
    with pytest.raises(InvalidInputError, match=r"no C source among model\.h"):
        build({"model.h": b""}, "host", "object")
    with pytest.raises(InvalidInputError, match="found 2 sources"):
        build(PROGRAM, "host", "object")


@pytest.mark.cc
def test_folders_of_sources_are_kept():
    sources = {f"src/{name}": text for name, text in SOURCES.items()}
    assert build(sources, "host", "archive").startswith(b"!<arch>\n")


@pytest.mark.cc
def test_variables_of_the_user_bring_in_nothing(monkeypatch, tmp_path):
    (tmp_path / "string.h").write_text("#error taken from elsewhere\n")
    monkeypatch.setenv("CPATH", str(tmp_path))
    assert build(SOURCES, "host", "object")


def test_names_of_libraries():
    assert library_name("pi4") == library_name("host") == "libmodel.so"
    assert library_name("cortex-m4") == "libmodel.a"


@pytest.mark.cc
def test_the_compiler_says_its_version():
    assert any(character.isdigit() for character in compiler_version("host"))
    assert Path(compiler("host")[0]).is_file()

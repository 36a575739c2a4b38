"""Sizes and stack depths of object files, read as the compiler wrote them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from qdeploy.export.c.build import build
from qdeploy.export.c.elf import read_object
from qdeploy.runtime.errors import InvalidFileError

SOURCE = b"""
int outside(int *numbers);
const int table[100] = {1, 2, 3};
int counter[7];
int started = 5;
__attribute__((noinline)) static int deep(int n) { int numbers[64]; numbers[0] = n; return outside(numbers) + numbers[n & 63]; }
__attribute__((noinline)) static int flat(int n) { return n + counter[n & 7]; }
int entry(int n) { return deep(n) + flat(n) + started + table[n % 100]; }
int leaf(int n) { return n * 3; }
"""
FLAGS = ("-ffunction-sections", "-fdata-sections", "-fstack-size-section")


@pytest.fixture(scope="module", params=["cortex-m4", "cortex-m0plus", "pi4"])
def compiled(request):
    pytest.importorskip("ziglang", reason="could not import 'ziglang': No module named 'ziglang'")
    return read_object(build({"a.c": SOURCE}, request.param, "object", flags=FLAGS))


def test_memory_by_kind(compiled):
    rodata = [section for section in compiled.sections if section.name.startswith(".rodata")]
    assert sum(section.size for section in rodata) >= 400
    assert compiled.writable == 7 * 4 + 4
    assert 0 < compiled.code < 1000
    assert compiled.read_only >= 400


def test_the_deepest_path_counts(compiled):
    assert compiled.frames["deep"] >= 256
    assert compiled.calls["entry"] >= {"deep", "flat"}
    assert compiled.calls["deep"] >= {"outside"}
    assert compiled.stack("entry") == compiled.frames["entry"] + compiled.frames["deep"]
    assert compiled.stack("leaf") == compiled.frames["leaf"]
    assert compiled.stack("outside") is None


def test_recursion_is_an_error():
    pytest.importorskip("ziglang", reason="could not import 'ziglang': No module named 'ziglang'")
    source = b"int outside(int n);\nint again(int n) { return n < 2 ? n : outside(again(n - 1)) + again(n - 2); }\n"
    found = read_object(build({"a.c": source}, "cortex-m4", "object", flags=(*FLAGS, "-O0")))
    with pytest.raises(InvalidFileError, match="calls itself"):
        found.stack("again")


@pytest.mark.cc
@pytest.mark.skipif(shutil.which("size") is None, reason="no size (Linux package binutils)")
def test_sections_are_those_that_size_counts(tmp_path):
    data = build({"a.c": SOURCE}, "host", "object", flags=FLAGS[:2])
    (tmp_path / "a.o").write_bytes(data)
    text, written, zero, *_ = (
        subprocess.run(["size", tmp_path / "a.o"], capture_output=True, text=True, check=True)
        .stdout.splitlines()[1]
        .split()
    )
    found = read_object(data)
    assert found.code + found.read_only == int(text)
    assert found.writable == int(written) + int(zero)


@pytest.mark.parametrize(
    "data", [b"", b"\x7fELF", b"PK\x03\x04", b"\x7fELF\x01\x01" + bytes(10) + b"\x01\x00" + bytes(20)]
)
def test_other_files_are_refused(data):
    with pytest.raises(InvalidFileError, match="ELF"):
        read_object(data)

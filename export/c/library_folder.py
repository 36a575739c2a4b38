"""Sources in the shapes that build systems take: CMake, Arduino, PlatformIO."""

from __future__ import annotations

import json
from collections.abc import Mapping

from qdeploy.runtime.errors import InvalidInputError

__all__ = ["SHAPES", "cmake_lists", "library_folder"]

SHAPES = ("arduino", "platformio")
"""Library folders that can be asked for."""

_NAME = "qdeploy_model"
_SENTENCE = "An integer-only neural network, made by qdeploy."

_CMAKE = """\
# The network as a static library, and a test that runs a golden vector:
#   cmake -B build && cmake --build build && ctest --test-dir build
cmake_minimum_required(VERSION 3.10)
project(model C)

set(CMAKE_C_STANDARD 99)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

add_library(model STATIC model.c)
target_include_directories(model PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
# Fast paths need the processor's instructions, and loops need -O3: -DMODEL_FLAGS="-O3;-mcpu=cortex-a72"
set(MODEL_FLAGS "-O3" CACHE STRING "How model.c is compiled")
target_compile_options(model PRIVATE ${MODEL_FLAGS})

add_executable(example example.c)
target_link_libraries(example model)
enable_testing()
add_test(NAME golden COMMAND example)
"""


def cmake_lists() -> bytes:
    """``CMakeLists.txt`` beside model.c and example.c."""
    return _CMAKE.encode()


def library_folder(
    shape: str, sources: Mapping[str, bytes], golden: bytes, program: bytes, sketch: bytes, version: str
) -> dict[str, bytes]:
    """A library folder by file name, ``arduino/…`` or ``platformio/…``.

    Args:
        shape: one of :data:`SHAPES`.
        sources: model.h and model.c.
        golden, program, sketch: golden.h and the example for a computer and for Arduino.
        version: of qdeploy.

    Raises:
        InvalidInputError: another shape.
    """
    if shape not in SHAPES:
        raise InvalidInputError(f"found the library shape {shape!r}, expected one of {', '.join(SHAPES)}")
    folder = {f"src/{name}": text for name, text in sources.items()}
    folder["examples/golden/golden.h"] = golden
    if shape == "arduino":
        folder["library.properties"] = _properties(version)
        folder["examples/golden/golden.ino"] = sketch
    else:
        folder["library.json"] = _json(version)
        folder["examples/golden/main.c"] = program
    return {f"{shape}/{name}": text for name, text in folder.items()}


def _properties(version: str) -> bytes:
    """Arduino library specification, revision 2.2."""
    lines = {
        "name": _NAME,
        "version": version,
        "author": "qdeploy",
        "maintainer": "qdeploy",
        "sentence": _SENTENCE,
        "paragraph": "No memory allocation, no floating point; the same bits as on every other machine.",
        "category": "Data Processing",
        # Asked for by the specification; a generated folder has no page of its own.
        "url": "",
        "architectures": "*",
        "includes": "model.h",
    }
    return "".join(f"{key}={value}\n" for key, value in lines.items()).encode()


def _json(version: str) -> bytes:
    """PlatformIO's library.json."""
    content = {
        "name": _NAME,
        "version": version,
        "description": _SENTENCE,
        "keywords": ["quantization", "neural network", "integer"],
        "headers": "model.h",
        "frameworks": "*",
        "platforms": "*",
        "build": {"srcDir": "src", "flags": ["-O3"]},
        "examples": [{"name": "golden", "base": "examples/golden", "files": ["main.c", "golden.h"]}],
    }
    return (json.dumps(content, indent=2) + "\n").encode()

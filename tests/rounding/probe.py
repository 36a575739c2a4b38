"""Runs files of one operator in every kernel set; needs NumPy and a runtime alone, so that an emulated board can run it.

``python probe.py FILES RESULTS``: both ``.npz``; a file ``content_N`` goes with inputs ``x_N``, and gives
``PACKAGE VERSION RESOLVER N`` for every runtime that is installed.
"""

from __future__ import annotations

import sys
from importlib import import_module, metadata
from typing import Any

import numpy as np

MODULES = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}
RESOLVERS = {"default": "AUTO", "plain": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}


def computed(module: Any, content: bytes, x: Any, resolver: str) -> Any:
    """The outputs of a file, one for each input."""
    kernels = getattr(module.OpResolverType, RESOLVERS[resolver])
    interpreter = module.Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    results = []
    for one in x:
        interpreter.set_tensor(source, one)
        interpreter.invoke()
        results.append(interpreter.get_tensor(target))
    return np.stack(results)


def main(files: str, results: str) -> None:
    """Everything that is in the file, by every runtime that is installed."""
    given = np.load(files)
    count = sum(name.startswith("x_") for name in given)
    found = {}
    for package in filter(_installed, MODULES):
        module, version = import_module(MODULES[package]), metadata.version(package)
        for resolver in RESOLVERS:
            for n in range(count):
                content = given[f"content_{n}"].tobytes()
                found[f"{package} {version} {resolver} {n}"] = computed(module, content, given[f"x_{n}"], resolver)
    np.savez(results, **found)


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Runs files of one operator in every kernel set; needs NumPy and a runtime alone, so that an emulated board can run it.

``python probe.py FILES RESULTS``: both ``.npz``; a file ``content_N`` goes with inputs ``x_N``, and gives
``RESOLVER_N``.
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
    """Everything that is in the file, by the first runtime that is installed."""
    package = next(name for name in MODULES if _installed(name))
    module = import_module(MODULES[package])
    given = np.load(files)
    count = sum(name.startswith("x_") for name in given)
    found = {
        f"{resolver}_{n}": computed(module, given[f"content_{n}"].tobytes(), given[f"x_{n}"], resolver)
        for resolver in RESOLVERS
        for n in range(count)
    }
    np.savez(results, runtime=np.array([package, metadata.version(package)]), **found)


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])

"""``make litert-sizes``: bytes of model.onnx and model.tflite of the shipped networks, and what they are made of.

``weights``, ``tables`` and ``others`` (biases, multipliers) are constants, ``operators`` is what is left: operators, tensors,
names. Networks whose data are not here are left out by name.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import qdeploy
from qdeploy.listing import listing, missing_dataset
from qdeploy.runtime.bundle import read_bundle
from qdeploy.tflite_report import TfliteReport, tflite_report

_SAMPLES = 256
"""Of the calibration: sizes hardly depend on it."""


def shipped() -> Iterator[tuple[str, str | None]]:
    """The shipped networks' names, and why one cannot be exported here."""
    for entry in listing("models"):
        if entry.details["shipped"]:
            yield entry.name, missing_dataset(entry.details["dataset"])


def report_of(name: str, folder: Path) -> tuple[TfliteReport, str]:
    """What is in a network's model.tflite, and how its model.onnx keeps the weights."""
    bundle = qdeploy.export_model(name, folder / name, limit=_SAMPLES, formats=("onnx", "tflite"), force=True)
    found = tflite_report(read_bundle(bundle.path))
    if found is None:
        raise RuntimeError(f"{bundle.path} has no model.tflite")
    operators = bundle.inspect().operators
    kept = [words for operator, words in _FORMS.items() if operator in operators]
    return found, ", ".join(kept) or "bytes"


_FORMS = {
    "HamiltonMatrix": "quaternion",
    "HypercomplexMatrix": "hypercomplex",
    "HadamardMatrix": "Hadamard",
    "UnpackWeights": "packed",
    "SparseWeights": "without zeros",
}
"""What model.onnx has in place of a matrix of bytes, by the operator that makes one of it."""


def main() -> int:
    """All shipped networks, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    headings = ("model.onnx", "model.tflite", "ratio", "weights", "tables", "others", "operators")
    print(f"{'network':36} {'in model.onnx':21} " + " ".join(f"{heading:>12}" for heading in headings))
    with tempfile.TemporaryDirectory() as folder:
        for name, reason in shipped():
            if given.names and name not in given.names:
                continue
            if reason is not None:
                print(f"left out: {name}: {reason}", file=sys.stderr)
                continue
            found, kept = report_of(name, Path(folder))
            graph = found.bytes - sum(found.constants.values())
            cells = [f"{size:,}" for size in (found.model_bytes, found.bytes, *found.constants.values(), graph)]
            cells.insert(2, f"{found.bytes / found.model_bytes:.2f}")
            print(f"{name:36} {kept:21} " + " ".join(f"{cell:>12}" for cell in cells), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Adds golden bundles, made by this version: ``python -m tests.golden.make [NAME ...]``; never replaces one.

Beside each ``NAME.zip`` stands ``NAME.npz`` with the inputs, ``CASE/input/NAME``, and every integer of the model, outputs,
tensors between layers, and all steps of all states, ``CASE/tensor/NAME``, as the NumPy reference gave them; ``SHA256SUMS``
grows by both.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

import qdeploy
from qdeploy.export.bundle import npz_bytes
from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.reference import ReferenceModel
from qdeploy.runtime.standard import BodyModel
from qdeploy.verify.cases import CaseMaker
from qdeploy.verify.instrument import has_operators, show

from .convolutions import CONVOLUTIONS
from .networks import NETWORKS, STEPS, Network

BUNDLES = Path(__file__).parent / "bundles"
SUMS = BUNDLES / "SHA256SUMS"
EXTREMES = ("low", "high", "alternating")


def make(name: str, network: Network) -> None:
    """Exports, verifies, computes, and writes both files."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        model = network.model()
        if isinstance(model, onnx.ModelProto):
            # The manifest keeps the source's name: no path of this machine.
            onnx.save(model, "float.onnx")
            model = "float.onnx"
        bundle = qdeploy.export_model(
            model,
            BUNDLES / f"{name}.zip",
            calibration={"x": network.samples()},
            recipe=network.chosen_recipe(),
            zip=True,
            **network.options,
        )
        report = bundle.verify(samples=8)
        if not report.passed:
            bundle.path.unlink()
            sys.exit(f"{name}: runtimes differ; no golden bundle was made")
        np_file = BUNDLES / f"{name}.npz"
        np_file.write_bytes(npz_bytes(expected(bundle.path)))
        with SUMS.open("a") as sums:
            for file in (bundle.path, np_file):
                sums.write(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n")
        print(f"{name}: {bundle.path.stat().st_size:,} + {np_file.stat().st_size:,} bytes")


def expected(path: Path) -> dict[str, NDArray[np.generic]]:
    """Inputs and every integer: of the bundle's own vectors, of random numbers, and of extremes."""
    files = read_bundle(path)
    shown = show(files.model)
    maker = CaseMaker(files.manifest, files.model, steps=STEPS, seed=0)
    cases = {vector.name: maker.with_zero_state(vector.inputs) for vector in files.vectors().values()}
    cases["whole-range"] = dict(maker.random("random/0", 3).feeds)
    cases |= {kind: dict(maker.extreme(kind, 1).feeds) for kind in EXTREMES}
    arrays = {}
    for case, feeds in cases.items():
        # An inlined file has no layer-sized operators: the executor of standard ones reads it.
        tensors = ReferenceModel(shown).run(feeds).outputs if has_operators(shown) else BodyModel(shown).run(feeds)
        arrays |= {f"{case}/input/{name}": array for name, array in feeds.items()}
        arrays |= {f"{case}/tensor/{name}": array for name, array in tensors.items()}
    return arrays


if __name__ == "__main__":
    known = NETWORKS | CONVOLUTIONS
    for wanted in sys.argv[1:] or known:
        if (BUNDLES / f"{wanted}.zip").exists():
            print(f"{wanted}: is there, and stays")
        else:
            make(wanted, known[wanted])

"""Writes a named set's test samples for a machine without it: ``samples.npz`` (x and y) and ``inputs.npy`` (x).

Use: ``python scripts/samples.py sequential-digits FOLDER``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from qdeploy import datasets

if __name__ == "__main__":
    name, folder = sys.argv[1], Path(sys.argv[2])
    samples = datasets.load(name)
    np.savez_compressed(folder / "samples.npz", x=samples.x, y=samples.y)
    np.save(folder / "inputs.npy", samples.x)

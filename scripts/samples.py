"""Writes the test samples of a named data set to an .npz, as `qdeploy validate --data` reads them.

python scripts/samples.py sequential-digits samples.npz
"""

from __future__ import annotations

import sys

import numpy as np

from qdeploy import datasets

if __name__ == "__main__":
    name, target = sys.argv[1:]
    samples = datasets.load(name)
    np.savez_compressed(target, x=samples.x, y=samples.y)

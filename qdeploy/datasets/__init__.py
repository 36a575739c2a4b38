"""The data sets of trainings and accuracy checks, as NumPy arrays; nothing is ever downloaded."""

from __future__ import annotations

from .dataset import Dataset
from .registry import load, names

__all__ = ["Dataset", "load", "names"]

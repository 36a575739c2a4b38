"""The data sets of trainings and accuracy checks, as NumPy arrays; nothing is ever downloaded."""

from __future__ import annotations

from .dataset import Dataset
from .registry import load, load_characters, names, require
from .vocabulary import Vocabulary

__all__ = ["Dataset", "Vocabulary", "load", "load_characters", "names", "require"]

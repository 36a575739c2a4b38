"""Capture: a torch module, a checkpoint or a float ``.onnx`` file becomes a float model of layer-sized operators."""

from __future__ import annotations

from .captured import CapturedModel, InputSpec
from .dispatch import capture
from .exposure import expose
from .session import FloatSession
from .user_module import load_entry, load_weights

__all__ = ["CapturedModel", "FloatSession", "InputSpec", "capture", "expose", "load_entry", "load_weights"]

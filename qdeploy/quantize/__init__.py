"""Quantization: scales and zero points chosen, weights on a grid recognised, the integer graph built and proven."""

from qdeploy.quantize.quantizer import IntegerModel, quantize
from qdeploy.quantize.recipe import Recipe, load_recipe, recipe_names

__all__ = ["IntegerModel", "Recipe", "load_recipe", "quantize", "recipe_names"]

"""LiteRT's own quantized operators, measured: by which rule each of them rounds, and whether the project's table says so."""

"""An integer model as a ``.tflite`` file for LiteRT and its older twin, tflite-runtime."""

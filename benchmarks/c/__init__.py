"""C: kernels and whole models, in time and in instructions."""

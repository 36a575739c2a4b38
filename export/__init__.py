"""The integer graph to its formats: one folder a format, one file an operator in each."""

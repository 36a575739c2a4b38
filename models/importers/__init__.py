"""Importers of other libraries' checkpoints: their facts (names, shapes, equations), none of their code."""

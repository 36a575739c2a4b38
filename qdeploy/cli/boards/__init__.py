"""The commands of ``qdeploy board``, one file each."""

from __future__ import annotations

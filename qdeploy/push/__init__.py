"""The verb ``push``: a bundle goes to a board, is verified and measured there, and the report comes back."""

from .report import PushReport
from .run import push

__all__ = ["PushReport", "push"]

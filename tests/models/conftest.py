from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Networks this small are slower on several threads, and much slower where other programs run on them too."""
    torch.set_num_threads(1)

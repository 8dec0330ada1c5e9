"""The arithmetic of training: bfloat16 where it is safe, and the attention that is fast going backward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def mixed_precision(device: str) -> Iterator[None]:
    """bfloat16 autocast on `device` ("cpu", "cuda", "cuda:N").

    On a CPU with plain matrix products: the fused attention's backward pass is several times slower on short sequences.
    """
    kind = device.split(":")[0]
    attention = sdpa_kernel([SDPBackend.MATH]) if kind == "cpu" else nullcontext()
    with torch.autocast(kind, dtype=torch.bfloat16), attention:
        yield

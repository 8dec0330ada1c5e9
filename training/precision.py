"""The arithmetic of training: bfloat16 where it is safe, and the attention that is fast going backward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def mixed_precision(device: str) -> Iterator[None]:
    """bfloat16 autocast on `device` ("cpu", "cuda", "cuda:N"), with the attention of `fast_attention`."""
    with torch.autocast(device.split(":")[0], dtype=torch.bfloat16), fast_attention(device):
        yield


def fast_attention(device: str) -> AbstractContextManager:
    """On a CPU attention with plain matrix products.

    The fused attention's backward pass is several times slower there on short sequences.
    """
    return sdpa_kernel([SDPBackend.MATH]) if device.startswith("cpu") else nullcontext()

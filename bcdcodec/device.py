"""Which device the networks run on."""

from __future__ import annotations

from bcdcodec.errors import ModelError


def pick_device(name: str = "auto") -> str:
    """The torch device for `name`: "auto" (an NVIDIA GPU if there is one), "cpu", "cuda", "cuda:N" or "mps" (Apple).

    Raises ModelError for any other name, or a GPU that is not there.
    """
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if gpus else "cpu"
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise ModelError("no device 'mps': torch finds no Apple GPU here; use cpu")
        return name
    kind, _, number = name.partition(":")
    known = (kind == "cpu" and not number) or (kind == "cuda" and (number.isdecimal() or name == "cuda"))
    if not known:
        raise ModelError(f"no device {name!r}: use auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda" and int(number or 0) >= gpus:
        raise ModelError(f"no device {name!r}: torch sees {gpus} GPUs here; use cpu")
    return name

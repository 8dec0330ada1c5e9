"""bcdcodec: an open implementation of Bitrate-Controlled Diffusion (ICCV 2025) as a video codec.

import bcdcodec
codec = bcdcodec.load("faces")                       # a shipped model, or the folder of one
clip = codec.encode(frames)                          # uint8 [t, h, w, 3] -> content and motion codes
bcdcodec.write("talk.bcd", clip)
frames = codec.decode(bcdcodec.read("talk.bcd"))     # uint8 [t, h, w, 3]
other = codec.decode(clip, content=codec.encode(face))
"""

from __future__ import annotations

from bcdcodec.errors import BcdError

__version__ = "0.1.0"
__all__ = ["BcdError", "load", "read", "write"]

# torch takes seconds to import: what needs it is loaded on first use.
_LAZY = {"load": "bcdcodec.codec", "read": "bcdcodec.files.recording", "write": "bcdcodec.files.recording"}


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module 'bcdcodec' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)

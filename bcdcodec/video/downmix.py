"""More than two channels to mono, the centre at full level, where films and meetings keep speech.

FFmpeg's own downmix scales the sum of all channels so that it cannot clip: speech in the centre of 5.1 becomes 11 dB
quieter, and in one of ten channels 20 dB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CENTRE, FRONT, AROUND = 1.0, 0.5, 0.35  # gains, the last also of unnamed channels; those of low frequencies have none
FRONT_CHANNELS = ("FL", "FR", "FLC", "FRC")
LEFT_OUT = ("LFE", "LFE2")
KNEE = 0.8  # of full scale, from which on loud sums are compressed instead of clipped


def mono_with_centre(samples: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Returns float32 samples [channels, n], 1 being full scale, as mono int16 [n]."""
    gains = [_gain(name) for name in channels]
    mono = np.float32(gains) @ samples.astype(np.float32)
    size = np.abs(mono)
    above = np.maximum(size - KNEE, 0) / (1 - KNEE)
    soft = KNEE + (1 - KNEE) * above / (1 + above)
    mono = np.sign(mono) * np.where(size <= KNEE, size, soft)
    return np.rint(mono * 32767).astype(np.int16)


def _gain(name: str) -> float:
    if name == "FC":
        return CENTRE
    if name in LEFT_OUT:
        return 0.0
    return FRONT if name in FRONT_CHANNELS else AROUND

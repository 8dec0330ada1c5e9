"""How much of a file is decoded unless more is asked for.

Bytes cannot be the limit. A frame that is like the one before it costs 0.001 bits in profile context, and zeros at the
end of a coded part are left out: 4096 frames of a face that does not move take less than 100 bytes, in good files, too.
So the limits are of what a file states, and leave room for hours of video.
"""

MAX_FRAMES = 1_000_000  # eleven hours at 25 frames a second
MAX_VALUES = 1 << 26  # of all contents together: as many contents as a file can have, of 65536 values each


def excess(frames: int, values: int) -> str | None:
    """Say what a file states more of than is decoded, and how much is; None for a file within the limits."""
    if frames > MAX_FRAMES:
        return f"the file states {frames} frames, the limit is {MAX_FRAMES}"
    if values > MAX_VALUES:
        return f"the contents of the file state {values} values, the limit is {MAX_VALUES}"
    return None

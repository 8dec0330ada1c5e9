"""Motion codes to the coded part of packets, and back: what one packet's frames mean to the next one's coding."""

from __future__ import annotations

import numpy as np

from bcdcodec.entropy.context import read_frames, write_frames
from bcdcodec.entropy.context_state import ContextState
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.entropy.motion import check_codes, decode_motion, encode_motion
from bcdcodec.entropy.profiles import PROFILE_CONTEXT
from bcdcodec.entropy.range_coder import RangeEncoder
from bcdcodec.errors import FormatError

LONGEST = 4096  # coded frames between restarts, at most, as in a MOTN


class MotionWriter:
    """Codes the frames of one packet after the other."""

    def __init__(self, tables: ModelTables, profile: int):
        self._tables, self._context = tables, profile == PROFILE_CONTEXT
        self._state: ContextState | None = None
        self._frames = 0  # coded since the restart

    def write(self, codes: np.ndarray, restart: bool) -> tuple[bytes, bool]:
        """The coded part for codes uint8 [u, g] of a packet, and whether it is a restart: in profile static it is."""
        check_codes(codes, self._tables.motion)
        if not self._context:
            return encode_motion(codes, self._tables.motion), True
        tables = self._tables.context_tables()
        if restart or self._state is None or self._frames + len(codes) > LONGEST:
            self._state, self._frames, restart = ContextState(tables), 0, True
        encoder = RangeEncoder()
        write_frames(encoder, codes, self._state, tables)
        self._frames += len(codes)
        return encoder.finish(), restart


class MotionReader:
    """Decodes what a `MotionWriter` made, as long as no packet is missing since the last restart."""

    def __init__(self, tables: ModelTables, profile: int):
        self._tables, self._context = tables, profile == PROFILE_CONTEXT
        self._state: ContextState | None = None
        self._frames = 0

    def miss(self) -> None:
        """Take note that a packet is missing: only a restart can be decoded next."""
        self._state = None

    def read(self, coded: bytes, frames: int, restart: bool) -> np.ndarray | None:
        """Codes uint8 [frames, g] of a packet's coded part; None where it depends on one that is missing.

        Raises FormatError for bytes that no writer makes; the next packet must then be a restart.
        """
        if not self._context:
            if not restart:
                raise FormatError("a packet in profile static continues another, expected a restart")
            return decode_motion(coded, frames, self._tables.motion)
        tables = self._tables.context_tables()
        if restart:
            self._state, self._frames = ContextState(tables), 0
        if self._state is None:
            return None
        state, self._state = self._state, None  # lost unless all is decoded
        if self._frames + frames > LONGEST:
            raise FormatError(f"more than {LONGEST} frames follow a restart, expected another one before")
        codes = read_frames(coded, frames, state, tables)
        self._state = state
        self._frames += frames
        return codes

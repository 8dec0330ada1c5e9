"""The `.bcd` container (format-spec.md): chunks, their contents, a streaming writer, a lazy reader and a checker."""

from .audio import OPUS_RATE, Audio, AudioFormat, opus_samples
from .head import Head
from .opening import open_bcd, read_recording
from .payloads import CHUNK_FRAMES, AncillaryChunk, Content, Motion, Surroundings
from .reader import BcdReader, ByteCounts, Recording
from .verify import Finding, VerifyReport, verify_file
from .writer import BcdWriter, write_recording

__all__ = [
    "CHUNK_FRAMES",
    "OPUS_RATE",
    "AncillaryChunk",
    "Audio",
    "AudioFormat",
    "BcdReader",
    "BcdWriter",
    "ByteCounts",
    "Content",
    "Finding",
    "Head",
    "Motion",
    "Recording",
    "Surroundings",
    "VerifyReport",
    "open_bcd",
    "opus_samples",
    "read_recording",
    "verify_file",
    "write_recording",
]

"""The `.bcd` container (format-spec.md): chunks, their contents, a streaming writer, a lazy reader and a checker."""

from bcdcodec.container.audio import OPUS_RATE, Audio, AudioFormat, opus_samples
from bcdcodec.container.head import Head
from bcdcodec.container.opening import open_bcd, read_recording
from bcdcodec.container.payloads import CHUNK_FRAMES, AncillaryChunk, Content, Motion, Surroundings
from bcdcodec.container.picture import Picture
from bcdcodec.container.random_access import RandomAccess
from bcdcodec.container.reader import BcdReader, ByteCounts, Recording
from bcdcodec.container.verify import Finding, VerifyReport, verify_file
from bcdcodec.container.writer import BcdWriter, write_recording

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
    "Picture",
    "RandomAccess",
    "Recording",
    "Surroundings",
    "VerifyReport",
    "open_bcd",
    "opus_samples",
    "read_recording",
    "verify_file",
    "write_recording",
]

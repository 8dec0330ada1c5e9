"""Text tags inside PNG, APNG and GIF files, which FFmpeg's writers leave out."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from pathlib import Path

PNG_HEADER_BYTES = 8 + 25  # signature, then the IHDR chunk: text may follow it
GIF_TRAILER = b"\x3b"


def png_text_chunks(metadata: dict[str, str]) -> bytes:
    """Returns one uncompressed UTF-8 iTXt chunk a tag; keys are Latin-1, at most 79 bytes."""
    chunks = b""
    for key, value in metadata.items():
        keyword = key.encode("latin-1", "replace")[:79]
        # After the keyword: not compressed, method 0, no language, no translated keyword.
        body = b"iTXt" + keyword + b"\0\0\0\0\0" + value.encode()
        chunks += struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return chunks


def tag_png(png: bytes, metadata: dict[str, str]) -> bytes:
    """Returns a PNG file's bytes with the tags put in."""
    return png[:PNG_HEADER_BYTES] + png_text_chunks(metadata) + png[PNG_HEADER_BYTES:]


def tag_apng_file(path: Path, metadata: dict[str, str]) -> None:
    """Puts the tags into an APNG file, by way of a second file beside it."""
    tagged = path.with_name(path.name + "-tagged")
    try:
        with open(path, "rb") as source, open(tagged, "wb") as target:
            target.write(source.read(PNG_HEADER_BYTES) + png_text_chunks(metadata))
            shutil.copyfileobj(source, target)
        os.replace(tagged, path)
    finally:
        tagged.unlink(missing_ok=True)


def tag_gif_file(path: Path, metadata: dict[str, str]) -> None:
    """Adds the tags to a GIF file as one comment of `key: value` lines, before its end."""
    comment = "\n".join(f"{key}: {value}" for key, value in metadata.items()).encode()
    blocks = [comment[i : i + 255] for i in range(0, len(comment), 255)]
    with open(path, "r+b") as file:
        file.seek(-len(GIF_TRAILER), os.SEEK_END)
        file.write(b"\x21\xfe" + b"".join(bytes([len(b)]) + b for b in blocks) + b"\0")
        file.write(GIF_TRAILER)

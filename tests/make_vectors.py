"""Writes the conformance vectors: `python tests/make_vectors.py [FOLDER]`; the same bytes every time."""

import hashlib
import io
import json
import sys
from pathlib import Path

from vector_faults import faulty_vectors
from vector_files import PICTURES, valid_vectors
from vector_parts import CONTEXT, DEEP, LEARNED, PAIRS, SMALL, STAGES, WIDE
from vector_pictures import DECODED

from bcdcodec.container import read_recording
from bcdcodec.entropy import ModelTables

VECTORS = Path(__file__).parent / "vectors"
TABLES = {
    "small": SMALL,
    "small_context": CONTEXT,
    "stages": STAGES,
    "pairs": PAIRS,
    "wide": WIDE,
    "learned": LEARNED,
    "deep": DEEP,
}


def codes_of(data: bytes, tables: ModelTables) -> dict:
    """What a reader must get out of a valid file: frames, and the SHA-256 of their codes, one byte each, in order."""
    motions = read_recording(io.BytesIO(data), tables).motions
    codes = b"".join(motion.codes.tobytes() for motion in motions)
    return {"frames": sum(motion.frames for motion in motions), "sha256": hashlib.sha256(codes).hexdigest()}


def make(folder: Path) -> None:
    """Write all vectors, the tables and `index.json`: what a reader must make of each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, tables in TABLES.items():
        tables.save(folder / f"{name}.safetensors")
    for name, (_, data) in valid_vectors().items():
        (folder / f"{name}.bcd").write_bytes(data)
    (folder / "faulty").mkdir(exist_ok=True)
    for name, (_, data, _) in faulty_vectors().items():
        (folder / "faulty" / f"{name}.bcd").write_bytes(data)
    valid = {name: tables for name, (tables, _) in valid_vectors().items()}
    faulty = {name: error for name, (_, _, error) in faulty_vectors().items()}
    tables = {name: tables for name, (tables, _, _) in faulty_vectors().items() if tables != "small"}
    pictures = {
        name: [
            {"width": p.width, "height": p.height, "planes": DECODED[p].planes, "rgb": DECODED[p].rgb} for p in pictures
        ]
        for name, pictures in PICTURES.items()
    }
    index = {"valid": valid, "faulty": faulty, "tables_of_faulty": tables}  # all others are read with small
    index["codes"] = {name: codes_of(data, TABLES[tables]) for name, (tables, data) in valid_vectors().items()}
    index["pictures"] = pictures  # of the contents that have one, in their order; SHA-256 of what they decode to
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else VECTORS)

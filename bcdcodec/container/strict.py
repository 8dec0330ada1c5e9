"""What `verify --strict` looks at: whether a file is, byte for byte, what a writer of this version writes."""

from collections.abc import Iterator

from bcdcodec.container.chunks import CHUNK_TYPES
from bcdcodec.container.head import MINOR_AUDIO, pack_head
from bcdcodec.container.index import INDEX_ABOVE
from bcdcodec.container.metadata import pack_metadata
from bcdcodec.container.payloads import pack_content, pack_motion, unpack_content, unpack_motion, unpack_surroundings
from bcdcodec.container.reader import BcdReader
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.errors import BcdError

_KNOWN = {kind.decode("ascii") for kind in CHUNK_TYPES}
_WEBP = (b"RIFF", b"WEBP")  # at bytes 0 and 8 of a WebP file (RFC 9649)


def strict_findings(reader: BcdReader, tables: ModelTables | None) -> Iterator[str]:
    """Yield what a reader must accept and a writer of this version does not write, a line each.

    `tables`: those that the file is coded with; with them every coded part is decoded and coded again.
    """
    names = [name for name, _, _ in reader.chunks]
    head = reader.payload_at(reader.chunks[0][1])
    minor = MINOR_AUDIO if "AUDI" in names and head[0] & 15 else 0
    if head != pack_head(reader.head, minor):
        yield f"HEAD is not as a writer writes it: fields that could be left out, or not version 1.{minor}"
    if names.count("iNDX") > 1 or ("iNDX" in names and names[-2:] != ["iNDX", "TAIL"]):
        yield "iNDX is not just before TAIL, once"
    if reader.complete and ("iNDX" in names) != (len(reader.index) > INDEX_ABOVE):
        yield f"a file of {len(reader.index)} CONT and MOTN {'needs no' if 'iNDX' in names else 'has no'} iNDX"
    contents = 0
    for name, offset, _ in reader.chunks:
        where = f"{name} at byte {offset}"
        contents += name == "CONT"
        if name not in _KNOWN:
            yield f"{where} is no chunk of this version"
        elif name == "AUDI" and (head[0] & 15) < MINOR_AUDIO:
            yield f"{where} means nothing in a file of version 1.0"
        elif name == "sURR":
            yield from _surroundings_findings(where, reader.payload_at(offset), contents)
        elif name == "mETa":
            yield from _metadata_findings(where, reader)
        elif tables is not None and name in ("CONT", "MOTN"):
            yield from _coded_findings(where, name, reader, offset, tables)


def _surroundings_findings(where: str, payload: bytes, contents: int) -> Iterator[str]:
    try:
        still = unpack_surroundings(payload)
    except BcdError as error:
        yield f"{where}: {error}"
        return
    if still.content >= contents:
        yield f"{where} belongs to content {still.content}, {contents} contents are before it"
    if (still.webp[:4], still.webp[8:12]) != _WEBP:
        yield f"{where} holds no WebP file"


def _metadata_findings(where: str, reader: BcdReader) -> Iterator[str]:
    try:
        metadata = reader.metadata
        if not metadata or pack_metadata(metadata) != reader.packed_metadata:
            yield f"{where} is empty or not in msgpack's shortest form"
    except BcdError:
        pass  # found without --strict, too


def _coded_findings(where: str, name: str, reader: BcdReader, offset: int, tables: ModelTables) -> Iterator[str]:
    payload, head = reader.payload_at(offset), reader.head
    try:
        if name == "CONT":
            again = pack_content(unpack_content(payload, tables, head.content_profile), tables, head.content_profile)
        else:
            again = pack_motion(unpack_motion(payload, tables, head.entropy_profile), tables, head.entropy_profile)
    except BcdError:
        return  # found without --strict, too
    if again[0] != payload:
        yield f"{where} has {len(payload)} bytes; what it holds is written in {len(again[0])}, or in others"

"""`verify --strict`: what readers accept and no writer of this version writes."""

import pytest
from make_vectors import TABLES
from test_vectors import INCOMPLETE, INDEX, VECTORS
from vector_parts import LEARNED, SMALL, contextual, file_bytes, join, learned, motion_for, recording, split

from bcdcodec.container import verify_file

FOUND = {  # by vector; of all others nothing
    "newer_minor": "HEAD is not as a writer writes it",
    "surroundings": "holds no WebP file",
    "sound_of_1_0": "means nothing in a file of version 1.0",
    "unknown_ancillary": "is no chunk of this version",
}
PLAIN = file_bytes(recording(), SMALL)
INDEXED = file_bytes(recording(motions=[motion_for(SMALL, i, 1) for i in range(9)]), SMALL)


def findings(path, data: bytes, tables=SMALL) -> list[str]:
    """What --strict finds beyond a verification without it, which finds nothing."""
    path.write_bytes(data)
    assert verify_file(path, tables).findings == ()
    return [finding.message for finding in verify_file(path, tables, strict=True).findings]


@pytest.mark.parametrize("name", sorted(set(INDEX["valid"]) - set(INCOMPLETE)))
def test_the_vectors(name, tmp_path):
    found = findings(tmp_path / "x.bcd", (VECTORS / f"{name}.bcd").read_bytes(), TABLES[INDEX["valid"][name]])
    assert len(found) == (name in FOUND) and all(FOUND[name] in text for text in found)


def changed(data: bytes, kind: bytes, edit) -> bytes:
    return join([(name, edit(payload) if name == kind else payload) for name, payload in split(data)])


@pytest.mark.parametrize(
    "data, tables, reason",
    [
        (changed(PLAIN, b"MOTN", lambda p: p + b"\0"), SMALL, "what it holds is written in"),
        (changed(PLAIN, b"CONT", lambda p: p + b"\0\0"), SMALL, "what it holds is written in"),
        (changed(contextual(), b"MOTN", lambda p: p + b"\0"), LEARNED, "what it holds is written in"),
        (changed(learned(), b"CONT", lambda p: p + b"\1"), LEARNED, "what it holds is written in"),
        (changed(PLAIN, b"HEAD", lambda p: p[:1] + bytes([p[1] | 128]) + p[2:] + b"\0"), SMALL, "HEAD is not"),
        (join([part for part in split(INDEXED) if part[0] != b"iNDX"]), SMALL, "has no iNDX"),
        (join([*split(PLAIN)[:-1], (b"iNDX", split(INDEXED)[-2][1]), split(PLAIN)[-1]]), SMALL, "needs no iNDX"),
        (join([split(PLAIN)[0], (b"mETa", b"\x80"), *split(PLAIN)[1:]]), SMALL, "is empty"),
        (join([split(PLAIN)[0], (b"mETa", b"\x81\xd9\1a\1"), *split(PLAIN)[1:]]), SMALL, "shortest form"),
        (join([*split(PLAIN)[:2], (b"sURR", b"\1RIFF\4\0\0\0WEBP"), *split(PLAIN)[2:]]), SMALL, "belongs to content 1"),
        (join([*split(PLAIN)[:2], (b"sURR", b"\x80"), *split(PLAIN)[2:]]), SMALL, "sURR"),
    ],
    ids=["zero", "zeros", "context", "learned", "head", "no index", "index", "empty", "long", "still", "cut still"],
)
def test_what_no_writer_writes(data, tables, reason, tmp_path):
    path = tmp_path / "x.bcd"
    path.write_bytes(data)
    assert verify_file(path, tables).ok, "a reader accepts it"
    found = {f.message for f in verify_file(path, tables, strict=True).findings}
    found -= {f.message for f in verify_file(path, tables).findings}
    assert len(found) >= 1 and any(reason in text for text in found), found


def test_without_tables_coded_parts_are_not_looked_at(tmp_path):
    data = changed(PLAIN, b"MOTN", lambda p: p + b"\0")
    (tmp_path / "x.bcd").write_bytes(data)
    assert verify_file(tmp_path / "x.bcd", strict=True).findings == ()


def test_the_command_fails_a_file_that_is_valid_but_not_strictly(bcd, tmp_path):
    (tmp_path / "x.bcd").write_bytes((VECTORS / "unknown_ancillary.bcd").read_bytes())
    assert bcd("verify", tmp_path / "x.bcd").code == 0
    done = bcd("verify", tmp_path / "x.bcd", "--strict")
    assert done.code == 1 and "warning: zzTp at byte 86 is no chunk of this version" in done.out

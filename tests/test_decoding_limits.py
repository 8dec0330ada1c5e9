"""How much of a file is decoded on its word, unless the user asks for all of it."""

import pytest
from vector_parts import CONTEXT, SMALL, file_bytes, motion_for, recording

from bcdcodec.container import Finding, limits, read_recording, verify_file
from bcdcodec.entropy.context import encode_context
from bcdcodec.errors import LimitError

PLAIN = file_bytes(recording(), SMALL)


@pytest.mark.parametrize(
    "limit, below, text",
    [
        ("MAX_FRAMES", 9, "the file states 10 frames, the limit is 9"),
        ("MAX_VALUES", 23, "the contents of the file state 24 values, the limit is 23"),
    ],
)
def test_more_than_the_limit_is_decoded_only_when_asked_for(tmp_path, monkeypatch, limit, below, text):
    path = tmp_path / "x.bcd"
    path.write_bytes(PLAIN)
    monkeypatch.setattr(limits, limit, below + 1)
    assert verify_file(path, SMALL).findings == ()
    monkeypatch.setattr(limits, limit, below)
    report = verify_file(path, SMALL, strict=True)
    expected = Finding("warning", f"codes not checked: {text}; check them with --all")
    assert (report.findings, report.frames, report.codes_checked) == ((expected,), 10, False)
    assert verify_file(path, SMALL, everything=True).codes_checked
    assert verify_file(path).findings == (), "without tables nothing is decoded"
    with pytest.raises(LimitError, match=f"{text}: read it in parts, with open_bcd"):
        read_recording(path, SMALL)


def test_bytes_cannot_limit_how_many_frames_are_decoded():
    """4096 frames of a face that does not move are a good file, and take fewer bytes than two other frames."""
    codes = motion_for(CONTEXT, 0, 1).codes.repeat(4096, axis=0)
    assert len(encode_context(codes, CONTEXT.context)) < 20

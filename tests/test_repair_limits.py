"""What a repair leaves out, refuses or states, where chunks are whole but do not go together."""

import io
from dataclasses import replace

import pytest
from vector_parts import SMALL, content_for, file_bytes, head_for, join, recording, split, with_payload

from bcdcodec.container import open_bcd, salvage
from bcdcodec.container.chunks import pack_chunk
from bcdcodec.container.payloads import pack_content
from bcdcodec.container.repair import read_head, repair
from bcdcodec.container.varint import pack_varint
from bcdcodec.errors import LimitError

PLAIN = file_bytes(recording(), SMALL)


def test_motion_before_its_content_begins_is_left_out():
    content = pack_content(content_for(SMALL, 0, 3), SMALL)[0]
    parts = split(PLAIN)
    report = repair(join([parts[0], (b"CONT", content), *parts[2:]]), io.BytesIO(), SMALL)
    assert report.frames == 4
    assert any("frame 0 uses content 0, which begins at frame 3" in loss for loss in report.losses)


def test_more_frames_than_stated_are_kept():
    report = repair(file_bytes(replace(recording(), head=head_for(SMALL)), SMALL), io.BytesIO(), SMALL)
    assert report.losses == ()
    head = with_payload(PLAIN, b"HEAD", lambda p: p[:2] + (3).to_bytes(4, "little") + p[6:])
    report = repair(head, io.BytesIO(), SMALL)
    assert report.frames == 10 and report.losses == ("the file states 3 frames and has 10",)


def test_times_that_no_file_can_hold_are_refused():
    """After a loss frames have times of their own, and those are limited."""
    data = file_bytes(recording(frame_duration=0xFFFFFFFF), SMALL)
    parts = split(data)
    late = pack_varint(1 << 31) + parts[3][1][1:]
    with pytest.raises(LimitError, match="its time cannot be kept"):
        repair(join([*parts[:3], (b"MOTN", late), parts[4]]), io.BytesIO(), SMALL)


def test_the_search_for_chunks_in_hostile_bytes_ends(monkeypatch):
    """Bytes that state thousands of overlapping chunks are not all checked."""
    chunk = pack_chunk(b"MOTN", bytes(100))
    hostile = b"".join(b"MOTN" + bytes([100]) + bytes(4) for _ in range(50)) + bytes(100) + chunk
    found = list(salvage.find_chunks(hostile))
    assert found[-1].type == b"MOTN"
    monkeypatch.setattr(salvage, "SEARCH_BYTES", 300)
    assert all(isinstance(item, salvage.Damage) for item in salvage.find_chunks(hostile))


def test_the_losses_of_a_repair_are_stated_up_to_some():
    parts = split(PLAIN)
    twice = join([*parts[:3], *[parts[2]] * 300, *parts[3:]])
    report = repair(twice, io.BytesIO(), SMALL)
    assert len(report.losses) == 300 and report.lines[-1] == f"and {300 - len(report.lines) + 1} more places"
    assert read_head(PLAIN).model_name == "vectors"


def test_cut_motion_whose_content_is_lost_is_lost(tmp_path):
    parts = split(PLAIN)
    data = join([parts[0], (b"CONT", pack_content(content_for(SMALL, 1), SMALL)[0]), parts[2]])[:-2]
    report = repair(data, tmp_path / "x.bcd", SMALL)
    assert report.frames == 0 and any("chunk MOTN" in loss and "cut" in loss for loss in report.losses)
    with open_bcd(tmp_path / "x.bcd") as reader:
        assert reader.fault is None and reader.content_count == 1

"""The square that is coded follows the face, and the decoded face goes back to where it was."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from head_clips import head_frames, write_clip
from vector_parts import SMALL, file_bytes, head_for, recording as recording_of_vectors, split

from bcdcodec.container import BcdWriter, Surroundings, open_bcd, read_recording
from bcdcodec.errors import FormatError, MissingDetectorError, VideoError
from bcdcodec.video import Crop, PasteBack, decode_still, encode_still, face, read_frames
from bcdcodec.video.face import square_around

WIDTH, HEIGHT, HEAD = 320, 200, 128


def room(frames, x, y, size=HEAD, seed=11):
    """A grey-blue room with a procedural head whose picture's corner is at (x, y) in the first frame."""
    pictures = np.full((frames, HEIGHT, WIDTH, 3), (70, 80, 90), np.uint8)
    heads = head_frames(seed, frames, size)
    for i in range(frames):
        pictures[i, y : y + size, x : x + size] = heads[i]
    return pictures


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("room") / "talk.mp4", room(16, 170, 50))


# ---- where the square lies


def test_a_still_face_gets_the_square_of_the_training_pictures():
    square = square_around([(500, 400, 98)] * 5, 1920, 1080)
    assert square == Crop(400, 290, 200, 200)


def test_a_face_that_moves_gets_a_larger_square_that_holds_it_everywhere():
    faces = [(x, 400, 100) for x in range(300, 701, 50)]
    square = square_around(faces, 1920, 1080)
    assert square.w >= 550
    assert all(square.x <= x - w / 2 and x + w / 2 <= square.x + square.w for x, _, w in faces)


@pytest.mark.parametrize("x, y", [(5, 5), (1900, 5), (5, 1070), (1900, 1070), (960, 540)])
@pytest.mark.parametrize("width", [40, 300, 900])
def test_the_square_never_leaves_the_picture(x, y, width):
    square = square_around([(x, y, width)], 1920, 1080)
    assert square.w == square.h
    assert 0 <= square.x <= 1920 - square.w and 0 <= square.y <= 1080 - square.h


def test_the_face_is_found_where_it_is(talk):
    pytest.importorskip("dlib")
    square = face.face_square(talk)
    assert square is not None and abs(square.x + square.w / 2 - (170 + HEAD / 2)) < HEAD / 4
    assert 0.5 * HEAD < square.w < 1.5 * HEAD


def test_another_face_now_and_then_does_not_move_the_square():
    steady = face._of_one_face([(100, 100, 50)] * 6 + [(300, 100, 50), (100, 100, 200)])
    assert steady == [(100, 100, 50)] * 6


# ---- through the command


def test_encode_takes_the_square_of_the_face_and_says_so(bcd, talk, tiny_model, tmp_path):
    pytest.importorskip("dlib")
    done = bcd("encode", talk, tmp_path / "a.bcd", "--model", tiny_model, "--crop", "auto")
    square = face.face_square(talk)
    assert done.code == 0 and f"lies in {square}" in done.err
    facts = json.loads(bcd("info", tmp_path / "a.bcd", "--json").out)
    assert facts["crop"] == [square.x, square.y, square.w, square.h]
    assert facts["coded_share"] == pytest.approx(square.w**2 / (WIDTH * HEIGHT))
    assert f"{100 * facts['coded_share']:.0f} % of its area" in bcd("info", tmp_path / "a.bcd").out


def test_without_a_face_the_centre_is_coded_with_a_note(bcd, tiny_model, tmp_path):
    pytest.importorskip("dlib")
    write_clip(tmp_path / "grey.mp4", np.full((4, 96, 128, 3), 120, np.uint8))
    done = bcd("encode", tmp_path / "grey.mp4", tmp_path / "a.bcd", "--model", tiny_model, "--crop", "auto")
    assert done.code == 0 and "no face is found" in done.err
    assert json.loads(bcd("info", tmp_path / "a.bcd", "--json").out)["crop"] == [16, 0, 96, 96]


def test_without_the_detector_the_centre_is_coded_with_a_note(bcd, talk, tiny_model, tmp_path, monkeypatch):
    def missing():
        raise MissingDetectorError("no face detector is installed: pip install 'bcdcodec[face]'")

    monkeypatch.setattr(face, "_detector", missing)
    done = bcd("encode", talk, tmp_path / "a.bcd", "--model", tiny_model, "--crop", "auto")
    assert done.code == 0 and "bcdcodec[face]" in done.err and "centre square" in done.err


def test_a_face_is_pasted_back_into_its_surroundings(bcd, talk, tiny_model, tmp_path):
    options = ("--model", tiny_model)
    assert bcd("encode", talk, tmp_path / "a.bcd", *options, "--crop", "170,50,128,128", "--surroundings").code == 0
    facts = json.loads(bcd("info", tmp_path / "a.bcd", "--json").out)
    size = facts["bytes"]
    assert 0 < size["surroundings"] < 8000
    assert sum(size.values()) == 2 * size["total"] == 2 * (tmp_path / "a.bcd").stat().st_size
    assert bcd("decode", tmp_path / "a.bcd", tmp_path / "out", *options, "--paste-back").code == 0
    with read_frames(tmp_path / "out", None, 64) as video:
        assert (video.info.width, video.info.height) == (WIDTH, HEIGHT)
        assert len(list(video)) == 16


@pytest.mark.parametrize("more, words", [((), "holds no surroundings"), (("--scale", 2), "does not go with")])
def test_pasting_back_needs_a_still_and_its_size(bcd, recording, tiny_model, tmp_path, more, words):
    done = bcd("decode", recording, tmp_path / "out.mp4", "--model", tiny_model, "--paste-back", *more)
    assert done.code == 1 and words in done.err and not (tmp_path / "out.mp4").exists()


def test_a_reenacted_face_goes_into_its_own_surroundings(bcd, talk, recording, tiny_model, tmp_path):
    options = ("--model", tiny_model)
    bcd("encode", talk, tmp_path / "face.bcd", *options, "--surroundings")
    done = bcd("decode", recording, tmp_path / "out", *options, "--content", tmp_path / "face.bcd", "--paste-back")
    assert done.code == 0
    with read_frames(tmp_path / "out", None, 64) as video:
        assert (video.info.width, video.info.height) == (WIDTH, HEIGHT)


# ---- the still


def test_a_pasted_square_covers_its_place_and_nothing_else():
    still = np.full((100, 200, 3), 50, np.uint8)
    out = PasteBack(still, (400, 100, 200, 200), 1000, 500)(np.full((32, 32, 3), 250, np.uint8))
    changed = (out != still).any(-1)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (20, 59, 80, 119)
    assert (out[30:50, 90:110] == 250).all()
    assert 50 < out[40, 80, 0] < 250, "the edge passes into the still"


def test_at_the_edge_of_the_picture_nothing_is_feathered():
    out = PasteBack(np.zeros((50, 50, 3), np.uint8), (0, 0, 50, 50), 50, 50)(np.full((8, 8, 3), 200, np.uint8))
    assert (out == 200).all()


def test_a_still_is_small_and_alike():
    picture = room(1, 170, 50)[0]
    webp = encode_still(picture)
    assert len(webp) < 8000
    assert np.abs(decode_still(webp).astype(int) - picture).mean() < 6


@pytest.mark.parametrize("data", [b"", b"RIFF", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_still_is_refused(data):
    with pytest.raises(VideoError, match="no WebP"):
        decode_still(data)


def test_surroundings_survive_a_file_and_stand_after_their_content():
    still = Surroundings(0, b"RIFF....WEBP")
    data = file_bytes(replace(recording_of_vectors(), surroundings=(still,)), SMALL)
    assert [kind for kind, _ in split(data)][:3] == [b"HEAD", b"CONT", b"sURR"]
    found = read_recording(io.BytesIO(data), SMALL)
    assert found.surroundings == (still,) and found.complete
    with open_bcd(io.BytesIO(data)) as reader:
        assert reader.byte_counts.surroundings == 1 + len(still.webp)
        assert reader.byte_counts.total == len(data)


def test_surroundings_of_no_content_are_refused():
    with pytest.raises(FormatError, match="contents before"):
        BcdWriter(io.BytesIO(), head_for(SMALL), SMALL).write_surroundings(Surroundings(0, b""))

"""The square that is coded follows the face, and the decoded face goes back to where it was."""

import io
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from head_clips import head_frames, write_clip
from test_tracks import DEFAULT, clip_of_tracks
from vector_parts import SMALL, file_bytes, head_for, recording as recording_of_vectors, split

from bcdcodec.container import BcdWriter, Surroundings, open_bcd, read_recording
from bcdcodec.errors import FormatError, MissingDetectorError, VideoError
from bcdcodec.video import Crop, PasteBack, decode_still, detector, encode_still, face, read_frames
from bcdcodec.video.detector import Face
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
    square = face.choose_face(talk, None, 64).crop
    assert square is not None and abs(square.x + square.w / 2 - (170 + HEAD / 2)) < HEAD / 4
    assert 0.5 * HEAD < square.w < 1.5 * HEAD


def test_another_face_now_and_then_does_not_move_the_square():
    steady = face._of_one_face([(100, 100, 50)] * 6 + [(300, 100, 50), (100, 100, 200)])
    assert steady == [(100, 100, 50)] * 6


# ---- several faces, dark, turned and small ones, with a detector that finds what it is told


def clip_of(tmp_path, count=12, size=(640, 360)):
    return write_clip(tmp_path / "a.mp4", np.full((count, size[1], size[0], 3), 90, np.uint8))


def detector_of(monkeypatch, faces_of):
    """Makes `faces_of(picture)` the detector, a list of (x, y, width, score)."""
    monkeypatch.setattr(face, "find_detector", lambda: lambda picture: [Face(*values) for values in faces_of(picture)])


def test_of_two_faces_the_largest_is_coded_and_both_are_told(tmp_path, monkeypatch):
    detector_of(monkeypatch, lambda _: [(150, 180, 60, 0.9), (480, 180, 80, 0.9)])
    clip = clip_of(tmp_path)
    largest, left = face.choose_face(clip, None, 128), face.choose_face(clip, 1, 128)
    assert abs(largest.crop.x + largest.crop.w / 2 - 480) < 5 and abs(left.crop.x + left.crop.w / 2 - 150) < 5
    assert "shows 2 faces: number 2 from the left, the largest, is coded; --face N" in largest.notes[1]
    assert len(left.notes) == 1
    with pytest.raises(VideoError, match="shows 2 faces, number 3"):
        face.choose_face(clip, 3, 128)


def test_faces_that_come_in_any_order_are_kept_apart(tmp_path, monkeypatch):
    faces, calls = [(150, 180, 60, 0.9), (260, 180, 70, 0.9)], iter(range(1000))
    detector_of(monkeypatch, lambda _: faces[:: 1 if next(calls) % 2 else -1])
    crop = face.choose_face(clip_of(tmp_path), 1, 128).crop
    assert abs(crop.x + crop.w / 2 - 150) < 5


def test_a_small_face_is_told_with_its_size(tmp_path, monkeypatch):
    detector_of(monkeypatch, lambda _: [(300, 180, 40, 0.9)])
    notes = face.choose_face(clip_of(tmp_path), None, 256).notes
    assert any("its square has 82 pixels a side, pictures of 256 are coded" in note for note in notes)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_face_is_turned_upright_and_told(tmp_path, monkeypatch, turn):
    """The picture has a white corner, by which the detector knows how it was turned."""
    pictures = np.full((12, 360, 640, 3), 90, np.uint8)
    pictures[:, :40, :40] = 250
    corner = {0: (0, 0), 90: (0, -1), 180: (-1, -1), 270: (-1, 0)}[turn]

    def faces_of(picture):
        return [(200, 100, 60, 0.95)] if picture[corner].min() > 200 else [(300, 200, 60, 0.7)]

    detector_of(monkeypatch, faces_of)
    choice = face.choose_face(write_clip(tmp_path / "a.mp4", pictures), None, 64)
    assert choice.turn == turn and f"is turned by {turn} degrees clockwise, as its face" in choice.notes[0]
    x, y, side, _ = choice.crop.x, choice.crop.y, choice.crop.w, choice.crop.h
    assert abs(x + side * face.FACE_X - 200) < 4 and abs(y + side * face.FACE_Y - 100) < 4


def test_one_picture_that_looks_turned_turns_nothing(tmp_path, monkeypatch):
    """The third of twelve samples, as a blurred one may."""
    shades = np.arange(12) * 10 + 40
    pictures = np.broadcast_to(shades[:, None, None, None], (12, 90, 160, 3)).astype(np.uint8)

    def faces_of(picture):
        third = abs(int(picture[45, 45, 0]) - shades[2]) < 5
        return [(80, 45, 30, 0.9)] if third == (picture.shape[0] > picture.shape[1]) else []

    detector_of(monkeypatch, faces_of)
    choice = face.choose_face(write_clip(tmp_path / "a.mp4", pictures), None, 32)
    assert choice.turn == 0 and choice.crop is not None


def test_two_people_in_turns_are_two_faces(tmp_path, monkeypatch):
    pictures = np.where(np.arange(12) // 3 % 2, 200, 50).astype(np.uint8)[:, None, None, None]
    pictures = np.broadcast_to(pictures, (12, 360, 640, 3))
    detector_of(monkeypatch, lambda picture: [(150, 180, 60, 0.9) if picture.max() > 128 else (480, 180, 80, 0.9)])
    choice = face.choose_face(write_clip(tmp_path / "a.mp4", pictures), None, 64)
    assert "shows 2 faces" in choice.notes[1] and abs(choice.crop.x + choice.crop.w / 2 - 480) < 5


def test_a_face_that_leaves_stays_in_the_square_as_long_as_it_is_seen(tmp_path, monkeypatch):
    places = iter([*range(300, 620, 40), None, None, None, None])
    detector_of(monkeypatch, lambda _: [(x, 180, 60, 0.9) for x in [next(places, None)] if x is not None])
    choice = face.choose_face(clip_of(tmp_path), None, 64)
    assert choice.crop.x <= 400 and choice.crop.x + choice.crop.w >= 500 and len(choice.notes) == 1


def test_a_dark_face_is_found_after_equalisation_and_told(tmp_path, monkeypatch):
    pictures = np.random.default_rng(0).integers(5, 30, (12, 90, 160, 3)).astype(np.uint8)
    detector_of(monkeypatch, lambda picture: [(80, 45, 30, 0.9)] if picture.max() > 150 else [])
    notes = face.choose_face(write_clip(tmp_path / "a.mp4", pictures), None, 32).notes
    assert any("too dark, or has too little contrast" in note for note in notes)


def test_faces_are_looked_for_in_the_track_that_is_coded(tmp_path, monkeypatch):
    clip = clip_of_tracks(tmp_path / "a.mkv", [(64, None), (128, DEFAULT)])
    detector_of(monkeypatch, lambda picture: [(picture.shape[1] / 2, picture.shape[0] / 2, 16, 0.9)])
    assert [face.choose_face(clip, None, 32, track).crop.x for track in (None, 1, 2)] == [48, 16, 48]


def test_a_pipe_is_not_looked_into_for_faces(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(VideoError, match="is a pipe, and a face is looked for before.*--crop x,y,w,h"):
        face.choose_face(tmp_path / "pipe", None, 64)


def blaze_face():
    pytest.importorskip("ai_edge_litert")
    network = detector._network()
    if network is None:
        pytest.skip(f"no network of MediaPipe's is installed or named by {detector.MODEL_VARIABLE}")
    return detector.BlazeFace(network)


def dlib_detector():
    pytest.importorskip("dlib")
    return detector.DlibDetector()


@pytest.mark.parametrize("make", [dlib_detector, blaze_face])
def test_detectors_agree_where_faces_are(make):
    """On procedural heads, the same way up and small in a large picture."""
    detect = make()
    picture = room(1, 170, 50)[0]
    (found, *_) = detect(picture)
    assert abs(found.x - (170 + HEAD / 2)) < HEAD / 4 and 0.3 * HEAD < found.width < HEAD
    large = np.full((800, 1280, 3), 90, np.uint8)
    large[500:700, 800:1120] = picture
    (found, *_) = detect(large)
    assert abs(found.x - (970 + HEAD / 2)) < HEAD / 4 and abs(found.y - (550 + HEAD / 2)) < HEAD / 3


@pytest.mark.parametrize("make", [dlib_detector, blaze_face])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_detectors_tell_which_way_a_face_lies(make, turn):
    picture = np.ascontiguousarray(np.rot90(room(1, 170, 50)[0], turn // 90))
    sight = detector.look(make(), picture)
    assert (sight.turn, sight.equalised, len(sight.faces)) == (turn, False, 1)


def test_a_file_that_is_no_detector_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv(detector.MODEL_VARIABLE, str(tmp_path / "none.task"))
    with pytest.raises(MissingDetectorError, match="BCD_FACE_MODEL names .*none.task, which holds no face detector"):
        detector._network()


# ---- through the command


def test_encode_takes_the_square_of_the_face_and_says_so(bcd, talk, tiny_model, tmp_path):
    pytest.importorskip("dlib")
    done = bcd("encode", talk, tmp_path / "a.bcd", "--model", tiny_model, "--crop", "auto")
    square = face.choose_face(talk, None, 32).crop
    assert done.code == 0 and f"lies in {square}" in done.err
    facts = json.loads(bcd("info", tmp_path / "a.bcd", "--json").out)
    assert facts["crop"] == [square.x, square.y, square.w, square.h]
    assert facts["coded_share"] == pytest.approx(square.w**2 / (WIDTH * HEIGHT))
    assert f"{100 * facts['coded_share']:.0f} % of its area" in bcd("info", tmp_path / "a.bcd").out


def test_a_video_on_its_side_is_coded_upright(bcd, talk, tiny_model, tmp_path):
    pytest.importorskip("dlib")
    lying = write_clip(tmp_path / "lying.mp4", np.rot90(room(16, 170, 50), 1, (1, 2)))
    facts = []
    for source in (talk, lying):
        done = bcd("encode", source, tmp_path / "a.bcd", "--model", tiny_model, "--crop", "auto")
        assert done.code == 0 and ("is turned by 90 degrees" in done.err) == (source == lying)
        facts.append(json.loads(bcd("info", tmp_path / "a.bcd", "--json").out))
    assert [(f["source_width"], f["source_height"]) for f in facts] == [(WIDTH, HEIGHT)] * 2
    np.testing.assert_allclose(facts[0]["crop"], facts[1]["crop"], atol=8)


def test_without_a_face_the_centre_is_coded_with_a_note(bcd, tiny_model, tmp_path):
    pytest.importorskip("dlib")
    write_clip(tmp_path / "grey.mp4", np.full((4, 96, 128, 3), 120, np.uint8))
    done = bcd("encode", tmp_path / "grey.mp4", tmp_path / "a.bcd", "--model", tiny_model, "--crop", "auto")
    assert done.code == 0 and "no face is found" in done.err
    assert json.loads(bcd("info", tmp_path / "a.bcd", "--json").out)["crop"] == [16, 0, 96, 96]


def test_without_the_detector_the_centre_is_coded_with_a_note(bcd, talk, tiny_model, tmp_path, monkeypatch):
    def missing():
        raise MissingDetectorError("no face detector is installed: pip install 'bcdcodec[face]'")

    monkeypatch.setattr(face, "find_detector", missing)
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


def test_a_reenacted_face_goes_into_its_own_surroundings(faces, talk, faces_recording, tmp_path):
    faces("encode", talk, tmp_path / "face.bcd", "--surroundings")
    done = faces("decode", faces_recording, tmp_path / "out", "--content", tmp_path / "face.bcd", "--paste-back")
    assert done.code == 0
    with read_frames(tmp_path / "out", None, 64) as video:
        assert (video.info.width, video.info.height) == (WIDTH, HEIGHT)


# ---- the still


def test_a_pasted_square_covers_its_place_and_nothing_else_at_the_size_of_the_source():
    still = np.full((50, 100, 3), 50, np.uint8)
    paste = PasteBack(still, (80, 20, 40, 40), 200, 100)
    assert paste.size == (200, 100)
    out = paste(np.full((32, 32, 3), 250, np.uint8))
    changed = (out != 50).any(-1)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (20, 59, 80, 119)
    assert (out[30:50, 90:110] == 250).all()
    assert 50 < out[40, 80, 0] < 250, "the edge passes into the still"


def test_the_pasted_square_is_enlarged_by_lanczos():
    from PIL import Image

    picture = head_frames(3, 1, 64)[0]
    out = PasteBack(np.zeros((50, 50, 3), np.uint8), (0, 0, 201, 201), 201, 201)(picture).astype(float)
    lanczos, bicubic = (
        np.asarray(Image.fromarray(picture).resize((201, 201), method), float)
        for method in (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC)
    )
    assert np.abs(out - lanczos).mean() < 0.7 * np.abs(out - bicubic).mean()


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

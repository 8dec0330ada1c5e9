"""Bad input to `bcd`: one clear line on stderr, exit code 1, and nothing left behind."""

from dataclasses import replace

import numpy as np
import pytest
from video_clips import make_audio, without_pictures

import bcdcodec
from bcdcodec.container import open_bcd


@pytest.fixture
def refused(bcd, tmp_path):
    """Run `bcd`, which must fail cleanly; returns the error line."""

    def run(*arguments):
        before = sorted(tmp_path.rglob("*"))
        done = bcd(*arguments)
        assert done.code == 1, done
        assert done.out == ""
        (line,) = done.err.splitlines()
        assert line.startswith("bcd: error: ")
        assert sorted(tmp_path.rglob("*")) == before, "something was left behind"
        return line

    return run


@pytest.fixture
def refused_tiny(refused, tiny_model):
    """The same with the tiny model."""
    return lambda *arguments: refused(*arguments, "--model", tiny_model)


@pytest.fixture
def refused_faces(refused, faces_model):
    """The same with the small `faces` model."""
    return lambda *arguments: refused(*arguments, "--model", faces_model)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out.bcd"


# ---- encode


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_text("not a video " * 100), "is not a video"),
        (lambda path: path.touch(), "is not a video"),
        (make_audio, "has no video"),
        (without_pictures, "holds no frame"),
        (lambda path: path.mkdir(), "holds no picture (.png"),
    ],
    ids=["missing", "text", "empty file", "sound only", "no frames", "empty folder"],
)
def test_encode_of_what_holds_no_video(refused_tiny, target, tmp_path, make, reason):
    make(tmp_path / "in.mp4")
    assert reason in refused_tiny("encode", tmp_path / "in.mp4", target)


@pytest.mark.parametrize(
    "crop, reason", [("1,2,3", "four whole numbers"), ("0,0,40,20", "square"), ("40,40,40,40", "outside")]
)
def test_encode_with_a_crop_that_does_not_fit(refused_tiny, clip, target, crop, reason):
    assert reason in refused_tiny("encode", clip, target, "--crop", crop)


def test_encode_with_a_model_that_is_not_there(refused, clip, target):
    assert "no model 'nobody'" in refused("encode", clip, target, "--model", "nobody")


def test_encode_with_a_model_folder_without_weights(refused, clip, target, tiny_model, tmp_path):
    (tmp_path / "model").mkdir()
    for name in ("config.json", "tables.safetensors"):
        (tmp_path / "model" / name).write_bytes((tiny_model / name).read_bytes())
    assert "weights" in refused("encode", clip, target, "--model", tmp_path / "model")


def test_encode_with_a_damaged_config(refused, clip, target, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert "config" in refused("encode", clip, target, "--model", tmp_path / "model")


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "cpu:3", "cuda:x"])
def test_encode_on_a_device_that_is_not_there(refused_tiny, clip, target, device):
    assert f"no device '{device}'" in refused_tiny("encode", clip, target, "--device", device)


# ---- outputs


@pytest.mark.parametrize(
    "verb, name, reason",
    [
        ("encode", "none/out.bcd", "does not exist"),
        ("decode", "none/out.mp4", "does not exist"),
        ("encode", "file/out.bcd", "is not a folder"),
        ("decode", "file/out.mp4", "is not a folder"),
        ("encode", "/proc/out.bcd", "cannot write"),
        ("decode", "/proc/out.mp4", "cannot write"),
        ("encode", "folder.bcd", "cannot write"),
        ("encode", "out.mp4", ".bcd"),
        ("decode", "out.xyz", ".xyz"),
        ("decode", "full", "not empty"),
        ("decode", "out.bcd", "--content"),
    ],
)
def test_outputs_that_cannot_be(refused_tiny, clip, recording, tmp_path, verb, name, reason):
    (tmp_path / "file").touch()
    (tmp_path / "folder.bcd").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").touch()
    assert reason in refused_tiny(verb, clip if verb == "encode" else recording, tmp_path / name)


def test_output_equal_to_the_input(refused, faces_recording, other_person):
    before = faces_recording.read_bytes()
    assert "is the input" in refused("encode", faces_recording, faces_recording)
    assert "is the input" in refused("decode", faces_recording, faces_recording, "--content", other_person)
    assert "is the input" in refused("decode", other_person, faces_recording, "--content", faces_recording)
    assert faces_recording.read_bytes() == before


def test_an_output_that_was_there_survives_a_failure(refused_tiny, target, tmp_path):
    target.write_text("precious")
    refused_tiny("encode", tmp_path / "none.mp4", target)
    assert target.read_text() == "precious"


# ---- decode, info, verify


@pytest.mark.parametrize("verb", ["decode", "info", "verify"])
@pytest.mark.parametrize(
    "content, reason",
    [
        (None, "cannot open"),
        (b"", "0 bytes"),
        (b"garbage " * 50, "not a .bcd file"),
        (b"\x89BCD\r\n\x1a\n", "HEAD"),
        (b"\x89BCD\r\n\x1a\n" + b"\xff" * 300, "bcd"),
    ],
)
def test_reading_what_is_no_bcd_file(refused, tiny_model, tmp_path, verb, content, reason):
    path = tmp_path / "in.bcd"
    if content is not None:
        path.write_bytes(content)
    rest = (tmp_path / "out.mp4",) if verb == "decode" else ()
    line = refused(verb, path, *rest)
    assert reason in line and "in.bcd" in line


@pytest.mark.parametrize("verb", ["decode", "info"])
def test_reading_a_damaged_file(refused, recording, tiny_model, tmp_path, verb):
    data = bytearray(recording.read_bytes())
    data[-60] ^= 16
    (tmp_path / "in.bcd").write_bytes(data)
    rest = (tmp_path / "out.mp4", "--model", tiny_model) if verb == "decode" else ()
    line = refused(verb, tmp_path / "in.bcd", *rest)
    assert "damaged" in line and "in.bcd" in line


def test_reading_a_folder_as_a_bcd_file(refused, tmp_path):
    assert "cannot" in refused("info", tmp_path)


def test_a_file_cut_before_its_first_frame(refused_tiny, recording, tmp_path):
    with open_bcd(recording) as reader:
        motion = next(offset for name, offset, _ in reader.chunks if name == "MOTN")
    for end in (motion, motion + 3):
        (tmp_path / "in.bcd").write_bytes(recording.read_bytes()[:end])
        assert "frame" in refused_tiny("decode", tmp_path / "in.bcd", tmp_path / "out.mp4")


def test_a_file_cut_before_its_content(refused_tiny, recording, tmp_path):
    with open_bcd(recording) as reader:
        content = next(offset for name, offset, _ in reader.chunks if name == "CONT")
    (tmp_path / "in.bcd").write_bytes(recording.read_bytes()[: content + 8])
    assert "content" in refused_tiny("decode", tmp_path / "in.bcd", tmp_path / "out.mp4")


def test_every_cut_decodes_or_fails_cleanly(tiny, recording, tmp_path):
    data = recording.read_bytes()
    for end in range(0, len(data), 41):
        (tmp_path / "in.bcd").write_bytes(data[:end])
        done = tiny("decode", tmp_path / "in.bcd", tmp_path / f"{end}.apng")
        assert done.code in (0, 1) and len(done.err.splitlines()) == 1
        assert (tmp_path / f"{end}.apng").exists() == (done.code == 0)


def test_decode_with_another_model(refused, recording, other_model, tmp_path):
    assert "was made with model 'tiny'" in refused("decode", recording, tmp_path / "out.mp4", "--model", other_model)


def test_decode_with_a_model_that_is_not_shipped(refused, recording, tmp_path):
    assert "use --model" in refused("decode", recording, tmp_path / "out.mp4")


def test_the_model_named_in_a_file_is_never_taken_for_a_path(refused, recording, tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tiny_model.parent)  # a folder "tiny" lies here
    assert "does not ship" in refused("decode", recording, tmp_path / "out.mp4")


@pytest.mark.parametrize("name", ["out.mp4", "out.bcd"])
def test_content_of_another_model(refused_faces, recording, faces_recording, tmp_path, name):
    line = refused_faces("decode", faces_recording, tmp_path / name, "--content", recording)
    assert "--content must be of the same model" in line


@pytest.mark.parametrize("content", ["video", "missing", "damaged"])
def test_content_that_is_no_bcd_file(refused_faces, clip, faces_recording, tmp_path, content):
    data = bytearray(faces_recording.read_bytes())
    data[-60] ^= 16
    (tmp_path / "damaged.bcd").write_bytes(data)
    path = {"video": clip, "missing": tmp_path / "none.bcd", "damaged": tmp_path / "damaged.bcd"}[content]
    assert path.name in refused_faces("decode", faces_recording, tmp_path / "out.mp4", "--content", path)


def test_more_frames_than_allowed(refused_tiny, recording, tmp_path):
    line = refused_tiny("decode", recording, tmp_path / "out.mp4", "--max-frames", 61)
    assert "61" in line and "--max-frames" in line


def test_more_values_of_contents_than_allowed(refused_tiny, recording, tmp_path, monkeypatch):
    monkeypatch.setattr("bcdcodec.files.checks.MAX_VALUES", 100)
    line = refused_tiny("decode", recording, tmp_path / "out.mp4")
    assert "values, the limit is 100" in line


def test_more_frames_than_allowed_in_a_cut_chunk(refused_tiny, recording, tmp_path):
    (tmp_path / "in.bcd").write_bytes(recording.read_bytes()[:-90])
    refused_tiny("decode", tmp_path / "in.bcd", tmp_path / "out.mp4", "--max-frames", 5)


@pytest.mark.parametrize("num, den, duration", [(1, 2**32 - 1, 1), (2**32 - 1, 1, 2**32 - 1), (1, 1, 86401)])
def test_times_that_no_video_can_hold(refused_tiny, recording, tiny_model, tmp_path, num, den, duration):
    found = bcdcodec.read(recording, tiny_model)
    head = replace(found.head, time_base_num=num, time_base_den=den, frame_duration=duration)
    bcdcodec.write(tmp_path / "in.bcd", replace(found, head=head), tiny_model)
    assert "a video holds" in refused_tiny("decode", tmp_path / "in.bcd", tmp_path / "out.mp4")


# ---- train, export


def test_train_without_footage(refused, tmp_path):
    (tmp_path / "run" / "data").mkdir(parents=True)
    assert "no folder" in refused("train", "tiny", "--data", tmp_path / "none", "--out", tmp_path / "run", "--steps", 1)


@pytest.mark.parametrize("name", ["giant", "poser"])  # the latter was one
def test_train_of_an_unknown_preset(refused, tmp_path, name):
    assert f"no preset named '{name}'; known presets" in refused("train", name, "--out", tmp_path / "run", "--steps", 1)


def test_train_over_a_run_without_resume(bcd, tiny_run):
    done = bcd("train", "tiny", "--out", tiny_run, "--steps", 9)
    assert done.code == 1 and "--resume" in done.err


def test_export_of_something_that_is_no_run(refused, tmp_path):
    assert "no checkpoint" in refused("export", tmp_path, tmp_path / "model")


def test_export_with_a_card_that_is_missing(refused, tiny_run, tmp_path):
    assert "none.md" in refused("export", tiny_run, tmp_path / "model", "--card", tmp_path / "none.md")


# ---- usage and interruption


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("encode",),
        ("encode", "a"),
        ("decode", "a.bcd", "b.mp4", "--steps", "-1"),
        ("info", "a", "--yaml"),
        ("train", "tiny", "--out", "run"),
        ("train", "tiny", "--out", "run", "--steps", "1", "--minutes", "1"),
    ],
)
def test_wrong_usage_exits_with_2(bcd, arguments):
    done = bcd(*arguments)
    assert done.code == 2 and "Error" in done.err and "Traceback" not in done.err


def test_an_interrupt_exits_with_130_and_leaves_nothing(tiny, clip, recording, tmp_path, monkeypatch):
    from bcdcodec.coding import decoder

    def interrupted(session, motions, *arguments):
        next(motions)
        yield 0, np.zeros((32, 32, 3), np.uint8)
        raise KeyboardInterrupt

    monkeypatch.setattr(decoder, "decode_frames", interrupted)
    done = tiny("decode", recording, tmp_path / "out.mp4")
    assert (done.code, done.err.strip()) == (130, "bcd: interrupted")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line(tiny, clip, tmp_path, monkeypatch):
    import errno

    from bcdcodec.container import BcdWriter

    def full(self, motion):
        raise OSError(errno.ENOSPC, "No space left on device", "out.bcd")

    monkeypatch.setattr(BcdWriter, "write_motion", full)
    done = tiny("encode", clip, tmp_path / "out.bcd")
    assert (done.code, done.err) == (1, "bcd: error: out.bcd: No space left on device\n")
    assert list(tmp_path.iterdir()) == []

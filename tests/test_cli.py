"""The verbs of `bcd` on good input: what they write, print and keep."""

import json
import shutil
import struct
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from head_clips import head_frames, write_clip

import bcdcodec
from bcdcodec.container import CHUNK_FRAMES
from bcdcodec.model_folder import shipped_models
from bcdcodec.video import read_frames

needs_weights = pytest.mark.skipif("heads" not in shipped_models(), reason="no weights of heads are shipped yet")


def pts_and_end(path):
    """Every frame's start and the last one's end, in seconds, as the container states them."""
    with av.open(str(path)) as container:
        frames = [(p.pts, p.duration, p.time_base) for p in container.demux(video=0) if p.pts is not None]
    starts = sorted(frames)
    pts, duration, tick = starts[-1]
    return [p * t for p, _, t in starts], (pts + duration) * tick


def facts_of(bcd, path):
    done = bcd("info", path, "--json")
    assert done.code == 0
    return json.loads(done.out)


# ---- encode


def test_encode_writes_a_file_that_verifies(tiny, clip, tmp_path):
    done = tiny("encode", clip, tmp_path / "a.bcd")
    assert done.code == 0 and "62 frames" in done.out and done.err == ""
    assert tiny("verify", tmp_path / "a.bcd").code == 0


def test_encoding_twice_gives_the_same_bytes(tiny, clip, recording, tmp_path):
    tiny("encode", clip, tmp_path / "again.bcd")
    assert (tmp_path / "again.bcd").read_bytes() == recording.read_bytes()


def test_encode_codes_the_centre_square(bcd, recording):
    facts = facts_of(bcd, recording)
    assert (facts["source_width"], facts["source_height"]) == (64, 48)
    assert facts["crop"] == [8, 0, 48, 48]
    assert (facts["width"], facts["height"]) == (32, 32)


def test_encode_takes_a_crop(tiny, bcd, clip, tmp_path):
    assert tiny("encode", clip, tmp_path / "a.bcd", "--crop", "3,4,40,40").code == 0
    assert facts_of(bcd, tmp_path / "a.bcd")["crop"] == [3, 4, 40, 40]


def test_encode_keeps_the_seed(tiny, clip, tiny_model, tmp_path):
    tiny("encode", clip, tmp_path / "a.bcd", "--seed", 4321)
    assert bcdcodec.read(tmp_path / "a.bcd", tiny_model).head.sampler_seed == 4321


def test_encode_takes_a_folder_of_pictures(tiny, bcd, recording, tmp_path):
    tiny("decode", recording, tmp_path / "pictures")
    assert tiny("encode", tmp_path / "pictures", tmp_path / "a.bcd").code == 0
    assert facts_of(bcd, tmp_path / "a.bcd")["frames"] == 62


def test_a_long_clip_is_cut_into_chunks(tiny, tiny_model, tmp_path):
    frames = np.tile(head_frames(5, 20, 32), (30, 1, 1, 1))
    write_clip(tmp_path / "long.mp4", frames)
    assert tiny("encode", tmp_path / "long.mp4", tmp_path / "a.bcd").code == 0
    motions = bcdcodec.read(tmp_path / "a.bcd", tiny_model).motions
    assert [len(m.codes) for m in motions] == [CHUNK_FRAMES, CHUNK_FRAMES, 600 - 2 * CHUNK_FRAMES]


# ---- time


def test_a_constant_rate_costs_no_timestamps(recording, tiny_model):
    found = bcdcodec.read(recording, tiny_model)
    assert found.head.frame_duration > 0 and found.motions[0].pts is None


@pytest.mark.parametrize(
    "pts, time_base",
    [
        ([0, 1, 2, 3, 4, 5, 6, 7, 8], Fraction(1, 25)),
        ([0, 1, 2, 5, 6, 7, 11, 12, 20], Fraction(1, 25)),
        ([0, 1001, 2002, 3003, 4004, 5005], Fraction(1, 30000)),
        ([0, 1, 2, 3, 5, 4000, 4001], Fraction(1, 90000)),
        ([0], Fraction(1, 10)),
    ],
    ids=["constant", "variable", "29.97", "ticks apart", "one frame"],
)
def test_timestamps_come_back_exactly(tiny, bcd, tmp_path, pts, time_base):
    write_clip(tmp_path / "in.mp4", head_frames(6, len(pts), 32), pts, time_base)
    assert tiny("encode", tmp_path / "in.mp4", tmp_path / "a.bcd").code == 0
    assert tiny("decode", tmp_path / "a.bcd", tmp_path / "out.mp4").code == 0
    starts, end = pts_and_end(tmp_path / "in.mp4")
    assert pts_and_end(tmp_path / "out.mp4") == (starts, end)
    assert facts_of(bcd, tmp_path / "a.bcd")["duration_s"] == pytest.approx(float(end))


def test_a_first_timestamp_above_zero_is_moved_to_zero(tiny, tmp_path):
    write_clip(tmp_path / "in.mkv", head_frames(6, 6, 32), [10, 11, 12, 15, 16, 17])
    tiny("encode", tmp_path / "in.mkv", tmp_path / "a.bcd")
    tiny("decode", tmp_path / "a.bcd", tmp_path / "out.mkv")
    before, after = (pts_and_end(tmp_path / name)[0] for name in ("in.mkv", "out.mkv"))
    assert after == [t - before[0] for t in before] and after[0] == 0


def test_every_verb_states_the_same_duration(tiny, bcd, recording, tmp_path):
    write_clip(tmp_path / "in.mp4", head_frames(6, 5, 32), [0, 10, 50, 75, 100])
    lines = [tiny("encode", tmp_path / "in.mp4", tmp_path / "a.bcd").out]
    lines += [tiny("decode", tmp_path / "a.bcd", tmp_path / "out.mp4").out]
    lines += [bcd("info", tmp_path / "a.bcd").out]
    assert all("5.000 s" in line for line in lines)


def test_uneven_times_are_counted_in_the_coarsest_ticks(tiny, tiny_model, tmp_path):
    pts = [0, 512, 1024, 2048, 2560, 4096]
    write_clip(tmp_path / "in.mp4", head_frames(6, len(pts), 32), pts, Fraction(1, 15360))
    tiny("encode", tmp_path / "in.mp4", tmp_path / "a.bcd")
    found = bcdcodec.read(tmp_path / "a.bcd", tiny_model)
    assert found.motions[0].pts.tolist() == [0, 1, 2, 4, 5, 8]
    assert Fraction(found.head.time_base_num, found.head.time_base_den) == Fraction(512, 15360)


# ---- decode


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.gif", "out.apng", "pictures"])
def test_decode_writes_every_kind_of_output(tiny, recording, tmp_path, name):
    done = tiny("decode", recording, tmp_path / name)
    assert done.code == 0 and done.err == "" and "62 frames" in done.out
    with read_frames(tmp_path / name, None, 32) as video:
        assert len(list(video)) == 62
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_decode_takes_steps_and_seed(tiny, recording, tmp_path):
    def decoded(name, *options):
        assert tiny("decode", recording, tmp_path / name, *options).code == 0
        with read_frames(tmp_path / name, None, 32) as video:
            return np.stack([picture for _, picture in video])

    plain = decoded("a.apng")
    assert np.array_equal(plain, decoded("b.apng", "--seed", 0))
    assert not np.array_equal(plain, decoded("c.apng", "--seed", 1))
    assert not np.array_equal(plain, decoded("d.apng", "--steps", 3))
    moved = decoded("e.apng", "--steps", 0)
    assert not np.array_equal(plain, moved) and np.array_equal(moved, decoded("f.apng", "--steps", 0, "--seed", 1)), (
        "no noise is in it"
    )


def test_decode_gives_what_the_python_interface_gives(tiny, recording, tiny_model, tmp_path):
    tiny("decode", recording, tmp_path / "a.apng", "--device", "cpu")
    with read_frames(tmp_path / "a.apng", None, 32) as video:
        found = np.stack([picture for _, picture in video])
    assert np.array_equal(found, bcdcodec.load(tiny_model).decode(bcdcodec.read(recording, tiny_model)))


def test_a_cut_file_is_decoded_up_to_the_cut_with_a_note(tiny, bcd, recording, tmp_path):
    motion = json.loads(bcd("info", recording, "--json").out)["bytes"]["motion"]
    (tmp_path / "cut.bcd").write_bytes(recording.read_bytes()[: -motion // 2])  # less what comes after the motion
    done = tiny("decode", tmp_path / "cut.bcd", tmp_path / "out")
    assert done.code == 0
    pictures = len(list((tmp_path / "out").iterdir()))
    assert 10 < pictures < 62
    assert done.err == f"note: {tmp_path / 'cut.bcd'} ends early: {pictures} of 62 frames were there and are decoded\n"


# ---- reenactment


def test_content_of_another_keeps_the_timing_and_marks_the_video(faces, faces_recording, other_person, tmp_path):
    out = tmp_path / "out.mp4"
    done = faces("decode", faces_recording, out, "--content", other_person)
    assert done.code == 0 and "marked as synthesised" in done.err
    assert len(pts_and_end(out)[0]) == 62
    with av.open(str(out)) as container:
        assert "synthesised" in container.metadata["comment"]


def test_plain_decoding_marks_nothing(tiny, recording, tmp_path):
    tiny("decode", recording, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert "comment" not in container.metadata


def test_reenactment_into_a_bcd_file_takes_motion_from_one_and_content_from_the_other(
    faces, bcd, faces_recording, other_person, faces_model, tmp_path
):
    out = tmp_path / "out.bcd"
    assert faces("decode", faces_recording, out, "--content", other_person).code == 0
    made, motion, face = (bcdcodec.read(path, faces_model) for path in (out, faces_recording, other_person))
    assert np.array_equal(made.motions[0].codes, motion.motions[0].codes)
    assert made.contents[0].picture == face.contents[0].picture != motion.contents[0].picture
    assert made.head.reenacted and made.complete and made.metadata == {"synthesised": True}
    assert "SYNTHESISED" in bcd("info", out).out


def test_relative_without_another_face_is_a_usage_error(bcd, recording, tmp_path):
    done = bcd("decode", recording, tmp_path / "out.mp4", "--relative")
    assert done.code == 2 and "--relative goes with --content" in done.err and not (tmp_path / "out.mp4").exists()


def test_a_reenacted_bcd_file_decodes_to_the_same_marked_video(bcd, tmp_path):
    talk, face, out = (tmp_path / f"{name}.bcd" for name in ("talk", "face", "out"))
    for seed, path in enumerate((talk, face)):
        write_clip(path.with_suffix(".mkv"), head_frames(seed, 3, 64))
        assert bcd("encode", path.with_suffix(".mkv"), path, "--model", "sprites").code == 0
    direct, late = tmp_path / "direct.apng", tmp_path / "late.apng"
    for source, target, *content in ((talk, direct, face), (talk, out, face), (out, late)):
        assert bcd("decode", source, target, *(("--content", *content) if content else ())).code == 0
    assert direct.read_bytes() == late.read_bytes() and b"synthesised" in late.read_bytes()


@pytest.mark.parametrize("target", ["out.mp4", "out.bcd"])
def test_a_model_that_shows_no_other_person_is_named_with_what_to_do(tiny, recording, tmp_path, target):
    done = tiny("decode", recording, tmp_path / target, "--content", recording)
    assert done.code == 1 and not (tmp_path / target).exists()
    assert done.err == (
        f"bcd: error: {recording}: model 'tiny' does not show one person in another's motion: "
        "encode both videos with --model faces\n"
    )


def test_a_reenacted_file_of_such_a_model_still_decodes(tiny, tiny_model, recording, clip, tmp_path):
    """Earlier versions made such files; the reference moves without its residual basis, by the decoder's own flow."""
    assert tiny("encode", clip, tmp_path / "other.bcd", "--kbps", 1).code == 0
    motion, other = (bcdcodec.read(path, tiny_model) for path in (recording, tmp_path / "other.bcd"))
    head = replace(motion.head, reenacted=True)
    bcdcodec.write(tmp_path / "old.bcd", replace(motion, head=head, contents=other.contents[:1]), tiny_model)
    done = tiny("decode", tmp_path / "old.bcd", tmp_path / "out.mp4")
    assert done.code == 0 and "is reenacted" in done.err
    assert len(pts_and_end(tmp_path / "out.mp4")[0]) == 62


# ---- info, verify, models


def test_info_json_has_every_promised_field(bcd, recording):
    facts = facts_of(bcd, recording)
    assert facts["frames"] == 62 and facts["duration_s"] == pytest.approx(2.48)
    assert facts["model"] == "tiny" and facts["contents"] == 1 and facts["frame_rate"] == pytest.approx(25)
    assert set(facts["bytes"]) == {"motion", "content", "container", "audio", "surroundings", "total"}
    assert set(facts["kbps"]) == {"motion", "motion_container", "audio", "total"}
    assert facts["audio"] is None
    assert (facts["complete"], facts["reenacted"], facts["generated"]) == (True, False, False)


def test_info_accounts_for_every_byte(bcd, recording):
    facts = facts_of(bcd, recording)
    size = facts["bytes"]
    assert size["total"] == recording.stat().st_size
    assert size["motion"] + size["content"] + size["container"] + size["audio"] == size["total"]
    assert facts["kbps"]["total"] == pytest.approx(size["total"] * 8 / 2.48 / 1000, abs=1e-3)
    assert facts["bits_per_frame"] == pytest.approx(size["motion"] * 8 / 62)


def test_info_for_people_has_the_same_numbers(bcd, recording):
    out = bcd("info", recording).out
    facts = facts_of(bcd, recording)
    for text in (
        "62, 2.480 s, 25 frames/s",
        f"{facts['bytes']['motion']} bytes",
        f"{facts['kbps']['total']:.2f} kbit/s",
    ):
        assert text in out


def test_info_takes_the_rate_from_the_timestamps(tiny, bcd, tmp_path):
    write_clip(tmp_path / "in.mp4", head_frames(6, 5, 32), [0, 10, 50, 75, 100])
    tiny("encode", tmp_path / "in.mp4", tmp_path / "a.bcd")
    facts = facts_of(bcd, tmp_path / "a.bcd")
    assert facts["frame_rate"] == "variable" and facts["duration_s"] == pytest.approx(5.0)
    assert facts["kbps"]["total"] == pytest.approx(facts["bytes"]["total"] * 8 / 5 / 1000, abs=1e-3)


def test_info_of_a_cut_file_says_so(bcd, recording, tmp_path):
    (tmp_path / "cut.bcd").write_bytes(recording.read_bytes()[:-30])
    assert "INCOMPLETE" in bcd("info", tmp_path / "cut.bcd").out
    assert facts_of(bcd, tmp_path / "cut.bcd")["complete"] is False


def test_verify_without_the_model_checks_the_bytes_and_says_so(bcd, recording):
    done = bcd("verify", recording)
    assert done.code == 0 and "codes not checked" in done.out


def test_verify_checks_the_codes_of_more_frames_than_the_limit_when_asked(tiny, recording, monkeypatch):
    monkeypatch.setattr("bcdcodec.container.limits.MAX_FRAMES", 61)
    done = tiny("verify", recording)
    warning, end = done.out.splitlines()
    assert warning == ("warning: codes not checked: the file states 62 frames, the limit is 61; check them with --all")
    assert done.code == 1 and end == f"{recording}: not good, 62 frames found"
    done = tiny("verify", recording, "--all")
    assert done.code == 0 and "good, 62 frames, codes checked" in done.out


@pytest.mark.parametrize("cut", [1, 30, 90])
def test_verify_fails_a_cut_file(tiny, recording, tmp_path, cut):
    (tmp_path / "cut.bcd").write_bytes(recording.read_bytes()[:-cut])
    assert tiny("verify", tmp_path / "cut.bcd").code == 1


def test_verify_fails_every_flipped_byte_after_the_signature(tiny, recording, tmp_path):
    data = recording.read_bytes()
    for at in range(8, len(data), 37):
        (tmp_path / "bad.bcd").write_bytes(data[:at] + struct.pack("B", data[at] ^ 1) + data[at + 1 :])
        done = tiny("verify", tmp_path / "bad.bcd")
        assert done.code == 1 and (done.out or done.err), f"byte {at}"


@needs_weights
def test_models_lists_the_default(bcd):
    (line,) = [line for line in bcd("models").out.splitlines() if line.startswith("heads")]
    assert "256 x 256 pixels, 64 x 32 codes" in line and "MiB" in line


# ---- train, export, demo


def test_train_and_export_make_a_model_that_codes(bcd, footage, clip, tmp_path):
    run, model = tmp_path / "run", tmp_path / "model"
    options = ("--data", footage, "--out", run, "--device", "cpu", "--procedural-groups", 2)
    assert bcd("train", "tiny", *options, "--steps", 2).code == 0
    done = bcd("train", "tiny", *options, "--steps", 3, "--resume")
    assert done.code == 0 and "step 3" in done.out
    done = bcd("export", run, model, "--data", footage)
    assert done.code == 0 and "bits a frame" in done.out
    assert "3 training steps" in (model / "README.md").read_text()
    assert bcd("encode", clip, tmp_path / "a.bcd", "--model", model).code == 0


def test_export_of_a_model_fits_content_tables_and_leaves_its_files_valid(bcd, footage, clip, tiny_model, tmp_path):
    from bcdcodec.model_folder import open_model

    old = tmp_path / "old"
    shutil.copytree(tiny_model, old)
    tables = open_model(old).tables
    replace(tables, learned=None).save(old / "tables.safetensors")
    assert bcd("encode", clip, tmp_path / "before.bcd", "--model", old).code == 0
    done = bcd("export", old, tmp_path / "new", "--data", footage)
    assert done.code == 0 and f"{tables.content.channels} channels" in done.out
    assert open_model(tmp_path / "new").fingerprint == open_model(old).fingerprint
    assert bcd("encode", clip, tmp_path / "after.bcd", "--model", tmp_path / "new").code == 0
    for name, profile in (("before", "neighbours"), ("after", "learned")):
        assert bcd("decode", tmp_path / f"{name}.bcd", tmp_path / f"{name}.mp4", "--model", tmp_path / "new").code == 0
        assert json.loads(bcd("info", tmp_path / f"{name}.bcd", "--json").out)["content_profile"] == profile
    refused = bcd("decode", tmp_path / "after.bcd", tmp_path / "no.mp4", "--model", old)
    assert refused.code == 1 and "content profile learned" in refused.err and not (tmp_path / "no.mp4").exists()
    wrong = bcd("export", old, tmp_path / "named", "--name", "mine")
    assert wrong.code == 2 and "is a model" in wrong.err and not (tmp_path / "named").exists()


def demo_of(bcd, folder, *options):
    done = bcd("demo", folder, *options)
    assert done.code == 0
    for name in ("a.mp4", "b.mp4", "a.bcd", "b.bcd", "a.decoded.mp4", "b.as-a.mp4", "demo.png"):
        assert (folder / name).stat().st_size > 0
    return done.out


def test_demo_codes_and_reenacts_two_people(bcd, faces_model, tmp_path):
    out = demo_of(bcd, tmp_path / "new" / "demo", "--model", faces_model)
    assert "kbit/s" in out and "dB against its exact rendering" in out


def test_demo_with_the_shipped_model_beats_doing_nothing(bcd, tmp_path):
    from bcdcodec.cli.demo import run_demo

    report = run_demo(tmp_path, device="cpu")
    assert report.reenacted_db > max(report.still_db, report.unchanged_db)
    assert report.facts["a"]["kbps"]["motion"] < 0.8 * 64 * 5 * 25 / 1000  # of the raw indices

"""The Python interface: pictures to recordings to files and back."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from head_clips import head_frames

import bcdcodec
from bcdcodec.coding.content import make_content, reference_of
from bcdcodec.coding.encoder import StreamOptions
from bcdcodec.coding.motion import motion_of
from bcdcodec.coding.session import open_session
from bcdcodec.container import Content, Motion
from bcdcodec.container.payloads import pack_content
from bcdcodec.errors import FormatError, ModelError, ModelMismatchError
from bcdcodec.model_folder import open_model
from bcdcodec.models.latents import to_uint8, to_unit
from bcdcodec.models.warp import warp


@pytest.fixture(scope="module")
def codec(tiny_model):
    return bcdcodec.load(tiny_model)


@pytest.fixture(scope="module")
def frames():
    return head_frames(21, 37, 32)


@pytest.fixture(scope="module")
def encoded(codec, frames):
    return codec.encode(frames)


def reenacted(recording, content):
    """The motion of a recording with the content of another, as earlier versions wrote it for `heads`, too."""
    return replace(recording, head=replace(recording.head, reenacted=True), contents=content.contents[:1])


def codes_of(recording):
    return np.concatenate([motion.codes for motion in recording.motions])


def test_the_five_lines_of_the_readme_work(faces_model, tmp_path):
    codec = bcdcodec.load(faces_model)
    frames = head_frames(21, 9, codec.picture_size)
    clip = codec.encode(frames)
    bcdcodec.write(tmp_path / "talk.bcd", clip, faces_model)
    decoded = codec.decode(bcdcodec.read(tmp_path / "talk.bcd", faces_model))
    other = codec.decode(clip, content=codec.encode(frames[::-1]))
    assert decoded.shape == other.shape == frames.shape
    assert decoded.dtype == np.uint8


def test_a_file_gives_back_every_code_and_content_value(encoded, tiny_model, tmp_path):
    bcdcodec.write(tmp_path / "a.bcd", encoded, tiny_model)
    found = bcdcodec.read(tmp_path / "a.bcd", tiny_model)
    assert np.array_equal(codes_of(found), codes_of(encoded))
    assert np.array_equal(found.contents[0].values, encoded.contents[0].values)
    assert found.head.frame_count == 37


def test_codes_follow_the_config(encoded, codec):
    q = codec.config.quantiser
    codes = codes_of(encoded)
    assert codes.shape == (37, q.groups) and codes.max() < q.codes
    assert len(np.unique(codes, axis=0)) > 1, "every frame has the same codes"


@pytest.mark.parametrize("length", [1, 2, 4, 5, 17])
def test_clips_of_any_length_come_back_as_long(codec, frames, length):
    recording = codec.encode(frames[:length])
    assert len(codec.decode(recording)) == length


@pytest.mark.parametrize("chunk", [1, 3, 7, 96, 256])
def test_codes_do_not_depend_on_the_size_of_chunks(codec, chunk):
    video = head_frames(22, 40, 32)
    video = np.concatenate([video] * 8)  # longer than the look-ahead

    def stream(size: int) -> list[Motion]:
        items = codec.encode_stream(enumerate(video), StreamOptions(size))
        return [item for item in items if isinstance(item, Motion)]

    whole, parts = stream(4096), stream(chunk)
    assert np.array_equal(np.concatenate([m.codes for m in parts]), np.concatenate([m.codes for m in whole]))
    assert np.concatenate([m.pts for m in parts]).tolist() == list(range(320))
    assert [m.first_frame for m in parts] == list(range(0, 320, chunk))
    assert {len(m.codes) for m in parts[:-1]} <= {chunk}


def test_the_content_comes_before_the_first_motion(codec, frames):
    kinds = [type(item) for item in codec.encode_stream(enumerate(frames), StreamOptions(8))]
    assert kinds[0] is Content and set(kinds[1:]) == {Motion}


def test_the_content_fits_its_budget(encoded, codec):
    from bcdcodec.entropy.content import encode_content

    c = codec.config.content
    assert (
        len(encode_content(encoded.contents[0].values, c.rows, c.columns, codec.folder.tables.learned)) <= c.byte_budget
    )


@pytest.mark.parametrize("budget", [90, 140, 175])
def test_a_still_is_coded_as_finely_as_fits(tiny_model, budget):
    folder = open_model(tiny_model)
    config = replace(folder.config, content=replace(folder.config.content, byte_budget=budget))
    session = open_session(replace(folder, config=config))
    frames = head_frames(12, 5, 32)
    motion = motion_of(session, frames)
    content = make_content(session, frames, motion)
    size = lambda x: len(pack_content(x, session.tables, session.tables.content_profile)[0])  # noqa: E731
    with torch.inference_mode():
        tokens, _ = session.model.content(
            lambda numbers: session.latents.encode(to_unit(frames[numbers.numpy()])), motion
        )
    others = [
        replace(
            content,
            step=step,
            values=session.model.content_quantiser.quantise(tokens, step, rounding)[0].numpy().astype(np.int16),
        )
        for step, rounding in session.model.content_quantiser.choices()
    ]
    at = next(i for i, x in enumerate(others) if x.step == content.step and np.array_equal(x.values, content.values))
    print(f"budget {budget}: {size(content)} bytes at step {content.step}, the next finer one {size(others[at - 1])}")
    assert size(content) <= budget and 0 < at < len(others) and size(others[at - 1]) > budget


def test_decoding_twice_gives_the_same_pictures(codec, encoded):
    assert np.array_equal(codec.decode(encoded, seed=5), codec.decode(encoded, seed=5))


def test_another_seed_gives_another_picture(codec, encoded):
    assert not np.array_equal(codec.decode(encoded, seed=5), codec.decode(encoded, seed=6))


def test_one_and_several_steps_both_decode_and_differ(codec, encoded):
    one, several = codec.decode(encoded, steps=1), codec.decode(encoded, steps=4)
    assert one.shape == several.shape
    assert not np.array_equal(one, several)


@pytest.mark.parametrize("cross_identity", [False, True])
def test_no_steps_move_the_picture_and_ask_no_network(codec, encoded, monkeypatch, cross_identity):
    def asked(*_):
        raise AssertionError("a network is asked")

    if cross_identity:
        encoded = reenacted(encoded, codec.encode(head_frames(23, 9, 32)))
    drawn = codec.decode(encoded)
    monkeypatch.setattr(codec.model.decoder, "forward", asked)
    monkeypatch.setattr(codec.model.refiner, "forward", asked)
    moved = codec.decode(encoded, steps=0)
    assert moved.shape == drawn.shape and not np.array_equal(moved, drawn)
    shown = reference_of(codec.session, encoded.contents[0])
    if cross_identity:
        shown = replace(shown, residual_basis=None)
    change = codec.model.vq.lookup(torch.from_numpy(encoded.motions[0].codes.astype(np.int64))[None])[0] - shown.motion
    stills = shown.image.expand(len(change), -1, -1, -1)
    if shown.residual_basis is not None:
        stills = stills + shown.residual_basis.residual(change[None])[0]
    assert np.array_equal(
        moved[: len(change)], to_uint8(codec.latents.decode(warp(stills, codec.model.flow_basis(change))))
    )


def test_no_steps_are_refused_where_motion_is_no_flow():
    codec = bcdcodec.load("sprites")
    recording = codec.encode(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8))
    with pytest.raises(ModelError, match="0 steps.*'sprites' is no flow.*give 1 step or more"):
        codec.decode(recording, steps=0)


def test_another_content_is_refused_by_a_model_that_shows_its_own_person_only(codec, encoded):
    with pytest.raises(ModelError, match="model 'tiny' does not show one person in another's motion"):
        codec.decode(encoded, content=encoded)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((0, 32, 32, 3), np.uint8),
        np.zeros((4, 32, 31, 3), np.uint8),
        np.zeros((4, 64, 64, 3), np.uint8),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((4, 32, 32, 3), np.float32),
    ],
)
def test_pictures_of_another_shape_are_refused_with_both_shapes(codec, wrong):
    with pytest.raises(FormatError, match=r"uint8 \[t >= 1, 32, 32, 3\]"):
        codec.encode(wrong)


def test_a_recording_of_another_model_is_refused(codec, other_model, frames):
    foreign = bcdcodec.load(other_model).encode(frames[:4])
    with pytest.raises(ModelMismatchError, match="--model"):
        codec.decode(foreign)


def test_reading_with_another_models_tables_is_refused(encoded, tiny_model, tmp_path):
    bcdcodec.write(tmp_path / "a.bcd", encoded, tiny_model)
    foreign = tmp_path / "model"
    foreign.mkdir()
    mine = open_model(tiny_model)
    for path in (mine.path / "config.json", *mine.weight_files):
        (foreign / path.name).write_bytes(path.read_bytes())
    from bcdcodec.entropy.model_tables import ModelTables
    from bcdcodec.entropy.tables import FrequencyTables

    counts = np.arange(1, 1 + mine.tables.groups * mine.tables.codes).reshape(mine.tables.groups, -1)
    ModelTables(FrequencyTables.from_counts(counts), mine.tables.content).save(foreign / "tables.safetensors")
    with pytest.raises(ModelMismatchError, match="tables"):
        bcdcodec.read(tmp_path / "a.bcd", foreign)


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelError, match="no model 'nobody'"):
        bcdcodec.load("nobody")


def test_codes_decode_identically_without_torch(encoded, tiny_model, tmp_path):
    bcdcodec.write(tmp_path / "a.bcd", encoded, tiny_model)
    program = """
import sys
for name in ("torch", "av", "diffusers"):
    sys.modules[name] = None
import hashlib, bcdcodec
clip = bcdcodec.read(sys.argv[1], sys.argv[2])
digest = hashlib.sha256(b"".join(m.codes.tobytes() for m in clip.motions))
digest.update(clip.contents[0].values.tobytes())
print(digest.hexdigest())
"""
    command = [sys.executable, "-c", program, str(tmp_path / "a.bcd"), str(tiny_model)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    expected = hashlib.sha256(codes_of(encoded).tobytes())
    expected.update(encoded.contents[0].values.tobytes())
    assert found == expected.hexdigest()


def test_many_short_recordings_decode_at_once_as_they_do_alone(codec):
    window = codec.config.window.length
    recordings = [codec.encode(head_frames(seed, window - 1, codec.picture_size)) for seed in range(3)]
    codes = np.stack([r.motions[0].codes for r in recordings])
    contents = [recordings[i].contents[0] for i in (1, 2, 0)]
    together = codec.decode_windows(codes, contents, seed=5, steps=2)
    assert together.shape == (3, window - 1, 32, 32, 3)
    for i, (recording, other) in enumerate(zip(recordings, (1, 2, 0))):
        alone = codec.decode(replace(recording, contents=recordings[other].contents[:1]), steps=2, seed=5)
        assert np.abs(together[i].astype(int) - alone).max() <= 2

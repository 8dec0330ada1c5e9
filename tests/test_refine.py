"""Motion that is fitted to the pictures decodes nearer to them, whatever the chunks, and only where it can be fitted."""

import numpy as np
import pytest
from head_clips import head_frames, write_clip

import bcdcodec
from bcdcodec.encoding import StreamOptions
from bcdcodec.modelstore import shipped_models


@pytest.mark.skipif("heads" not in shipped_models(), reason="no weights of heads are shipped yet")
def test_steps_bring_the_decoded_pictures_nearer_at_about_the_same_rate():
    codec = bcdcodec.load("heads")
    frames = head_frames(5, 48, codec.picture_size)
    errors, changes = [], []
    for steps in (0, 2, 6):
        recording = codec.encode(frames, refine=steps)
        errors.append(float(np.square(codec.decode(recording).astype(np.float32) - frames).mean()))
        changes.append(recording.motions[0].codes)
    print("mean squared error after 0, 2 and 6 steps:", errors)
    assert errors[2] < errors[1] < errors[0] and errors[2] < 0.85 * errors[0]
    assert not np.array_equal(changes[0], changes[2])


def test_codes_do_not_depend_on_the_size_of_chunks(tiny_model):
    codec = bcdcodec.load(tiny_model)
    frames = head_frames(6, 70, 32)
    found = []
    for chunk in (10, 256):
        items = codec.encode_stream(enumerate(frames), StreamOptions(chunk_frames=chunk, refine=2))
        found.append(np.concatenate([item.codes for item in items if hasattr(item, "codes")]))
    assert np.array_equal(*found) and len(found[0]) == 70
    plain = codec.encode(frames, refine=0).motions[0].codes
    assert not np.array_equal(plain, found[0])


def test_refine_reaches_the_file(bcd, tiny_model, tmp_path):
    clip = write_clip(tmp_path / "a.mp4", head_frames(7, 20, 32))
    for steps in (0, 3):
        assert bcd("encode", clip, tmp_path / f"{steps}.bcd", "--model", tiny_model, "--refine", steps).code == 0
    a, b = (bcdcodec.read(tmp_path / f"{steps}.bcd", tiny_model).motions[0].codes for steps in (0, 3))
    assert a.shape == b.shape and not np.array_equal(a, b)

"""Motion as files hold it: that which takes the content's picture to the frames."""

import numpy as np
import pytest
import torch
from head_clips import head_frames

import bcdcodec
from bcdcodec.coding import references
from bcdcodec.model_folder import shipped_models
from bcdcodec.models.windows import RefinedClip


@pytest.mark.skipif("heads" not in shipped_models(), reason="no weights of heads are shipped yet")
def test_aligned_motion_decodes_far_nearer_than_the_encoders_own(monkeypatch):
    codec = bcdcodec.load("heads")
    frames = head_frames(5, 48, codec.picture_size)

    def error() -> float:
        return float(np.square(codec.decode(codec.encode(frames)).astype(np.float32) - frames).mean())

    aligned = error()
    monkeypatch.setattr(
        references,
        "refined_parts",
        lambda session, pictures, motion, *_, **__: [RefinedClip(motion, None, torch.zeros(len(motion), 2))],
    )
    print(f"mean squared error: {aligned:.0f} aligned, {error():.0f} by the encoder alone")
    assert aligned < 0.6 * error()


def test_the_frame_of_the_content_is_one_from_which_the_others_are_reached(tiny_model):
    """Of a face that is away from its place in one frame, that frame is not taken."""
    codec = bcdcodec.load(tiny_model)
    frames = head_frames(8, 12, 32)
    frames[3] = np.roll(frames[3], 12, axis=1)
    recording = codec.encode(frames)
    still = codec.reference_image(recording).astype(np.float32)
    errors = [float(np.square(still - f).mean()) for f in frames]
    assert int(np.argmin(errors)) != 3 and recording.contents[0].reference_codes is not None

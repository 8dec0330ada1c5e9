"""Another person's pictures of change on a face: where they are put, and when they are left out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from head_clips import head_frames

import bcdcodec
from bcdcodec import codec as codec_module
from bcdcodec import landmarks
from bcdcodec.models.appearance import Appearance
from bcdcodec.models.expression import carried, joining_flow

MARKS = torch.rand(20, 2, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25  # fractions of the picture


@pytest.fixture()
def found(monkeypatch):
    """Landmarks that are always found, the driver's a tenth of the picture further left."""
    answers = iter([MARKS.numpy() - (0.1, 0.0), MARKS.numpy()] * 99)
    monkeypatch.setattr(codec_module, "can_find_landmarks", lambda: True)
    monkeypatch.setattr(codec_module, "landmark_finder", lambda: lambda picture: next(answers))


def test_the_flow_joins_the_landmarks_and_leaves_the_border():
    there = 0.45 + 1.2 * (MARKS - 0.5) @ torch.tensor([[0.95, 0.3], [-0.3, 0.95]])  # a larger face, tilted
    flow = joining_flow(MARKS, there)
    places = torch.nn.functional.interpolate(flow, size=256, mode="bilinear")  # as pictures of 256x256 see it
    column, row = (MARKS * 256).long().T
    off = places[0, :, row, column].T / 2 - (there - MARKS)
    print(f"landmarks joined to within {off.abs().max():.4f} of the picture's side")
    assert off.abs().max() < 0.02 and (there - MARKS).abs().max() > 0.08
    assert flow[..., 0].abs().max() < 0.05 and flow[..., -1, :].abs().max() < 0.05  # of the 0.2 that landmarks go


def test_pictures_of_change_lie_where_the_landmarks_are():
    change = torch.zeros(1, 2, 3, 64, 64)
    change[:, :, :, 30:34, 26:30] = 1.0
    moved = carried(Appearance(change, change[:, 0, :1]), MARKS - torch.tensor([0.125, 0.0]), MARKS)
    rows, columns = (moved.components[0, 0, 0] > 0.5).nonzero().T.tolist()
    assert abs(np.mean(rows) - 31.5) < 1 and abs(np.mean(columns) - (27.5 + 8)) < 1
    assert moved.components.shape == change.shape and moved.salience.shape == (1, 1, 64, 64)


@pytest.fixture(scope="module")
def two(tiny_model):
    codec = bcdcodec.load(tiny_model)
    return codec, codec.encode(head_frames(3, 12, 32)), codec.encode(head_frames(4, 6, 32))


def test_another_faces_own_pictures_of_change_are_left_out(two, monkeypatch):
    codec, motion, face = two
    monkeypatch.setattr(codec_module, "can_find_landmarks", lambda: False)
    assert codec.portrait(face.contents[0]).appearance is not None
    assert codec.portrait_moved_by(face.contents[0], motion.contents[0]).appearance is None
    assert codec.portrait_moved_by(face.contents[0], None).appearance is None


def test_without_a_face_in_a_still_nothing_is_carried(two, monkeypatch):
    codec, motion, face = two
    monkeypatch.setattr(codec_module, "can_find_landmarks", lambda: True)
    monkeypatch.setattr(codec_module, "landmark_finder", lambda: lambda picture: None)
    assert codec.portrait_moved_by(face.contents[0], motion.contents[0]).appearance is None


def test_the_drivers_pictures_of_change_are_carried_and_seen(two, found, monkeypatch):
    codec, motion, face = two
    portrait = codec.portrait_moved_by(face.contents[0], motion.contents[0])
    own = codec.portrait(motion.contents[0]).appearance
    assert torch.allclose(portrait.appearance.components, carried(own, MARKS - torch.tensor([0.1, 0.0]), MARKS).components, atol=1e-5)
    assert torch.equal(portrait.still, codec.portrait(face.contents[0]).still)
    with_them = codec.decode(motion, content=face)
    monkeypatch.setattr(codec_module, "can_find_landmarks", lambda: False)
    assert not np.array_equal(with_them, codec.decode(motion, content=face))


def test_every_scene_of_the_motion_brings_its_own(two, found, monkeypatch):
    codec, motion, face = two
    second = replace(motion.contents[0], number=1, first_frame=6)
    chunk = motion.motions[0]
    chunks = (replace(chunk, codes=chunk.codes[:6]), replace(chunk, codes=chunk.codes[6:], first_frame=6, content=1))
    asked = []
    inner = codec.portrait_moved_by
    monkeypatch.setattr(codec, "portrait_moved_by", lambda content, driver, relative: asked.append((content.number, driver.number)) or inner(content, driver, relative))
    scenes = replace(motion, contents=(motion.contents[0], second), motions=chunks)
    assert codec.decode(scenes, content=face).shape[0] == 12 and asked == [(0, 0), (0, 1)]


def test_the_command_says_what_landmarks_would_bring(bcd, tiny_model, tmp_path, two, monkeypatch):
    codec, motion, face = two
    for name, recording in (("talk", motion), ("face", face)):
        bcdcodec.write(tmp_path / f"{name}.bcd", recording, tiny_model)
    monkeypatch.setattr("bcdcodec.transcode.can_find_landmarks", lambda: False)
    monkeypatch.setattr(codec_module, "can_find_landmarks", lambda: False)
    done = bcd("decode", tmp_path / "talk.bcd", tmp_path / "out.mp4", "--content", tmp_path / "face.bcd", "--model", tiny_model)
    assert done.code == 0 and "bcdcodec[expression]" in done.err


def test_a_finder_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(landmarks, "can_find_landmarks", lambda: False)
    with pytest.raises(bcdcodec.BcdError, match=r"bcdcodec\[expression\]"):
        landmarks.LandmarkFinder()

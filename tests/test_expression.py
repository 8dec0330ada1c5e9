"""Reenactment by landmarks: how a face is turned, and where the residual basis of the driver is put or left out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from head_clips import head_frames

import bcdcodec
from bcdcodec.coding.content import reference_of
from bcdcodec.models.heads.reference import HeadsReference
from bcdcodec.models.heads.residual_basis import ResidualBasis
from bcdcodec.models.latents import to_uint8
from bcdcodec.models.warp import warp
from bcdcodec.reenactment import landmarks, retarget as retargeting
from bcdcodec.reenactment.expression import landmarks_moved, retargeted, transport_flow, turned
from bcdcodec.reenactment.head_pose import MEAN_HEAD, turned_landmarks
from bcdcodec.reenactment.options import ReenactmentOptions
from bcdcodec.reenactment.retarget import retarget
from bcdcodec.video import read_frames

MARKS = np.random.default_rng(0).uniform(0.3, 0.7, (68, 2))  # fractions of the picture
OWN = 0.5 + 0.1 * MEAN_HEAD[:, :2]  # landmarks of a face, and
DRIVERS = (
    0.5
    + 0.1 * (0.9 * MEAN_HEAD[:, :1] + 0.44 * MEAN_HEAD[:, 2:]) * (1, 0)
    + 0.1 * MEAN_HEAD[:, :2] * (0, 1)
    - (0.1, 0.0)
)  # another's, turned to the right


@pytest.fixture()
def found(monkeypatch):
    """Landmarks that are always found, the driver's turned, a tenth of the picture further left."""
    answers = iter([OWN, DRIVERS] * 99)
    monkeypatch.setattr(retargeting, "can_find_landmarks", lambda: True)
    monkeypatch.setattr(retargeting, "landmark_finder", lambda: lambda picture: next(answers))


def test_the_flow_joins_the_landmarks_and_leaves_the_border():
    there = 0.45 + 1.2 * (MARKS - 0.5) @ np.array([[0.95, 0.3], [-0.3, 0.95]])  # a larger face, tilted
    flow = transport_flow(MARKS, there)
    places = torch.nn.functional.interpolate(flow, size=256, mode="bilinear")  # as pictures of 256x256 see it
    column, row = (MARKS * 256).astype(int).T
    off = places[0, :, row, column].T.numpy() / 2 - (there - MARKS)
    print(f"landmarks joined to within {np.abs(off).max():.4f} of the picture's side")
    assert np.abs(off).max() < 0.02 and np.abs(there - MARKS).max() > 0.08
    assert flow[..., 0].abs().max() < 0.05 and flow[..., -1, :].abs().max() < 0.05  # of the 0.2 that landmarks go


def test_a_head_at_the_border_is_not_held_there():
    high = MARKS * (1, 0.5) - (0, 0.1)  # its top is cut off
    flow = transport_flow(high, high + (0.0, 0.1))
    assert (flow[0, 1, 0, 10:22] - 0.2).abs().max() < 0.05, "the border above it goes with it"
    assert flow[0, :, -1].abs().max() < 0.05, "the one below does not"


def spot(row, column, size=64):
    """A picture [1, 3, size, size] with a bright spot."""
    picture = torch.zeros(1, 3, size, size)
    picture[..., row - 2 : row + 2, column - 2 : column + 2] = 1.0
    return picture


def face_at(row, column, **more):
    """A reference whose image has a bright spot."""
    return HeadsReference(torch.zeros(1, 1, 1), torch.zeros(1, 4), spot(row, column), **more)


def middle(picture):
    """Row and column of what is bright in it."""
    return [float(x.float().mean()) for x in (picture > 0.5).nonzero(as_tuple=True)[-2:]]


def test_a_portrait_is_turned_with_its_detail():
    portrait = face_at(32, 28, detail=spot(64, 56, 128))
    shown = turned(portrait, MARKS, MARKS + (0.125, -0.0625))
    assert middle(shown.image) == pytest.approx([31.5 - 4, 27.5 + 8], abs=1)
    assert middle(shown.detail) == pytest.approx([63.5 - 8, 55.5 + 16], abs=1.5) and shown.motion is portrait.motion


def test_pictures_of_change_lie_where_the_landmarks_are():
    change = spot(32, 28)[:, None].expand(1, 2, 3, 64, 64)
    shown = retargeted(face_at(9, 9), MARKS, ResidualBasis(change, change[:, 0, :1]), MARKS - (0.125, 0.0), MARKS)
    assert middle(shown.residual_basis.components[0, 0, 0]) == pytest.approx([31.5, 27.5 + 8], abs=1)
    assert shown.residual_basis.components.shape == change.shape and shown.residual_basis.salience.shape == (
        1,
        1,
        64,
        64,
    )


def test_a_point_of_the_face_moves_as_that_point_of_the_drivers_does():
    change = torch.zeros(1, 1, 3, 64, 64)
    shown = retargeted(face_at(9, 9), MARKS, ResidualBasis(change, change[:, 0, :1]), MARKS, MARKS - (0.125, 0.0))
    flow = torch.zeros(1, 1, 2, 32, 32)
    flow[..., 14:18, 10:14] = 0.1  # a mouth of the driver
    moved = shown.transported(flow)
    assert moved.shape == flow.shape and moved.max() == pytest.approx(0.1, abs=0.02)
    rows, columns = (moved[0, 0, 0] > 0.05).nonzero(as_tuple=True)
    assert abs(rows.float().mean() - 15.5) < 1.5 and abs(columns.float().mean() - (11.5 + 4)) < 1.5
    assert torch.allclose(replace(shown, scale=1.5).transported(flow), 1.5 * moved), (
        "the way of a larger face is longer"
    )
    assert torch.equal(replace(shown, transport_flow=None).transported(flow), flow)


def test_a_face_twice_as_large_moves_twice_as_far():
    nothing = ResidualBasis(torch.zeros(1, 1, 3, 64, 64), torch.zeros(1, 1, 64, 64))
    larger = [retargeted(face_at(9, 9), OWN, nothing, size * OWN + 0.2, OWN).scale for size in (1.0, 0.8, 0.1, 8.0)]
    assert larger == pytest.approx([1, 1.25, 2, 0.5]), "no further than faces can differ"


def test_landmarks_go_where_a_flow_takes_them():
    flow = torch.zeros(1, 2, 32, 32)
    flow[:, 0] = 0.2  # every place of the picture shows what lies a tenth of it to the right
    assert np.allclose(landmarks_moved(MARKS, flow), MARKS - (0.1, 0.0), atol=1e-6)


def driven(codec, content, driver, first=None, **options):
    """The reference of a content in the motion of a driver."""
    return retarget(codec.session, content, driver, ReenactmentOptions(**options), first)


@pytest.fixture(scope="module")
def two(tiny_model):
    codec = bcdcodec.load(tiny_model)
    return codec, codec.encode(head_frames(3, 12, 32)), codec.encode(head_frames(4, 6, 32))


def test_another_faces_own_pictures_of_change_are_left_out(two, monkeypatch):
    codec, motion, face = two
    monkeypatch.setattr(retargeting, "can_find_landmarks", lambda: False)
    assert reference_of(codec.session, face.contents[0]).residual_basis is not None
    assert driven(codec, face.contents[0], motion.contents[0]).residual_basis is None
    assert driven(codec, face.contents[0], None).residual_basis is None


def test_without_a_face_in_a_still_nothing_is_carried(two, monkeypatch):
    codec, motion, face = two
    monkeypatch.setattr(retargeting, "can_find_landmarks", lambda: True)
    monkeypatch.setattr(retargeting, "landmark_finder", lambda: lambda picture: None)
    assert driven(codec, face.contents[0], motion.contents[0]).residual_basis is None


def test_a_face_is_turned_as_the_drivers_and_moves_in_its_place(two, found):
    codec, motion, face = two
    portrait = driven(codec, face.contents[0], motion.contents[0])
    other, own = reference_of(codec.session, motion.contents[0]), reference_of(codec.session, face.contents[0])
    here, there = turned_landmarks(OWN, DRIVERS)
    expected = retargeted(turned(own, here, there), there[:68], other.residual_basis, DRIVERS, DRIVERS)
    assert torch.equal(portrait.image, expected.image) and not torch.allclose(portrait.image, own.image, atol=0.1)
    assert torch.equal(portrait.motion, other.motion), "the still stands where the driver's does"
    assert torch.equal(portrait.transport_flow, expected.transport_flow)
    assert torch.equal(portrait.residual_basis.components, expected.residual_basis.components)


def test_in_relative_motion_a_face_keeps_its_pose_and_moves_in_its_place(two, found):
    codec, motion, face = two
    other = (
        motion.contents[0].reference_codes + 1
    ) % codec.config.quantiser.codes  # as in `decode_file`: motion is counted from another frame
    begins = replace(face.contents[0], reference_codes=other.astype(np.uint8))
    portrait, own = driven(codec, begins, motion.contents[0], relative=True), reference_of(codec.session, begins)
    assert torch.equal(portrait.image, own.image) and torch.equal(portrait.motion, own.motion)
    way = codec.model.flow_basis(own.motion - reference_of(codec.session, motion.contents[0]).motion)
    now = landmarks_moved(DRIVERS, way)
    print(f"the driver's face is {np.abs(now - DRIVERS).mean():.4f} of the picture from where its still has it")
    assert torch.equal(portrait.transport_flow, transport_flow(OWN, now)) and not np.allclose(now, DRIVERS, atol=1e-4)


def test_a_face_that_landmarks_join_is_drawn_by_the_drivers_flow_in_its_place(two, found, monkeypatch):
    codec, motion, face = two
    shown = driven(codec, face.contents[0], motion.contents[0])
    change = codec.model.vq.lookup(torch.from_numpy(motion.motions[0].codes.astype(np.int64))[None]) - shown.motion
    flow, looks = shown.transported(codec.model.flow_basis(change))[0], shown.with_residual(change)[0]
    expected = to_uint8(codec.latents.decode(warp(looks, flow)))
    assert np.array_equal(codec.decode(motion, content=face, steps=0), expected) and len(expected) == 12
    seen, inner = [], codec.model.denoise
    monkeypatch.setattr(codec.model, "denoise", lambda *given: seen.append(inner(*given)) or seen[-1])
    codec.decode(motion, content=face)
    window = codec.config.window.length
    assert len(seen[0].flow) > 1 and torch.allclose(seen[0].flow[0], flow[:window], atol=1e-5)


def test_where_contents_change_the_head_stays_where_it_has_gone(two, monkeypatch):
    codec, motion, face = two
    second = replace(motion.contents[0], number=1, first_frame=6)
    since = DRIVERS + (0.05, 0.0)
    monkeypatch.setattr(retargeting, "can_find_landmarks", lambda: True)
    answers = iter([OWN, since, DRIVERS])  # of the face, of the driver now, and where it began
    monkeypatch.setattr(retargeting, "landmark_finder", lambda: lambda picture: next(answers))
    shown = driven(codec, face.contents[0], second, first=motion.contents[0])
    own = reference_of(codec.session, face.contents[0])
    assert torch.equal(shown.image, turned(own, *turned_landmarks(OWN, since, DRIVERS)).image)
    assert not torch.equal(shown.image, turned(own, *turned_landmarks(OWN, since)).image)


def test_landmarks_are_left_out_where_that_is_asked(two, found, tiny, tiny_model, tmp_path, monkeypatch):
    codec, motion, face = two
    monkeypatch.setattr("bcdcodec.files.decode_file.can_find_landmarks", lambda: False)
    apart = driven(codec, face.contents[0], motion.contents[0], landmarks=False)
    assert apart.transport_flow is None and apart.residual_basis is None
    bcdcodec.write(tmp_path / "talk.bcd", motion, tiny_model)
    bcdcodec.write(tmp_path / "face.bcd", face, tiny_model)
    assert tiny("decode", tmp_path / "talk.bcd", tmp_path / "out.mp4", "--no-landmarks").code == 2
    done = tiny("decode", tmp_path / "talk.bcd", tmp_path / "out", "--content", tmp_path / "face.bcd", "--no-landmarks")
    assert done.code == 0 and "expression" not in done.err
    pictures = np.stack([picture for _, picture in read_frames(tmp_path / "out", None, 32)])
    assert np.array_equal(pictures, codec.decode(motion, content=face, landmarks=False))


def test_what_landmarks_join_the_decoder_does_not_bend(two, found, monkeypatch):
    codec, motion, face = two
    seen, inner = [], codec.model.denoise

    def denoise(x, sigma, reference, m_hat):
        seen.append(reference.cross_identity)
        return inner(x, sigma, reference, m_hat)

    monkeypatch.setattr(codec.model, "denoise", denoise)
    joined = codec.decode(motion, content=face)
    assert seen and all(cross is None for cross in seen)
    seen.clear()
    monkeypatch.setattr(retargeting, "can_find_landmarks", lambda: False)
    assert not np.array_equal(joined, codec.decode(motion, content=face))
    assert seen and all(cross is not None for cross in seen)


def test_every_scene_of_the_motion_brings_its_own(two, found, monkeypatch):
    codec, motion, face = two
    second = replace(motion.contents[0], number=1, first_frame=6)
    chunk = motion.motions[0]
    chunks = (replace(chunk, codes=chunk.codes[:6]), replace(chunk, codes=chunk.codes[6:], first_frame=6, content=1))
    asked = []

    def noted(session, content, driver, options, first):
        asked.append((content.number, driver.number, first.number))
        return retarget(session, content, driver, options, first)

    monkeypatch.setattr(retargeting, "retarget", noted)
    scenes = replace(motion, contents=(motion.contents[0], second), motions=chunks)
    assert codec.decode(scenes, content=face).shape[0] == 12 and asked == [(0, 0, 0), (0, 1, 0)]


def test_the_command_says_what_landmarks_would_bring(tiny, tiny_model, tmp_path, two, monkeypatch):
    codec, motion, face = two
    for name, recording in (("talk", motion), ("face", face)):
        bcdcodec.write(tmp_path / f"{name}.bcd", recording, tiny_model)
    monkeypatch.setattr("bcdcodec.files.decode_file.can_find_landmarks", lambda: False)
    monkeypatch.setattr(retargeting, "can_find_landmarks", lambda: False)
    done = tiny("decode", tmp_path / "talk.bcd", tmp_path / "out.mp4", "--content", tmp_path / "face.bcd")
    assert done.code == 0 and "bcdcodec[expression]" in done.err


def test_a_finder_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(landmarks, "can_find_landmarks", lambda: False)
    with pytest.raises(bcdcodec.BcdError, match=r"bcdcodec\[expression\]"):
        landmarks.LandmarkFinder()

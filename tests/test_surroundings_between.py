"""The network of the surroundings is asked of few frames; its maps are interpolated between them."""

import pytest
import torch
from head_clips import head_frames

import bcdcodec
from bcdcodec.models.faces.model import SURROUNDINGS_EVERY
from bcdcodec.models.faces.reference import FacesReference
from bcdcodec.models.faces.surroundings import Surroundings, interpolated
from bcdcodec.stream.packet_pictures import PacketPictures


def maps_of(values):
    """Maps whose every value is that of the frame."""
    rows = torch.tensor(values)[:, None, None, None]
    return Surroundings(*(rows.expand(-1, channels, 2, 2) for channels in (2, 1, 3, 2)))


def test_maps_lie_on_the_way_between_those_that_are_known():
    found = interpolated(maps_of([0.0, 8.0, 6.0]), torch.tensor([0, 4, 6]))
    for each, channels in zip(found, (2, 1, 3, 2), strict=True):
        assert each.shape == (7, channels, 2, 2)
        assert each[:, 0, 0, 0].tolist() == [0.0, 2.0, 4.0, 6.0, 8.0, 7.0, 6.0]
    assert interpolated(maps_of([3.0]), torch.tensor([0])).flow[:, 0, 0, 0].tolist() == [3.0]


@pytest.fixture(scope="module")
def codec():
    return bcdcodec.load("faces")


@pytest.fixture
def asked(codec, monkeypatch):
    """Of how many frames the network was asked, a call each."""
    counts, network = [], codec.model.base.surroundings
    forward = network.forward

    def counted(small, own, motion):
        counts.append(len(motion))
        return forward(small, own, motion)

    monkeypatch.setattr(network, "forward", counted)
    return counts


@pytest.fixture(scope="module")
def motion(codec):
    """Of a head that turns from frame to frame, [1, 10, m], and a reference."""
    pictures = torch.from_numpy(head_frames(3, 1, 256)).permute(0, 3, 1, 2)[None] / 127.5 - 1
    with torch.inference_mode():
        first = codec.model.motion(pictures)
    m = first.repeat(1, 10, 1)
    m[..., : codec.config.base_channels - 8] += torch.linspace(0, 0.3, 10)[:, None]
    return m, FacesReference(pictures[0], first[0])


def test_a_clip_asks_every_fourth_frame_and_the_last(codec, asked, motion):
    m, reference = motion
    with torch.inference_mode():
        shown = codec.model.shown(reference, m)
        exact = codec.model.shown(reference, m, around=codec.model.maps_around(reference, m))
    assert SURROUNDINGS_EVERY == 4
    assert asked == [4, 10]  # frames 0, 4, 8, 9
    error = (shown - exact).abs().mean((2, 3, 4))[0]
    assert error[[0, 4, 8, 9]].max() < 0.002  # batches of another size round otherwise in bfloat16
    assert error.max() < 0.02


def test_a_packet_asks_once_and_all_frames_where_nothing_is_known_before(codec, asked, motion):
    m, reference = motion
    pictures = PacketPictures(codec.session)
    pictures.drawing = False
    pictures.begin(reference, 2, m[0, 2])
    pictures.pictures([0, 1, 2], m[0, :3], True)
    pictures.begin(reference, 5, m[0, 5])
    pictures.pictures([3], m[0, 3:4], True)
    pictures.pictures([4, 5], m[0, 4:6], True)
    pictures.begin(reference, 30, m[0, 5])  # much was lost
    pictures.pictures([30], m[0, 5:6], True)
    assert asked == [1, 2, 1, 1]

"""Before an image is coded as a reference picture: blur around the face, and the choice of the size."""

import numpy as np
import pytest

from bcdcodec.errors import VideoError
from bcdcodec.video import av1
from bcdcodec.video.av1 import decode_picture, encode_key
from bcdcodec.video.reference_image import ReferenceSearch, ellipse_weights, soften
from bcdcodec.video.scaling import scale

SIDE = 128
WEIGHTS = ellipse_weights(SIDE, SIDE, (64, 64), (30, 40))


@pytest.fixture(autouse=True)
def fast_encoder(monkeypatch):
    monkeypatch.setattr(av1, "PRESET", 8)  # a tenth of the time; what is tested here holds at any


@pytest.fixture(scope="module")
def busy():
    """A striped face uint8 [128, 128, 3] before noise."""
    noise = np.random.default_rng(1).integers(83, 173, (SIDE, SIDE, 3))
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    face = np.stack([150 + 50 * np.sin(x / 3), 120 + 40 * np.sin(y / 4), 100 + 0 * x], 2)
    inside = ellipse_weights(SIDE, SIDE, (64, 64), (25, 34))[..., None]
    return np.rint(inside * face + (1 - inside) * noise).astype(np.uint8)


def error(a, b, weights):
    return np.average(((a.astype(float) - b) ** 2).mean(2), weights=weights)


def test_an_ellipse_is_one_inside_and_nothing_far_away():
    assert WEIGHTS.shape == (SIDE, SIDE)
    assert WEIGHTS[64, 64] == WEIGHTS[64 - 38, 64] == WEIGHTS[64, 64 + 28] == 1
    assert WEIGHTS[0, 0] == WEIGHTS[64, 64 + 42] == 0
    assert 0 < WEIGHTS[64, 64 + 35] < 1


def test_softening_keeps_the_face_and_smooths_the_rest(busy):
    softened = soften(busy, WEIGHTS, 3)
    assert np.array_equal(softened[WEIGHTS == 1], busy[WEIGHTS == 1])
    around = WEIGHTS == 0
    assert softened[around].std() < 0.3 * busy[around].std()
    assert abs(softened[around].mean() - busy[around].mean()) < 4
    with pytest.raises(VideoError, match="64, 64"):
        soften(busy, WEIGHTS[:64, :64], 3)


def test_softened_surroundings_leave_the_bytes_to_the_face(busy):
    budget = 900
    plain = decode_picture(encode_key(busy, budget))
    softened = decode_picture(encode_key(soften(busy, WEIGHTS, 3), budget))
    inside = WEIGHTS == 1
    assert error(softened, busy, inside) < 0.75 * error(plain, busy, inside)  # 1.2 dB


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_size_is_the_one_with_the_least_error(busy, weights):
    image = soften(busy, WEIGHTS, 3)
    chosen = ReferenceSearch(image, 500, weights).best()
    full = encode_key(image, 500)
    found = error(scale(decode_picture(chosen), SIDE, SIDE), image, weights)
    assert len(chosen.unit) <= 500
    assert found <= error(decode_picture(full), image, weights)


def test_a_small_budget_takes_a_smaller_picture_and_a_large_one_the_whole(busy):
    assert ReferenceSearch(busy, 400).best().width < SIDE
    assert ReferenceSearch(soften(busy, WEIGHTS, 3), 6000, WEIGHTS).best().width == SIDE

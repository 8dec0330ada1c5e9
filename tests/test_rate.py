"""One model codes motion at several rates, and spends what it is given well."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from head_clips import head_frames, write_clip

import bcdcodec
from bcdcodec.coding.encoder import StreamOptions, make_rate_control
from bcdcodec.coding.rate_control import STRIDES, RateControl, between, choose_rate
from bcdcodec.config import QuantiserConfig
from bcdcodec.container import open_bcd
from bcdcodec.models.group_vq import GroupVQ

GROUPS, CODES, DIM, FRAMES = 8, 64, 2, 120


@pytest.fixture(scope="module")
def vq():
    """Codebooks and code prices of a drawn model, in which common codes are near the middle."""
    torch.manual_seed(5)
    made = GroupVQ(QuantiserConfig(groups=GROUPS, codes=CODES, dim=DIM, normalise=False)).eval()
    made.log2_p.copy_(torch.log_softmax(-made.codebooks.square().sum(-1), -1) / np.log(2))
    return made


@pytest.fixture(scope="module")
def motion():
    """Features [t, g * d] that move slowly, with noise."""
    torch.manual_seed(6)
    time = torch.arange(FRAMES)[:, None] / 25
    width = GROUPS * DIM
    return torch.sin(2 * time * (1 + torch.rand(width)) + 6 * torch.rand(width)) + 0.1 * torch.randn(FRAMES, width)


def static_bits(vq):
    return lambda codes: -vq.log2_p[torch.arange(GROUPS), codes].sum().item()


def test_more_bits_are_used_and_never_do_worse(vq, motion):
    points = [choose_rate(vq, motion, bits, static_bits(vq)) for bits in (6, 12, 24, 80)]
    for before, after in zip(points, points[1:]):
        assert before.bits < after.bits
        assert before.distortion >= after.distortion * 0.98
    for point, allowed in zip(points[:-1], (6, 12, 24)):
        assert 0.75 * allowed < point.bits <= allowed


def test_with_plenty_of_bits_every_frame_has_its_nearest_codes(vq, motion):
    point = choose_rate(vq, motion, 1000, static_bits(vq))
    assert (point.stride, point.lambda_) == (1, 0)


def test_a_price_and_fewer_frames_do_better_than_either_alone(vq, motion):
    best = choose_rate(vq, motion, 10, static_bits(vq))
    every = choose_rate(vq, motion, 10, static_bits(vq), (1,))
    assert best.stride > 1 and best.distortion < every.distortion


def test_a_rate_that_no_choice_keeps_gets_the_cheapest(vq, motion):
    point = choose_rate(vq, motion, 0.01, static_bits(vq))
    assert point.stride == STRIDES[-1] and point.bits > 0.01


def test_the_price_follows_what_the_clip_does(vq, motion):
    control = RateControl(vq, 42, static_bits(vq), strides=(1,))
    still = torch.zeros_like(motion)
    control.start(still)
    calm = control.follow(still)
    assert control.follow(3 * motion) > calm


def test_a_cap_changes_nothing_below_it_and_holds_above_it(vq, motion):
    own = choose_rate(vq, motion, 1000, static_bits(vq), (1,), least_lambda=0.02)
    assert own.lambda_ == 0.02
    capped = choose_rate(vq, motion, 0.9 * own.bits, static_bits(vq), (1,), least_lambda=0.02)
    assert capped.lambda_ > 0.02 and 0.7 * own.bits < capped.bits <= 0.9 * own.bits


@pytest.mark.parametrize("unit", [1e-4, 10.0])
def test_a_rate_is_used_whatever_the_unit_of_the_distortion(vq, motion, unit):
    made = GroupVQ(QuantiserConfig(groups=GROUPS, codes=CODES, dim=DIM, alpha=unit, normalise=False)).eval()
    made.codebooks, made.log2_p = vq.codebooks, vq.log2_p
    point = choose_rate(made, motion, 42, static_bits(vq), (1,))
    assert 0.95 * 42 < point.bits <= 42


@pytest.mark.parametrize("target, kept", [(6.0, True), (5.5, False)])
def test_a_clip_of_rare_codes_alone_is_coded_as_it_is_where_the_target_is_all_bits(target, kept):
    """A sprite's walk is eight frames, which may all be rare: above the target, while calm clips are below it."""
    torch.manual_seed(7)
    made = GroupVQ(QuantiserConfig(groups=1, codes=64, dim=8, normalise=False, target_bits=target)).eval()
    made.log2_p.copy_(torch.log_softmax(torch.randn(1, 64), -1) / np.log(2))
    rare = (-made.log2_p[0]).argsort(descending=True)[:8]
    assert -made.log2_p[0, rare].mean() > 1.1 * 6
    session = SimpleNamespace(
        model=SimpleNamespace(vq=made), config=SimpleNamespace(quantiser=made.config), device="cpu"
    )
    control = make_rate_control(session, StreamOptions(), 1, 0.1)
    clip = made.codebooks[0, rare]
    control.start(clip)
    codes = made.encode_clip(clip, control.follow(clip))[:, 0]
    assert torch.equal(codes, rare) == kept and (kept or -made.log2_p[0, codes].mean() < 1.1 * target)


def test_vectors_between_lie_on_lines():
    vectors = torch.tensor([[0.0], [4.0], [2.0]])
    assert between(vectors, 11, 4)[:, 0].tolist() == [0, 1, 2, 3, 4, 3.5, 3, 2.5, 2, 2, 2]
    assert between(vectors, 12, 4, torch.tensor([6.0]))[:, 0].tolist() == [0, 1, 2, 3, 4, 3.5, 3, 2.5, 2, 3, 4, 5]


# ---- through the codec


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    return write_clip(
        tmp_path_factory.mktemp("talk") / "talk.mp4", np.concatenate([head_frames(i, 75, 32) for i in range(2)])
    )


@pytest.mark.parametrize("profile, shares", [("static", (0.2, 0.4, 0.7)), ("context", (0.4, 0.7))])
def test_rates_of_files_are_ordered_and_kept(bcd, tiny_model, talk, tmp_path, profile, shares):
    with open_bcd(encoded(bcd, tiny_model, talk, tmp_path / "own.bcd", "--profile", profile)) as reader:
        own = reader.byte_counts.motion * 8 / reader.duration_seconds / 1000
    rates = []
    for share in shares:
        with open_bcd(
            encoded(bcd, tiny_model, talk, tmp_path / "a.bcd", "--profile", profile, "--kbps", own * share)
        ) as reader:
            assert (reader.frames, reader.complete) == (150, True)
            rates.append(reader.byte_counts.motion * 8 / reader.duration_seconds / 1000)
    for rate, share in zip(rates, shares):
        assert 0.7 * own * share < rate < 1.1 * own * share  # a little below is left by strides that use less
    assert rates == sorted(rates)


def encoded(bcd, model, source, target, *options):
    assert bcd("encode", source, target, "--model", model, *options).code == 0
    return target


def test_a_file_of_a_low_rate_is_an_ordinary_file(tiny, bcd, tiny_model, talk, tmp_path):
    encoded(bcd, tiny_model, talk, tmp_path / "a.bcd", "--kbps", 0.1)
    assert tiny("verify", tmp_path / "a.bcd").code == 0
    assert tiny("decode", tmp_path / "a.bcd", tmp_path / "out.mp4").code == 0
    facts = json.loads(bcd("info", tmp_path / "a.bcd", "--json").out)
    assert facts["frames"] == 150 and facts["coded_frames"] < 150


def test_a_rate_out_of_reach_is_said(tiny, bcd, tiny_model, talk, tmp_path):
    done = tiny("encode", talk, tmp_path / "a.bcd", "--kbps", 90)
    assert done.code == 0 and "of the 90 asked for: the nearest codes need no more" in done.err
    encoded(bcd, tiny_model, talk, tmp_path / "own.bcd")
    assert (tmp_path / "a.bcd").stat().st_size >= (tmp_path / "own.bcd").stat().st_size


@pytest.mark.parametrize("chunk", [10, 64])
def test_codes_of_a_rate_do_not_depend_on_the_size_of_chunks(tiny_model, chunk):
    codec = bcdcodec.load(tiny_model)
    frames = np.concatenate([head_frames(i, 150, 32) for i in range(2)])
    found = []
    for size in (256, chunk):
        items = list(
            codec.encode_stream(enumerate(frames), StreamOptions(size, kbps=0.2, profile="static", scenes=False))
        )[1:]
        assert all(item.stride > 1 for item in items) and sum(item.frames for item in items) == 300
        found.append(np.concatenate([item.codes for item in items]))
    assert np.array_equal(*found)

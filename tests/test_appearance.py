"""The residual basis: learned of a clip and of all people, coefficients found by alignment, kept in files."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from head_clips import head_frames
from test_flow_basis import random_change, smooth_pictures

import bcdcodec
from bcdcodec.models.flow_basis import RESIDUAL_SCALE, FlowBasis, smooth_basis
from bcdcodec.models.heads.alignment import align
from bcdcodec.models.heads.model import HeadsModel
from bcdcodec.models.heads.reference_image import FINENESS, ReferenceQuantiser
from bcdcodec.models.heads.residual_basis import ResidualBasis, SharedBasis, fit_residual_basis
from bcdcodec.models.warp import splat, warp
from bcdcodec.presets import HEADS, TINY

SIZE = 64


def basis_with_amounts(amounts=2):
    """Flow fields, and as many channels of motion without any."""
    smooth = smooth_basis(16)
    basis = FlowBasis(20 + amounts, 16, amounts)
    basis.fit((smooth.fields * smooth.deviation[:, None, None, None])[:40])
    return basis


def mouth(rows=slice(40, 52)):
    """A picture of change [3, SIZE, SIZE] in one place."""
    picture = torch.zeros(3, SIZE, SIZE)
    picture[:, rows, 24:40] = -0.8
    return picture


def shared_by_all(components, salience=None):
    """A shared basis of components [k, c, h, w] as it is in one place; salient everywhere unless said."""
    return ResidualBasis(components[None], torch.ones(1, 1, SIZE, SIZE) if salience is None else salience[None])


def opening_clip(basis, t=24, seed=3):
    """A picture, frames [t, c, h, w] that move and open a mouth, how far [t], and the motion [t, m] without it."""
    generator = torch.Generator().manual_seed(seed)
    still = 0.5 * smooth_pictures(1, SIZE, seed)[0]
    amounts = torch.rand(t, generator=generator)
    change = 0.3 * random_change(basis, t, seed)
    change[:, -basis.residual_channels :] = 0
    frames = warp(still + amounts[:, None, None, None] * mouth(), basis(change))
    return still, frames, amounts, change


def test_splat_is_the_adjoint_of_warp():
    flow = 0.3 * torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    x, y = smooth_pictures(2, SIZE, 1), torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    assert (warp(x, flow) * y).sum().item() == pytest.approx((x * splat(y, flow)).sum().item(), rel=1e-3)
    assert torch.allclose(splat(y, torch.zeros_like(flow)), y, atol=1e-4)


def test_a_clips_component_is_what_opens_in_it_and_only_where_it_may_be():
    basis = basis_with_amounts()
    still, frames, amounts, change = opening_clip(basis)
    everywhere = torch.ones(1, SIZE, SIZE)
    found = fit_residual_basis(basis, shared_by_all(torch.zeros(2, 3, SIZE, SIZE)), still, frames, change)
    likeness = [torch.cosine_similarity(c.flatten(), mouth().flatten(), dim=0).abs().item() for c in found]
    assert max(likeness) > 0.9
    above = everywhere.clone()
    above[:, 30:] = 0
    assert (
        fit_residual_basis(basis, shared_by_all(torch.zeros(2, 3, SIZE, SIZE), above), still, frames, change)[:, :, 30:]
        .abs()
        .max()
        == 0
    )


def test_components_are_turned_to_the_common_ones_and_held_to_them_where_frames_are_few():
    basis = basis_with_amounts()
    still, frames, _, change = opening_clip(basis)
    common = torch.stack([0.3 * mouth(slice(4, 12)), 0.3 * mouth()])  # the second is the one that opens
    found = fit_residual_basis(basis, shared_by_all(common), still, frames, change)
    assert torch.cosine_similarity(found[1].flatten(), mouth().flatten(), dim=0) > 0.9
    one = fit_residual_basis(basis, shared_by_all(common), still, frames[:1], change[:1])
    photo = fit_residual_basis(basis, shared_by_all(common), still, still[None], torch.zeros(1, len(basis.deviation)))
    assert torch.isfinite(one).all() and torch.equal(photo, common)


def test_alignment_finds_how_much_of_a_component_a_frame_has():
    basis = basis_with_amounts()
    still, frames, amounts, change = opening_clip(basis)
    looks = ResidualBasis(torch.stack([mouth(), torch.zeros(3, SIZE, SIZE)])[None], torch.ones(1, 1, SIZE, SIZE))
    start = torch.zeros_like(change)
    found, _ = align(basis, still.expand_as(frames), frames, start, looks)
    told = looks.coefficients(found)[:, 0]
    assert torch.corrcoef(torch.stack([told, amounts]))[0, 1] > 0.9
    shown = warp(still + looks.residual(found[None])[0], basis(found))
    without, _ = align(basis, still.expand_as(frames), frames, start)
    assert (shown - frames).square().mean() < 0.3 * (
        warp(still.expand_as(frames), basis(without)) - frames
    ).square().mean()


def test_common_components_lie_where_pairs_differ_once_heads_are_in_one_place():
    basis = basis_with_amounts()
    generator = torch.Generator().manual_seed(5)
    n = 48
    m = 0.5 * random_change(basis, n, 7)
    m[:, -basis.residual_channels :] = 0
    still = 0.2 * smooth_pictures(n, SIZE, 8)
    frames = still + torch.rand(n, 1, 1, 1, generator=generator) * warp(mouth().expand(n, -1, -1, -1), basis(m))
    common = SharedBasis(2, 3, SIZE, len(basis.deviation))
    common.fit(basis, still, frames, torch.zeros_like(m), m)
    assert torch.cosine_similarity(common.components[0].flatten(), mouth().flatten(), dim=0).abs() > 0.9
    assert common.salience[44:48, 28:36].min() > 0.9 and common.salience[:24].max() < 0.1
    placed = common.at(basis, m[:1]).components[0, 0]
    assert torch.cosine_similarity(placed.flatten(), warp(mouth()[None], basis(m[:1]))[0].flatten(), dim=0).abs() > 0.85


def test_the_fields_of_amounts_move_nothing_and_networks_do_not_see_them():
    basis = basis_with_amounts()
    change = torch.zeros(1, len(basis.deviation))
    change[:, -basis.residual_channels :] = 5 * RESIDUAL_SCALE
    assert basis(change).abs().max() == 0 and basis.embedded(change).abs().max() == 0


def test_components_are_coded_finer_than_the_still():
    quantiser = ReferenceQuantiser(TINY.content)
    c = TINY.content
    tokens = torch.full((1, c.tokens, c.channels), 1.0)
    values = quantiser.quantise(tokens, 2)
    assert c.channels == c.dim + c.residual_components * c.residual_dim and values.shape == tokens.shape
    assert values[0, 0, -1] == int(FINENESS / c.step_size(2) + 0.35) > values[0, 0, 0]
    assert (quantiser.dequantise(values, 2) - 1).abs().max() < c.step_size(2)


def test_tokens_hold_the_appearance():
    """Tokens of an unquantised clip give its components back, as far as their coefficients reach."""
    torch.manual_seed(0)
    config = replace(TINY, content=replace(TINY.content, residual_dim=TINY.content.transform_dim))
    model = HeadsModel(config).eval()
    basis = smooth_basis(16)
    model.flow_basis.fit((basis.fields * basis.deviation[:, None, None, None])[:40])
    frames = torch.from_numpy(head_frames(3, 12, 32)).movedim(-1, 1).float() / 127.5 - 1
    model.transform.fit(frames)
    model.shared_basis.salience.fill_(1.0)
    with torch.no_grad():
        m = model.motion(frames[None])[0]
        tokens, m_own = model.content(lambda numbers: frames[numbers], m)
        looks = model.residual_basis(tokens, model.vq.quantise(m_own[None])[0])
    assert looks.components.shape == (1, 2, 3, 32, 32) and looks.components.abs().max() > 0.01
    assert model.residual_basis(tokens[..., : config.content.dim], m[:1]) is None


def test_a_file_of_the_tiny_model_holds_components_and_a_photo_hardly_any(tiny_model):
    codec = bcdcodec.load(tiny_model)
    frames = head_frames(4, 30, codec.picture_size)
    dim = codec.config.content.dim
    clip, photo = (codec.encode(x).contents[0].values for x in (frames, frames[:1]))
    assert clip.shape == photo.shape == (16, codec.config.content.channels)
    assert np.count_nonzero(photo[:, dim:]) <= np.count_nonzero(clip[:, dim:])


def test_heads_has_a_channel_of_motion_for_every_component():
    c = HEADS.content
    assert HeadsModel(TINY).flow_basis.residual_channels == TINY.content.residual_components == 2
    assert 0 < c.residual_components < HEADS.motion_channels and c.residual_dim <= c.transform_dim

"""Flow fields: what they are fitted to, what alignment finds in them, and that motion says it exactly."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bcdcodec.models.flow_basis import FlowBasis, smooth_basis
from bcdcodec.models.group_vq import GroupVQ
from bcdcodec.models.heads.alignment import align
from bcdcodec.models.heads.model import HeadsModel
from bcdcodec.models.warp import warp
from bcdcodec.presets import HEADS, TINY
from bcdcodec.training.data.batches import mirrored_flow


def smooth_pictures(n, size, seed=0):
    """Pictures [n, 3, size, size] in [-1, 1] without fine detail."""
    coarse = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return F.interpolate(coarse, size=(size, size), mode="bicubic").clamp(-1, 1)


def random_change(basis, n, seed=1):
    return 0.4 * basis.deviation * torch.randn(n, len(basis.deviation), generator=torch.Generator().manual_seed(seed))


def test_smooth_fields_are_orthonormal_and_slow_ones_are_larger():
    basis = smooth_basis(32)
    gram = basis.fields.flatten(1) @ basis.fields.flatten(1).T
    assert torch.allclose(gram, torch.eye(len(gram)), atol=1e-4)
    assert basis.deviation[0] == basis.deviation.max() and basis.deviation[-1] < 0.2 * basis.deviation[0]


@pytest.mark.parametrize("size", [32, 128])
def test_alignment_finds_the_flow_between_two_pictures(size):
    basis = smooth_basis(size // 4)
    pictures, change = smooth_pictures(6, size), random_change(basis, 6)
    seen = warp(pictures, basis(change))
    found, _ = align(basis, pictures, seen, torch.zeros_like(change))
    before, after = ((warp(pictures, basis(x)) - seen).square().mean() for x in (torch.zeros_like(change), found))
    assert after < 0.15 * before
    # Another light is little motion.
    dimmed, _ = align(basis, pictures, 0.9 * seen - 0.05, torch.zeros_like(change))
    assert (warp(pictures, basis(dimmed)) - seen).square().mean() < 0.6 * before


def test_equal_pictures_are_aligned_as_they_are():
    basis = smooth_basis(16)
    pictures = smooth_pictures(3, 64)
    assert align(basis, pictures, pictures, torch.zeros(3, len(basis.deviation)))[0].abs().max() < 1e-5


def test_fields_are_the_principal_components_of_flows():
    truth = smooth_basis(16)
    scale = torch.tensor([1.0, 0.5, 0.2])
    amounts = scale * torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    flows = torch.tensordot(amounts, truth.fields[:3], dims=1)
    basis = FlowBasis(3, 16)
    basis.fit(flows)
    assert torch.allclose(basis.deviation, scale, rtol=0.1)
    assert torch.allclose(basis(torch.tensordot(flows.flatten(1), basis.fields.flatten(1).T, dims=1)), flows, atol=1e-4)


def test_a_flow_is_projected_from_where_it_is_known():
    basis = smooth_basis(16)
    basis.deviation.fill_(1.0)
    change = random_change(basis, 4)
    flow, known = basis(change), torch.ones(4, 16, 16)
    known[:, :4] = 0
    broken = torch.where(known[:, None] > 0, flow, torch.full_like(flow, 9.0))
    assert torch.allclose(basis(basis.project(broken, known))[:, :, 5:], flow[:, :, 5:], atol=0.02)


def test_mirrored_flows_belong_to_mirrored_pictures():
    basis = smooth_basis(16)
    flow, pictures = basis(random_change(basis, 2)), smooth_pictures(2, 64)
    assert torch.allclose(warp(pictures, flow).flip(-1), warp(pictures.flip(-1), mirrored_flow(flow)), atol=1e-4)


def test_the_decoder_moves_the_still_by_the_difference_of_motions():
    torch.manual_seed(0)
    model = HeadsModel(TINY).eval()
    torch.nn.init.zeros_(model.decoder.to_flow.weight)
    basis = model.flow_basis
    basis.fit(smooth_basis(16).fields[:40] * smooth_basis(16).deviation[:40, None, None, None])
    content = torch.randn(1, 16, TINY.content.dim)
    m, reference = torch.randn(1, 3, 8), torch.randn(1, 8)
    with torch.no_grad():
        shown, sigma = model.reference(content, reference), torch.full((1,), 20.0)
        out = model.denoise(torch.randn(1, 3, 3, 32, 32), sigma, shown, m)
        still = model.denoise(torch.randn(1, 1, 3, 32, 32), sigma, shown, reference[:, None])
    assert torch.allclose(out.flow, basis(m - reference[:, None]), atol=1e-5) and out.flow.abs().max() > 0.01
    assert torch.allclose(still.warped[:, 0], shown.image, atol=1e-5)


def test_codes_fitted_to_a_rate_keep_it_and_spend_it_where_motion_is_large():
    vq = GroupVQ(replace(HEADS.quantiser, groups=6, codes=16)).eval()
    scale = torch.tensor([2.0, 1.0, 0.5, 0.2, 0.1, 0.02])
    m = scale * torch.randn(4000, 6, generator=torch.Generator().manual_seed(0))
    bits, errors = [], []
    for target in (24.0, 10.0):
        told = vq.fit(m, target, torch.Generator().manual_seed(0))
        codes = vq.encode(m[None])[0]
        bits.append(-vq.log2_p[torch.arange(6), codes].sum(1).mean().item())
        errors.append((vq.lookup(codes[None])[0] - m).square().mean(0))
        assert bits[-1] == pytest.approx(told, abs=0.1) and bits[-1] <= target + 0.1
    assert bits[1] > 8.0, "the rate is used"
    entropy = [
        -(p * p.log2()).sum().item()
        for p in (codes[:, g].bincount(minlength=16).float().clamp_min(1e-9) / 4000 for g in range(6))
    ]
    assert entropy == sorted(entropy, reverse=True) and entropy[0] > 2.5 and entropy[-1] < 0.1
    assert errors[0].sum() < errors[1].sum()


def test_codes_chosen_together_cost_less_than_codes_chosen_each_for_itself():
    vq = GroupVQ(replace(HEADS.quantiser, groups=6, codes=8)).eval()
    generator = torch.Generator().manual_seed(0)
    m = torch.randn(1, 50, 6, generator=generator)
    vq.fit(m[0], 12.0, generator)
    mixed = torch.randn(50, 6, 3, generator=generator)
    hessian = (mixed @ mixed.transpose(1, 2) / 3 + 0.1 * torch.eye(6))[None]
    lambda_ = vq.rate_lambda.item()

    def cost(codes):
        error = (vq.lookup(codes) - m)[0]
        bits = -vq.log2_p[torch.arange(6), codes[0]].sum()
        return (torch.einsum("ti,tij,tj->", error, hessian[0], error) + lambda_ / vq.config.alpha * bits).item()

    together = vq.encode(m.transpose(0, 1), lambda_, hessian.transpose(0, 1)).transpose(0, 1)
    assert cost(together) < 0.95 * cost(vq.encode(m, lambda_))
    apart = m.transpose(0, 1)  # clips of a frame each
    assert torch.equal(vq.encode(apart, lambda_, torch.eye(6).expand(50, 1, 6, 6)), vq.encode(apart, lambda_))


def test_codes_change_less_where_motion_rests():
    """Motion that only trembles by less than codes lie apart is decoded with less of a tremble than frame by frame."""
    vq = GroupVQ(replace(HEADS.quantiser, groups=6, codes=8)).eval()
    generator = torch.Generator().manual_seed(0)
    vq.fit(torch.randn(200, 6, generator=generator), 12.0, generator)
    tremble, error = np.zeros(2), np.zeros(2)
    for _ in range(12):
        resting = torch.randn(1, 1, 6, generator=generator) + 0.05 * torch.randn(1, 60, 6, generator=generator)
        mixed = torch.randn(6, 6, generator=generator)
        hessian = (mixed @ mixed.T / 6 + 0.1 * torch.eye(6)).expand(1, 60, 6, 6)
        alone = vq.encode(resting.transpose(0, 1), 0.0, hessian.transpose(0, 1)).transpose(0, 1)
        for i, codes in enumerate((vq.encode(resting, 0.0, hessian), alone)):
            off, moved = (vq.lookup(codes) - resting)[0], vq.lookup(codes)[0].diff(dim=0)
            error[i] += torch.einsum("ti,tij,tj->", off, hessian[0], off).item()
            tremble[i] += torch.einsum("ti,tij,tj->", moved, hessian[0, 1:], moved).item()
    assert tremble[0] < 0.6 * tremble[1] and error[0] < 1.5 * error[1], (tremble, error)

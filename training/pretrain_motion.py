"""Before the first step of a run: the flow basis is fitted, the encoder learns its coefficients, codes are fitted."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bcdcodec.models.flow_basis import RESIDUAL_SCALE, FlowBasis, smooth_basis
from bcdcodec.models.heads.alignment import align
from bcdcodec.models.heads.model import HeadsModel
from bcdcodec.training.data.batches import BatchSampler, mirrored_flow, random_colour
from bcdcodec.training.precision import mixed_precision

STEM_LR, REST_LR = 2e-3, 6e-4  # the transformer learns nothing at the convolutions' rate
WARMUP_STEPS = 50
LOG_EVERY = 50
COLOUR = 0.2  # strength of the random colours
AT_ONCE = 32  # pictures
BASIS_PAIRS = 1600

Note = Callable[[dict], None]


def fit_flow_basis(basis: FlowBasis, sampler: BatchSampler, count: int, seed: int, note: Note) -> None:
    """Fit the flow basis to `count` pairs of frames, mirrored too: to the flows that alignment finds in smooth fields.

    Alignment in the fitted fields and a second fit would shrink them: the prior would act twice.
    """
    contents, driven = sampler.frame_pairs(np.random.default_rng((seed, 1)), count)
    finder = smooth_basis(basis.fields.shape[-1]).to(basis.fields.device)
    flows = finder(align_all(finder, contents, driven).to(basis.fields.device))  # [n, 2, g, g]
    basis.fit(torch.cat([flows, mirrored_flow(flows)]))
    note(
        {
            "flow_deviation": round(flows.square().sum(1).mean().sqrt().item(), 4),
            "of_it_in_fields": round(
                (basis.flow_channels(basis.deviation).square().sum() / flows.square().sum((1, 2, 3)).mean())
                .sqrt()
                .item(),
                4,
            ),
        }
    )


def align_all(basis: FlowBasis, contents: Tensor, driven: Tensor) -> Tensor:
    """Change [n, m] from pictures [n, c, h, w] of the content to driven ones, searched from zero; on the CPU."""
    start = torch.zeros_like(basis.deviation)
    parts = zip(*(pictures.split(AT_ONCE) for pictures in (contents, driven)))
    return torch.cat(
        [align(basis, a.to(start.device), b.to(start.device), start.expand(len(a), -1))[0].cpu() for a, b in parts]
    )


class MotionPairs:
    """Pairs of pictures and the change of motion between them: by alignment, or of procedural heads by true flow."""

    def __init__(self, model: HeadsModel, sampler: BatchSampler, count: int, seed: int):
        self._model, self._sampler, self._seed = model, sampler, seed
        basis = model.flow_basis
        self.contents, self.driven = sampler.frame_pairs(np.random.default_rng((seed, 2)), count)
        self.change = align_all(basis, self.contents, self.driven)  # [n, m]
        self._mirror = (
            mirrored_flow(basis.fields).flatten(1) @ basis.fields.flatten(1).T
        ).cpu()  # [m, m] of mirrored pictures' motion

    def draw(self, step: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Content pictures and driven ones [count, 1, c, h, w] in random colours, change [count, m]."""
        rng = np.random.default_rng((self._seed, 3, step))
        some = rng.integers(0, len(self.contents), count // 2)
        contents, driven, change = self.contents[some], self.driven[some], self.change[some]
        flip = torch.from_numpy(rng.random(len(some)) < 0.5)
        turn = lambda x: torch.where(flip[:, None, None, None], x.flip(-1), x)  # noqa: E731
        contents, driven = turn(contents), turn(driven)
        change = torch.where(flip[:, None], change @ self._mirror, change)
        if self._sampler.pairs is not None:
            more = self._sampler.true_flow_pairs(rng, count - len(some))
            contents, driven = torch.cat([contents, more[0]]), torch.cat([driven, more[1]])
            basis, flow = self._model.flow_basis, more[2].to(self._model.flow_basis.fields.device)
            change = torch.cat([change, basis.project(flow[:, :2], flow[:, 2]).cpu()])
        for_content, for_driven = (random_colour(rng, len(contents), COLOUR) for _ in range(2))
        colour = lambda x, c: (x[:, None] * c[0] + c[1]).clamp(-1, 1)  # noqa: E731
        return colour(contents, for_content), colour(driven, for_driven), change


def pretrain_motion(
    model: HeadsModel,
    pairs: MotionPairs,
    encode: Callable[[Tensor], Tensor],
    steps: int,
    batch: int,
    weight_decay: float,
    device: str,
    note: Note,
) -> None:
    """Train the encoder alone: the difference of its motion of two pictures is to be the change between them.

    `encode`: pictures as the model sees them. What two people in one motion differ by is so no motion.
    """
    stem = list(model.encoder.stem.parameters())
    rest = [p for name, p in model.encoder.named_parameters() if not name.startswith("stem.")]
    optimiser = torch.optim.AdamW(
        [{"params": stem, "peak": STEM_LR}, {"params": rest, "peak": REST_LR}], weight_decay=weight_decay
    )
    deviation = model.flow_basis.deviation
    weight = 1 / (deviation * deviation.sum())  # of squared errors: a channel counts by its deviation
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = (
                group["peak"] * min(1.0, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / steps))
            )
        contents, driven, change = pairs.draw(step, batch)
        with mixed_precision(device):
            m = model.motion(encode(torch.cat([contents, driven])))[:, 0]  # [2 n, m]
        found = m[len(contents) :] - m[: len(contents)]
        error = (weight * (found - change.to(device)).square()).sum(1).mean()
        optimiser.zero_grad(set_to_none=True)
        error.backward()
        torch.nn.utils.clip_grad_norm_([*stem, *rest], 1.0)
        optimiser.step()
        if (step + 1) % LOG_EVERY == 0:
            note(
                {
                    "motion_step": step + 1,
                    "motion_error": round(error.item(), 3),
                    "no_motion_error": round((weight * change.to(device).square()).sum(1).mean().item(), 3),
                }
            )


@torch.no_grad()
def fit_shared_basis(model: HeadsModel, sampler: BatchSampler, encode: Callable[[Tensor], Tensor], seed: int) -> None:
    """Fit the shared residual basis, with heads where the encoder now finds them; to footage, where there is any."""
    model.eval()
    contents, driven = sampler.frame_pairs(np.random.default_rng((seed, 4)), BASIS_PAIRS, only_footage=True)
    change = align_all(model.flow_basis, contents, driven)
    m = torch.cat([model.motion(encode(x[:, None]))[:, 0] for x in contents.split(AT_ONCE)])
    model.shared_basis.fit(model.flow_basis, contents, driven, change, m)


@torch.no_grad()
def fit_codes(model: HeadsModel, pairs: MotionPairs, encode: Callable[[Tensor], Tensor], seed: int, note: Note) -> None:
    """Fit the codes to motion as files hold it: that of a reference, and changes from it."""
    model.eval()
    m = torch.cat([model.motion(encode(x[:, None]))[:, 0] for x in pairs.contents.split(AT_ONCE)])
    rows, generator = torch.cat([m, m + pairs.change.to(m.device)]), torch.Generator().manual_seed(seed)
    k = model.flow_basis.residual_channels
    # The residual's coefficients have unit deviation in every clip.
    rows[:, -k:] = RESIDUAL_SCALE * torch.randn(len(rows), k, generator=generator).to(rows.device)
    bits = model.vq.fit(rows, model.config.quantiser.target_bits, generator)
    error = (model.vq.quantise(rows[None])[0] - rows).square().sum(1)
    note(
        {
            "code_bits": round(bits, 1),
            "code_error": round(error.mean().sqrt().item(), 4),
            "code_error_median": round(error.sqrt().median().item(), 4),
            "change": round(pairs.change.square().sum(1).mean().sqrt().item(), 4),
        }
    )

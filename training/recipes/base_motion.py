"""Train the encoder of the base motion: it reads from a frame what the teacher says of it, through group VQ.

    python -m bcdcodec.training.recipes.base_motion --run DIR ...

Data: frames of clips (prepared by `recipes.geometry --prepare`) and re-animated portraits.
Schedule: continuous features first; then the codebooks are seeded from them and the nearest code is used, with
straight-through gradients; then the rate term (equations 3 to 8) lowers the entropy of the codes to a target.
Losses: the teacher's 54 numbers of expression and turn in their deviations, more for jaw, lids, gaze and turn; the
similarity of the face-aligned frame; commitment; rate.

`--keep-codes` trains the reader alone, on unquantised features: codebooks and linear heads stay as they are. There the
crop is also disturbed: light, blur, noise, proportions, and things in front of the face.

In a run `--from` a model codes and rate count from the first step on, codebooks are not seeded, and batch norm keeps
its statistics.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.models.faces.alignment_frame import crop
from bcdcodec.models.faces.base_motion import BaseMotion, corrected, correction_between
from bcdcodec.models.faces.config import BaseMotionConfig
from bcdcodec.training.data.aligned_pairs import PortraitFolders, load_clips, motion_statistics
from bcdcodec.training.data.landmarker import BLENDSHAPES
from bcdcodec.training.data.single_frames import FrameSource
from bcdcodec.training.recipes import run as runs
from bcdcodec.training.recipes.model_parts import beginning


@dataclass(frozen=True, kw_only=True)
class Schedule(runs.RunSchedule):
    """How long and how fast."""

    batch: int = 48  # frames
    portraits: float = 0.4
    warmup: int = 50
    decay: float = 0.995
    quantise_from: int = 250  # step from which the nearest code is used
    rate_from: int = 400  # step from which the rate term counts
    target_bits: float = 60.0  # bits a frame of the 16 groups, entropy of the batch histogram
    rate_weight: float = 0.002
    temperature: float = 0.3  # of the histogram
    keep_codes: bool = False  # codebooks and linear heads stay


def importance() -> Tensor:
    """How much each of the 54 numbers counts."""
    weight = torch.ones(54)
    for i, name in enumerate(BLENDSHAPES):
        if name == "jawOpen" or name.startswith("eyeBlink"):
            weight[i] = 4
        elif name.startswith("eyeLook"):
            weight[i] = 2.5
        elif name.startswith(("mouth", "brow")):
            weight[i] = 1.5
        elif name == "_neutral":
            weight[i] = 0
    weight[52:] = 4
    return weight / weight.sum()


def relative(similarity: Tensor, window: Tensor) -> Tensor:
    """A similarity in the picture as one in the window that another similarity shows: [b, 4], [b, 4] -> [b, 4]."""
    correction = correction_between(window, similarity)
    return torch.cat([correction[:, :2] + 0.5, correction[:, 2:]], 1)


def losses(model: BaseMotion, raw: dict, schedule: Schedule, step: int) -> dict[str, Tensor]:
    """Losses by name, of a batch of `FrameSource.raw`."""
    torch.manual_seed(step)  # of dropout and disturbances: a run that is taken up goes on exactly
    tensors = {key: torch.from_numpy(value) for key, value in raw.items()}
    motion = tensors["motion"]
    expression, similarity = motion[:, :54], motion[:, 54:]
    gain, bias = tensors["gain"][:, :, None, None], tensors["bias"][:, :, None, None]
    pictures = tensors["pictures"].permute(0, 3, 1, 2).float() / 127.5 - 1
    near = corrected(similarity, tensors["jitter"])
    small = crop(F.avg_pool2d(pictures, 2), tensors["window"], model.config.picture)
    small, face = ((x * gain + bias).clamp(-1, 1) for x in (small, model.view(pictures, near)))
    if schedule.keep_codes:
        face = torch.where(torch.rand(len(face), 1, 1, 1) < 0.5, disturbed(face), face)
        model.quantiser.norm.eval()  # what the codes are compared with stays, too
    with torch.autocast("cpu", torch.bfloat16):
        located = model.locator(small)
        features, correction = model.reader(face)
    out = {}
    place = (located - relative(similarity, tensors["window"])) / model.locator.scale
    out["locate"] = F.smooth_l1_loss(place, torch.zeros_like(place), beta=0.1)
    correction = (correction - correction_between(near, similarity)) / 0.02
    out["place"] = F.smooth_l1_loss(correction, torch.zeros_like(correction), beta=0.5)
    right, weight = (expression - model.expression_mean) / model.expression_scale, importance()
    smooth = model.continuous(features)
    if schedule.keep_codes:
        head = model.to_expression
        out["expression"] = _expression(F.linear(smooth, head.weight.detach(), head.bias.detach()), right, weight)
        code = model.quantiser.lookup(model.nearest(features)[:, None])[:, 0].detach()
        out["commitment"] = (smooth - code).square().mean()
        return out
    if step < schedule.quantise_from:
        out["expression"] = _expression(model.to_expression(smooth), right, weight)
        return out
    m_hat, rate = model.quantised(features, schedule.temperature)
    out["expression"] = _expression(model.to_expression(m_hat), right, weight)
    code = m_hat.detach()
    out["commitment"] = (smooth - code).square().mean()
    codes = model.quantiser.lookup(model.quantiser.encode(features[:, None]))[:, 0]
    out["codebook"] = (codes - smooth.detach()).square().mean()
    out["bits"] = rate.H_model
    if step >= schedule.rate_from:
        out["rate"] = F.relu(rate.H_model - schedule.target_bits).square()
    return out


def disturbed(face: Tensor) -> Tensor:
    """Crops [b, 3, s, s], -1 to 1, as other cameras, lights and people would show the same motion."""
    b, _, s, _ = face.shape

    def some(share: float) -> Tensor:
        return torch.rand(b, 1, 1, 1) < share

    stretch = (0.06 * torch.randn(b, 1)).exp()
    affine = torch.diag_embed(torch.cat([stretch, 1 / stretch], 1)) @ torch.eye(2, 3)
    grid = F.affine_grid(affine, list(face.shape), align_corners=False)
    stretched = F.grid_sample(face, grid, padding_mode="border", align_corners=False)
    face = torch.where(some(0.6), stretched, face)
    side = int(torch.randint(s // 3, s, ()))
    soft = F.interpolate(F.interpolate(face, (side, side), mode="area"), (s, s), mode="bilinear")
    face = torch.where(some(0.3), soft, face)
    face = ((face + 1) / 2).clamp(1e-3, 1) ** (0.25 * torch.randn(b, 1, 1, 1)).exp() * 2 - 1
    face = torch.where(some(0.15), face.mean(1, keepdim=True).expand_as(face), face)
    across = torch.linspace(-1, 1, s)
    slope = 0.15 * torch.randn(2, b, 1, 1, 1)  # of the light
    face = face + slope[0] * across + slope[1] * across[:, None]
    face = face + 0.04 * torch.rand(b, 1, 1, 1) * torch.randn_like(face)
    centre, half = 2 * torch.rand(2, b, 1, 1, 1) - 1, 0.05 + 0.25 * torch.rand(2, b, 1, 1, 1)
    hidden = ((across - centre[0]).abs() < half[0]) & ((across[:, None] - centre[1]).abs() < half[1])
    return torch.where(hidden & some(0.1), 0.5 * torch.randn(b, 3, 1, 1), face).clamp(-1, 1)


def _expression(said: Tensor, right: Tensor, weight: Tensor) -> Tensor:
    return (weight * F.smooth_l1_loss(said, right, reduction="none", beta=1.0)).sum(1).mean()


def train(options: argparse.Namespace, schedule: Schedule, config: BaseMotionConfig) -> None:
    """Train as `run.train` does."""
    torch.manual_seed(schedule.seed)
    begun = beginning(options, "base_motion", BaseMotion, config)
    model, config = begun.network, begun.network.config
    if begun.origin:  # its codes have a meaning from the first step on
        schedule = replace(schedule, quantise_from=0, rate_from=0)
        keep_statistics(model)
    clips = load_clips(options.clips / "train")
    portraits = PortraitFolders(options.portraits, options.landmarker).read() if options.portraits else []
    source = FrameSource(clips, portraits, schedule.seed)

    def begin() -> None:
        mean, deviation = motion_statistics(clips.values())
        model.expression_mean.copy_(mean[:54])
        model.expression_scale.copy_(deviation[:54])

    def of_batch(raw: dict, step: int) -> dict[str, Tensor]:
        if step == schedule.quantise_from and not (begun.origin or schedule.keep_codes):
            seed_codebooks(model, source, schedule)
        return losses(model, raw, schedule, step)

    weights = {
        "locate": 0.5, "place": 0.3, "expression": 5.0, "commitment": 0.1, "codebook": 1.0, "rate": schedule.rate_weight
    }  # fmt: skip
    recipe = runs.Recipe(
        "base_motion", config, model, model.reader.layers, weights, begin,
        lambda number: source.raw(number, schedule.batch, schedule.portraits), of_batch,
        f"{len(clips)} clips, {len(source.portraits)} portraits", begun.origin,
    )  # fmt: skip
    runs.train(recipe, options, schedule)


def keep_statistics(model: BaseMotion) -> None:
    """Let batch norm use the statistics that the model has, also in training.

    Those of a few clips would replace them within some steps, and other people would be read much worse.
    """
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.eval()


@torch.no_grad()
def seed_codebooks(model: BaseMotion, source: FrameSource, schedule: Schedule) -> None:
    """Draw the codes from features of some batches."""
    model.eval()
    features = []
    for number in range(8):
        raw = source.raw(10**6 + number, schedule.batch, schedule.portraits)
        pictures = torch.from_numpy(raw["pictures"]).permute(0, 3, 1, 2).float() / 127.5 - 1
        features.append(model.reader(model.view(pictures, torch.from_numpy(raw["motion"])[:, 54:]))[0])
    model.quantiser.seed_codebooks(torch.cat(features)[:, None], torch.Generator().manual_seed(schedule.seed))
    model.train()


def main(arguments: list[str] | None = None) -> None:
    """Train."""
    parse = runs.parser("Train the encoder of the base motion from the teacher's labels.")
    parse.add_argument(
        "--quantise-from", type=int, default=Schedule.quantise_from,
        help="step from which codes are used; in a run --from a model: the first",
    )  # fmt: skip
    parse.add_argument(
        "--rate-from", type=int, default=Schedule.rate_from,
        help="step from which the rate counts; in a run --from a model: the first",
    )  # fmt: skip
    parse.add_argument("--keep-codes", action="store_true", help="train the reader alone, on disturbed crops")
    options = parse.parse_args(arguments)
    schedule = Schedule(quantise_from=options.quantise_from, rate_from=options.rate_from, keep_codes=options.keep_codes)
    train(options, schedule, BaseMotionConfig())


if __name__ == "__main__":
    runs.command(main)

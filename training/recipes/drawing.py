"""Train the drawing network over a trained geometry network.

    python -m bcdcodec.training.recipes.drawing --geometry RUN_OR_MODEL --run DIR ...

Data: as for the geometry network. References are coded by AV1 as files code them, so that drawing also brings back what
that loses. Three quarters of a batch see noise alone, as the first step does: noise of any level with the true
difference in it would show that difference, as its coarse part has hardly any noise. Half of the others see what that
step draws with a little noise over it, as later steps do; the rest the true difference in noise of lower levels, as EDM
has it (Karras et al. 2022).
Losses: for the last the denoising loss; for what steps draw a smooth absolute error, that of neighbouring pixels'
differences, features of a face recognition network (SFace), and, from step `critic_from`, a discriminator that looks at
eyes and mouth. The errors count more there, too. No model has the discriminator: in a run `--from` a model, whose
network has learned against one already, a new one learns and counts from the first step on.
"""

from __future__ import annotations

import argparse
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.models.faces.alignment_frame import positions
from bcdcodec.models.faces.config import DrawingConfig, GeometryConfig, check_same_frame
from bcdcodec.models.faces.drawing import DrawingInput, DrawingNetwork, draw
from bcdcodec.models.faces.geometry import Geometry, GeometryNetwork, compose, warp
from bcdcodec.training.data.aligned_pairs import Pairs, PairSource, PortraitFolders, aligned, load_clips
from bcdcodec.training.discriminator import Discriminator, balanced
from bcdcodec.training.recipes import run as runs
from bcdcodec.training.recipes.geometry import charbonnier, predict, set_motion_statistics
from bcdcodec.training.recipes.model_parts import beginning, run_or_model


@dataclass(frozen=True, kw_only=True)
class Schedule(runs.RunSchedule):
    """How long and how fast."""

    batch: int = 16  # pairs
    portraits: float = 0.5
    warmup: int = 100
    decay: float = 0.998
    reread: int = 50  # steps after which new portraits are looked for
    coded: float = 0.7  # share of references that are coded
    quality: tuple[int, int] = (18, 40)  # of AVIF
    p_mean: float = -2.0  # log of the noise level, in units of pictures from -1 to 1
    p_std: float = 1.1
    critic_from: int = 2000  # step from which the discriminator learns, and counts
    critic_weight: float = 0.4  # of its gradient at the last layer, over that of the picture's error


def coded(picture: np.ndarray, quality: int) -> np.ndarray:
    """A picture uint8 [h, w, 3] as AV1 shows it."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "AVIF", quality=quality, speed=10, max_threads=1)
    return np.asarray(Image.open(file).convert("RGB"))


def code_references(raw: dict, number: int, schedule: Schedule) -> dict:
    """A batch of `PairSource.raw`, some of whose references are coded."""
    rng = np.random.default_rng([schedule.seed, number, 1])
    for pair in raw["pictures"]:
        if rng.random() < schedule.coded:
            pair[0] = coded(pair[0], int(rng.integers(*schedule.quality)))
    return raw


FIRST, AGAIN, NOISED = 0, 1, 2  # what an example sees: noise alone; what the first step draws; the true difference


def noise_levels(count: int, config: DrawingConfig, schedule: Schedule, step: int) -> tuple[Tensor, Tensor]:
    """Noise levels [count], and what each example sees [count]."""
    random = torch.Generator().manual_seed(1_000_003 * schedule.seed + step)
    sigma = (torch.randn(count, generator=random) * schedule.p_std + schedule.p_mean).exp()
    again = config.sigma_again * (config.sigma_min / config.sigma_again) ** torch.rand(count, generator=random)
    number = torch.arange(count) + step
    sees = torch.where(number % 4 != 0, FIRST, torch.where(number % 8 == 0, AGAIN, NOISED))
    noised = sigma.clamp(config.sigma_min, config.sigma_max / 2)
    return torch.where(sees == FIRST, config.sigma_max, torch.where(sees == AGAIN, again, noised)), sees


CRITIC_OF = 2  # of as many one-step faces the discriminator sees one
FEATURES_OF = 3  # of as many one-step faces the features of one are compared: they take as long as the network


def with_noise(right: Tensor, sigma: Tensor, sees: Tensor, seed: int) -> Tensor:
    """True differences [b, 3, s, s] in noise of levels `sigma` [b] where they are to be seen; else noise alone."""
    noise = torch.randn(right.shape, generator=torch.Generator().manual_seed(seed))
    return sigma[:, None, None, None] * noise + right * (sees == NOISED)[:, None, None, None]


class FaceFeatures(nn.Module):
    """Features of SFace of faces in the face-aligned frame, at three scales. Not part of the model."""

    CENTRE, SIDE = (0.0, -0.2), 112  # of what the network sees in the frame, and pixels
    TAKEN = (8, 20, 32)  # layers after which features are compared

    def __init__(self, folder: Path):
        super().__init__()
        from bcdcodec.benchmarks.measure.identity import load_sface

        self.layers = load_sface(folder)[: self.TAKEN[-1] + 1].requires_grad_(False)
        self.register_buffer("grid", positions(self.SIDE) + torch.tensor(self.CENTRE))

    def forward(self, faces: Tensor) -> list[Tensor]:
        """Faces [b, 3, s, s], -1 to 1 -> features of unit length [b, d, h, w]."""
        x = F.grid_sample(faces, self.grid.expand(len(faces), -1, -1, -1), padding_mode="border", align_corners=False)
        x, found = x.contiguous(memory_format=torch.channels_last), []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i in self.TAKEN:
                found.append(F.normalize(x, dim=1))
        return found


def differences(x: Tensor) -> Tensor:
    """Differences of neighbouring pixels to the right and below: [b, c, h, w] -> [b, 2 c, h - 1, w - 1]."""
    corner = x[..., :-1, :-1]
    return torch.cat([x[..., :-1, 1:] - corner, x[..., 1:, :-1] - corner], 1)


def one_step_losses(face: Tensor, target: Tensor, weight: Tensor, features: FaceFeatures | None) -> dict[str, Tensor]:
    """Losses of faces [b, 3, s, s] that one step has drawn."""
    total = 3 * weight.sum()
    out = {"picture": (weight * charbonnier(face - target, 0.02)).sum() / total}
    difference = differences(face) - differences(target)
    out["edges"] = (weight[..., :-1, :-1] * charbonnier(difference, 0.01)).sum() / (2 * total)
    if features:
        with torch.no_grad():
            right = features(target[::FEATURES_OF])
        drawn = features(face[::FEATURES_OF])
        out["features"] = sum((a - b).square().sum(1).mean() for a, b in zip(drawn, right)) / len(right)
    return out


def critic_losses(
    critic: Discriminator, drawn: Tensor, target: Tensor, warped: Tensor, error: Tensor, weight: Tensor
) -> dict[str, Tensor]:
    """Losses of the network and of the discriminator, given drawn, true and warped faces [b, 3, s, s].

    The network's is scaled so that its gradient at the layer's weights `weight` is as long as that of `error`.
    """
    s = drawn.shape[-1]
    rows, columns = slice(s // 5, s - s // 10), slice(s // 8, s - s // 8)  # eyes and mouth
    drawn, target, warped = (x[::CRITIC_OF, :, rows, columns] for x in (drawn, target, warped))
    fooled = critic.loss_g(drawn, target, warped)
    return {"fooled": balanced(error, fooled, weight) * fooled, "critic": critic.loss_d(drawn, target, warped)}


def losses(
    network: DrawingNetwork,
    geometry: Geometry,
    pairs: Pairs,
    features: FaceFeatures | None,
    schedule: Schedule,
    step: int,
    critic: Discriminator | None = None,
) -> dict[str, Tensor]:
    """Losses by name, for the geometry that a trained network says of the pairs."""
    c, m = network.config, network.config.motion
    warped = compose(warp(pairs.reference, geometry.flow), geometry)
    weight = F.interpolate(pairs.weight, size=warped.shape[-2:], mode="bilinear", align_corners=False)
    right = pairs.target - warped
    sigma, sees = noise_levels(len(right), c, schedule, step)
    seed = 7 + 1_000_003 * schedule.seed + step
    noisy = with_noise(right, sigma, sees, seed)
    known = DrawingInput(warped, pairs.reference, geometry, pairs.motion_reference[:, :m], pairs.motion[:, :m])
    with torch.autocast("cpu", torch.bfloat16):
        again = (sees == AGAIN).nonzero()[:, 0]
        if len(again):
            noisy[again] += first_step(network, _rows(known, again), seed + 1)
        said = network(noisy, sigma, known)
    error = (weight * (said - right).square()).sum((1, 2, 3)) / (3 * weight.sum((1, 2, 3)))  # [b]
    error = (1 / c.sigma_data**2 + 1 / sigma.clamp_min(c.sigma_data / 2) ** 2) * error
    noised = error[sees == NOISED]  # a small batch may have none
    out = {"denoising": noised.sum() / max(len(noised), 1), "denoising_first": error[sees == FIRST].mean().detach()}
    drawn = sees != NOISED
    face = warped[drawn] + said[drawn]
    out |= one_step_losses(face, pairs.target[drawn], weight[drawn], features)
    if critic is not None and step >= schedule.critic_from:
        error = WEIGHTS["picture"] * out["picture"]
        out |= critic_losses(critic, face, pairs.target[drawn], warped[drawn], error, network.to_window.weight)
        out["fooled"] = schedule.critic_weight * out["fooled"]
    held = one_step_losses(warped[drawn], pairs.target[drawn], weight[drawn], None)
    return out | {f"{name}_warped": value.detach() for name, value in held.items()}


@torch.no_grad()
def first_step(network: DrawingNetwork, known: DrawingInput, seed: int) -> Tensor:
    """What one step draws of noise of its own: differences [b, 3, s, s]."""
    noise = torch.randn(known.warped.shape, generator=torch.Generator().manual_seed(seed))
    return draw(network, known, noise, 1) - known.warped


def _rows(known: DrawingInput, rows: Tensor) -> DrawingInput:
    """What is known of the faces of some rows, of which each has a reference of its own."""
    geometry = Geometry(*(x[rows] for x in known.geometry))
    tensors = (known.warped, known.reference, known.motion_reference, known.motion)
    warped, reference, motion_reference, motion = (x[rows] for x in tensors)
    return DrawingInput(warped, reference, geometry, motion_reference, motion)


WEIGHTS = {"denoising": 1.0, "picture": 10.0, "edges": 10.0, "features": 4.0, "fooled": 1.0, "critic": 1.0}


def train(options: argparse.Namespace, schedule: Schedule, config: DrawingConfig) -> None:
    """Train as `run.train` does; the geometry network stays as it is."""
    torch.manual_seed(schedule.seed)
    begun = beginning(options, "drawing", DrawingNetwork, config)
    network, config = begun.network, begun.network.config
    if begun.origin:
        schedule = replace(schedule, critic_from=0)
    geometry = run_or_model(options.geometry, "geometry", GeometryNetwork, GeometryConfig).requires_grad_(False)
    check_same_frame(config, geometry.config)
    cells = geometry.config.cells
    source = PairSource(load_clips(options.clips / "train"), [], config.frame, cells, schedule.seed)
    folder = PortraitFolders(options.portraits, options.landmarker) if options.portraits else None
    features, critic = FaceFeatures(options.sface) if options.sface else None, Discriminator(3)

    def batch(number: int) -> dict:
        if folder and (number % schedule.reread == 0 or not source.portraits):
            source.portraits = folder.read()
        return code_references(source.raw(number, schedule.batch, schedule.portraits), number, schedule)

    def of_batch(raw: dict, step: int) -> dict[str, Tensor]:
        pairs = aligned(raw, config.frame, cells)
        with torch.no_grad():
            said = predict(geometry, pairs)
        return losses(network, said, pairs, features, schedule, step, critic)

    recipe = runs.Recipe(
        "drawing", config, network, network.blocks, WEIGHTS, lambda: set_motion_statistics(network, source),
        batch, of_batch, f"{len(source.clips)} clips, {len(folder.read()) if folder else 0} portraits", begun.origin,
        critic,
    )  # fmt: skip
    runs.train(recipe, options, schedule)


def main(arguments: list[str] | None = None) -> None:
    """Train."""
    parse = runs.parser("Train the drawing network over a trained geometry network.")
    parse.add_argument("--geometry", required=True, help="run of recipes.geometry, or a model; it is not changed")
    parse.add_argument("--sface", type=Path, help="folder of SFace, for the loss of its features")
    parse.add_argument("--batch", type=int, default=Schedule.batch, help="pairs a step")
    options = parse.parse_args(arguments)
    train(options, Schedule(batch=options.batch), DrawingConfig())


if __name__ == "__main__":
    runs.command(main)

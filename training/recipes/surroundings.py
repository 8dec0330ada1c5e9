"""Train the network that moves what is around the face.

    python -m bcdcodec.training.recipes.surroundings --clips DIR --run DIR

Data: pairs of frames of one clip, as whole pictures, with the teacher's numbers as the motion; at random zoomed,
shifted and mirrored, and in other light. Numbers of expression and turn get noise, as the codes that stand for them
have.
Losses: the picture outside the face, warped and with its fill. The flow beside the head's movement costs a little, so
that it is there only where it brings something.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.models.faces.alignment_frame import crop, head_radii, positions, smooth_step, to_frame
from bcdcodec.models.faces.config import SurroundingsConfig
from bcdcodec.models.faces.geometry import compose, warp
from bcdcodec.models.faces.surroundings import SurroundingsNetwork
from bcdcodec.training.data.aligned_pairs import (
    Frames,
    by_person,
    load_clips,
    mirrored_motion,
    motion_statistics,
    random_light,
)
from bcdcodec.training.recipes import run as runs
from bcdcodec.training.recipes.geometry import charbonnier
from bcdcodec.training.recipes.model_parts import beginning


@dataclass(frozen=True, kw_only=True)
class Schedule(runs.RunSchedule):
    """How long and how fast."""

    batch: int = 16  # pairs
    portraits: float = 0.0  # their hair and background are warped along: not how people move
    warmup: int = 100
    decay: float = 0.998
    noise: float = 0.2  # of expression and turn, in their deviations
    zoom: float = 0.25  # a picture shows at least 1 minus this of the clip's side
    roll: float = 0.05  # radians, deviation
    inside: float = 0.05  # weight on the head, which is not shown


class ClipPairs:
    """Batches of pairs of frames; a batch is a function of the clips, the seed and its number."""

    def __init__(self, clips: dict[str, Frames], schedule: Schedule):
        self.people, self.schedule = by_person(clips), schedule

    def raw(self, number: int) -> dict[str, np.ndarray]:
        """Pictures uint8 [b, 2, 256, 256, 3], motion [b, 2, 58], and what `augmented` changes them by."""
        s = self.schedule
        rng, pictures, motions = np.random.default_rng([s.seed, number]), [], []
        for _ in range(s.batch):
            clips = self.people[rng.integers(len(self.people))]
            clip = clips[rng.integers(len(clips))]
            picked = rng.choice(np.flatnonzero(clip.found), 2)
            picture, motion = clip.pictures[picked], clip.motion[picked]
            if rng.random() < 0.5:
                picture, motion = picture[:, :, ::-1], mirrored_motion(motion)
            pictures.append(picture)
            motions.append(motion)
        b = s.batch
        side = 1 - s.zoom * rng.random(b)
        centre = 0.5 + (rng.random((b, 2)) - 0.5) * (1 - side)[:, None]
        similarity = np.concatenate([centre, np.log(side)[:, None], s.roll * rng.normal(size=(b, 1))], 1)
        gain, bias = random_light(rng, b)
        return {
            "pictures": np.stack(pictures), "motion": np.stack(motions), "view": similarity.astype(np.float32),
            "gain": gain, "bias": bias,
            "noise": (s.noise * rng.normal(size=(b, 2, 54))).astype(np.float32),
        }  # fmt: skip


def seen_from(view: Tensor, motion: Tensor) -> Tensor:
    """Motion [b, 2, 58] whose similarities are of the picture that similarity `view` [b, 4] shows of the whole one."""
    centre = to_frame(view, 2 * motion[..., 54:56] - 1)  # [b, 2, 2], -1 to 1
    rest = motion[..., 56:] - view[:, None, 2:]
    return torch.cat([motion[..., :54], (centre + 1) / 2, rest], -1)


def augmented(raw: dict, size: int) -> tuple[Tensor, Tensor]:
    """Pictures [b, 2, 3, size, size], -1 to 1, and motion [b, 2, 58], both as changed at random; without noise."""
    tensors = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in raw.items()}
    pictures = tensors["pictures"].permute(0, 1, 4, 2, 3).flatten(1, 2).float() / 127.5 - 1
    pictures = F.avg_pool2d(pictures, pictures.shape[-1] // size)
    pictures = crop(pictures, tensors["view"], size).unflatten(1, (2, 3))
    pictures = pictures * tensors["gain"][:, None, :, None, None] + tensors["bias"][:, None, :, None, None]
    return pictures.clamp(-1, 1), seen_from(tensors["view"], tensors["motion"])


def around_weight(similarity: Tensor, size: int, inside: float) -> Tensor:
    """1 around the head, `inside` on it: similarities [b, 4] -> [b, 1, size, size]."""
    radii = head_radii(to_frame(similarity, positions(size).expand(len(similarity), -1, -1, -1)))
    return (inside + (1 - inside) * smooth_step((radii - 0.8) / 0.3))[:, None]


def losses(network: SurroundingsNetwork, pictures: Tensor, motion: Tensor, noise: Tensor, inside: float) -> dict:
    """Losses by name, of pictures [b, 2, 3, s, s] and motion [b, 2, 58] with noise [b, 2, 54] in deviations."""
    told = torch.cat([motion[..., :54] + noise * network.motion_scale[:54], motion[..., 54:]], -1)
    reference, target = pictures.unbind(1)
    with torch.autocast("cpu", torch.bfloat16):
        said = network(reference, told[:, 0], told[:, 1])
    weight = around_weight(motion[:, 1, 54:], reference.shape[-1], inside)
    total = 3 * weight.sum()
    warped = warp(reference, said.flow)
    # Where the fill is shown the flow need not be right.
    shown = weight * (1 - F.interpolate(said.occlusion.detach().sigmoid(), size=weight.shape[-2:], mode="bilinear"))
    out = {"warped": (shown * charbonnier(warped - target, 0.02)).sum() / total}
    small, coarse = F.avg_pool2d(weight, 4), F.avg_pool2d(warped - target, 4)
    out["warped_coarse"] = (small * charbonnier(coarse, 0.02)).sum() / (3 * small.sum())
    out["composed"] = (weight * charbonnier(compose(warped.detach(), said) - target, 0.02)).sum() / total
    out["beside"] = said.beside.abs().mean()
    out["held"] = ((weight * charbonnier(reference - target, 0.02)).sum() / total).detach()
    return out


WEIGHTS = {"warped": 10.0, "warped_coarse": 10.0, "composed": 10.0, "beside": 1.0}


def train(options: argparse.Namespace, schedule: Schedule, config: SurroundingsConfig) -> None:
    """Train as `run.train` does."""
    torch.manual_seed(schedule.seed)
    begun = beginning(options, "surroundings", SurroundingsNetwork, config)
    network, config = begun.network, begun.network.config
    clips = load_clips(options.clips / "train")
    source = ClipPairs(clips, schedule)

    def begin() -> None:
        mean, deviation = motion_statistics(clips.values())
        network.motion_mean.copy_(mean)
        network.motion_scale.copy_(deviation)

    def of_batch(raw: dict, step: int) -> dict[str, Tensor]:
        pictures, motion = augmented(raw, config.picture)
        return losses(network, pictures, motion, torch.from_numpy(raw["noise"]), schedule.inside)

    recipe = runs.Recipe(
        "surroundings", config, network, network.blocks, WEIGHTS, begin, source.raw, of_batch, f"{len(clips)} clips",
        begun.origin,
    )  # fmt: skip
    runs.train(recipe, options, schedule)


def main(arguments: list[str] | None = None) -> None:
    """Train."""
    options = runs.parser("Train the network that moves what is around the face.").parse_args(arguments)
    train(options, Schedule(), SurroundingsConfig())


if __name__ == "__main__":
    runs.command(main)

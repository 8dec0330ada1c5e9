"""Measures of the paper's model while it trains: coded bits, PSNR of one and of many sampling steps, cross-driven."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bcdcodec.models.base import Reference
from bcdcodec.models.bcd.model import BCDModel
from bcdcodec.models.latents import Latents, to_uint8
from bcdcodec.training.data.batches import to_pictures
from bcdcodec.training.data.halves import ClipHalves, Halves, SheetHalves
from bcdcodec.training.data.sheets import ACTIONS, FRAMES
from bcdcodec.training.data.sprite_batches import MOTION_OF
from bcdcodec.training.evaluate_sprites import nearest_action
from bcdcodec.training.information import mutual_information
from bcdcodec.training.precision import mixed_precision

CLIPS = 6  # held-out clips of footage
PAIRS, CODED = 9, 4  # cross-driven pairs of sprites; characters whose codes are counted


@dataclass(frozen=True)
class Evaluation:
    """In hard codes and rounded content as a file holds them, EMA weights, held-out clips."""

    psnr_one_step: float  # dB, content from one half of a clip, motion from the other
    psnr: float  # dB, with the model's number of sampling steps
    psnr_still: float  # dB, the first picture of the content half held: what any codec must beat
    hard_bits: float  # bits a frame of the codes under code probabilities of recent training batches
    codes_used: float  # a group


@dataclass(frozen=True)
class SpritesEvaluation(Evaluation):
    """Test characters; every pair of a character and an action has its exact truth."""

    cross_one_step: float  # dB, content of another character in another action
    cross: float  # dB, with the model's number of sampling steps
    action_accuracy: float  # of these: the half clip of that character that it is nearest to is that of the action
    motion_information: float  # bits, of the codes about the true motion frame, 5.92 at most
    character_information: float  # bits, of the codes about the character


class Coder:
    """A model as a file would use it: content rounded, motion in hard codes."""

    def __init__(self, model: BCDModel, latents: Latents):
        self.model, self.latents = model.eval(), latents
        self.device = next(model.parameters()).device

    def z(self, pictures: Tensor) -> Tensor:
        """Latents of pictures [b, t, 3, h, w]."""
        return self.latents.encode(pictures.to(self.device).flatten(0, 1)).unflatten(0, pictures.shape[:2])

    def codes(self, driving: Tensor) -> Tensor:
        return self.model.vq.encode(self.model.motion(self.z(driving)))

    def decode(self, content: Tensor, driving: Tensor, steps: int) -> np.ndarray:
        """Pictures uint8 [b, t, h, w, 3]: the content of pictures [b, t, 3, h, w] in the motion of others."""
        tokens, quantiser = self.model.encode(self.z(content))[0], self.model.content_quantiser
        index = self.model.config.content.default_step
        tokens = quantiser.dequantise(quantiser.quantise(tokens, index), index)
        m_hat = self.model.vq.lookup(self.codes(driving))
        latent = self.model.config.latent
        shape = (1, driving.shape[1], latent.channels, latent.size, latent.size)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        with mixed_precision(str(self.device)):
            noise = noise.expand(len(driving), *shape[1:])
            decoded = self.model.synthesise(Reference(tokens, None), m_hat, noise, steps)
        pictures = to_uint8(self.latents.decode(decoded.latents.flatten(0, 1)))
        return pictures.reshape(*driving.shape[:2], *pictures.shape[1:])


@torch.no_grad()
def evaluate_clips(
    model: BCDModel, latents: Latents, data: ClipHalves, log2_p: Tensor
) -> tuple[Evaluation, np.ndarray]:
    """Measures and a picture uint8 [h, w, 3]: content's first frame, three true and three decoded, a row a clip."""
    coder, rows, measures = Coder(model, latents), [], []
    for halves, _ in zip(data.held_out(), range(CLIPS)):
        measure, decoded = _measure(coder, halves, log2_p)
        measures.append(measure)
        rows.append(_row(halves, decoded))
    if not measures:
        rows, measures = [np.zeros((8, 8, 3), np.uint8)], [(float("nan"),) * 5]
    return Evaluation(*np.mean(measures, axis=0).tolist()), np.concatenate(rows)


@torch.no_grad()
def evaluate_sheets(
    model: BCDModel, latents: Latents, data: SheetHalves, log2_p: Tensor
) -> tuple[SpritesEvaluation, np.ndarray]:
    """Measures and a picture uint8 [h, w, 3] of cross-driven pairs, a row each."""
    coder, sheets = Coder(model, latents), data.sheets
    rng = np.random.default_rng(0)
    a, b = rng.permuted(np.tile(data.test_characters, (PAIRS, 1)), axis=1)[:, :2].T
    action_a = np.arange(PAIRS) % len(ACTIONS)
    action_b = (action_a + rng.integers(1, len(ACTIONS), PAIRS)) % len(ACTIONS)

    def halves(who: np.ndarray, what: np.ndarray) -> Halves:
        clips = to_pictures(np.stack([sheets.clip(int(n), int(k)) for n, k in zip(who, what)]))
        return Halves(clips[:, : FRAMES // 2], clips[:, FRAMES // 2 :])

    measure, _ = _measure(coder, halves(a, action_a), log2_p)
    driving, truth = halves(a, action_a).driving, halves(b, action_a).driving
    content = halves(b, action_b).content
    one, many = (coder.decode(content, driving, steps) for steps in (1, model.config.diffusion.steps))
    actions = [nearest_action(sheets, int(n), clip) for n, clip in zip(b, many)]
    codes, motions, who = [], [], []
    for number in data.test_characters[:CODED]:
        whole = halves(np.full(len(ACTIONS), number), np.arange(len(ACTIONS)))
        codes.append(torch.cat([coder.codes(whole.content), coder.codes(whole.driving)], 1)[..., 0].cpu().numpy())
        motions.append(MOTION_OF)
        who.append(np.full(MOTION_OF.shape, len(who)))
    codes, motions, who = np.array(codes), np.array(motions), np.array(who)
    return SpritesEvaluation(
        *measure,
        psnr(truth, one),
        psnr(truth, many),
        float(np.mean(np.array(actions) == action_a)),
        mutual_information(codes.ravel(), motions.ravel()),
        mutual_information(codes.ravel(), who.ravel()),
    ), np.concatenate([_row(Halves(content[i : i + 1], truth[i : i + 1]), many[i : i + 1]) for i in range(PAIRS)])


def psnr(truth: Tensor, decoded: np.ndarray) -> float:
    """DB, mean over clips, of pictures [b, t, 3, h, w] in [-1, 1] and uint8 [b, t, h, w, 3]."""
    pictures = to_uint8(truth.flatten(0, 1)).reshape(decoded.shape).astype(float)
    error = np.square(pictures - decoded).reshape(len(truth), -1).mean(1)
    return float(np.mean(10 * np.log10(255**2 / np.maximum(error, 1e-6))))


def _measure(coder: Coder, halves: Halves, log2_p: Tensor) -> tuple[tuple[float, ...], np.ndarray]:
    """The fields of `Evaluation`, and what is decoded with all steps."""
    one, many = (
        coder.decode(halves.content, halves.driving, steps) for steps in (1, coder.model.config.diffusion.steps)
    )
    still = to_uint8(halves.content[:, 0])[:, None].repeat(halves.driving.shape[1], 1)
    codes = coder.codes(halves.driving).flatten(0, 1)  # [n, g]
    groups = torch.arange(codes.shape[1], device=codes.device)
    bits = -log2_p[groups, codes].sum(-1).mean().item()
    used = float(np.mean([len(group.unique()) for group in codes.T]))
    return (psnr(halves.driving, one), psnr(halves.driving, many), psnr(halves.driving, still), bits, used), many


def _row(halves: Halves, decoded: np.ndarray) -> np.ndarray:
    t = decoded.shape[1]
    shown = [0, t // 2, t - 1]
    return np.concatenate(
        [to_uint8(halves.content[0, :1])[0], *to_uint8(halves.driving[0])[shown], *decoded[0, shown]], axis=1
    )

"""Measures on test characters while a model trains: cross-driven PSNR against the truth, attributes, codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bcdcodec.models.latents import Latents, to_uint8
from bcdcodec.models.sprites.model import SpritesModel
from bcdcodec.training.data.batches import to_pictures
from bcdcodec.training.data.sheets import ACTIONS, CHARACTERS, MOTIONS, Sheets, split
from bcdcodec.training.data.sprite_batches import MOTION_OF
from bcdcodec.training.information import mutual_information

PAIRS, CODED = 18, 12  # cross-driven pairs; characters whose codes are counted


@dataclass(frozen=True)
class SpriteEvaluation:
    """All in hard codes, one sampling step, EMA weights, test characters."""

    psnr_self: float  # dB, mean over clips: content and motion of the same clip
    psnr_other_action: float  # dB, same character, content of another action
    psnr_other_character: float  # dB, content of another character in the same action
    psnr_both: float  # dB, content of another character in another action
    action_accuracy: float  # of the last case: the clip of that character it is nearest to
    attribute_accuracy: float  # all four right, nearest of all characters in the true motion, first frame
    hard_bits: float  # bits a frame of the codes under tables fitted on training codes
    codes_used: int
    motion_information: float  # bits, of the codes about the true motion frame, 5.92 at most
    character_information: float  # bits, of the codes about the character


@torch.no_grad()
def evaluate_sprites(
    model: SpritesModel, latents: Latents, sheets: Sheets, log2_p: Tensor
) -> tuple[SpriteEvaluation, np.ndarray]:
    """Measures and a picture uint8 [h, w, 3]: rows of the content's first frame, truth and decoded frames.

    `log2_p` [g, k]: code probabilities measured on training clips, on the model's device.
    """
    model.eval()
    rng = np.random.default_rng(0)
    _, test = split()
    a, b = rng.permuted(np.tile(test, (PAIRS, 1)), axis=1)[:, :2].T
    action_a = np.arange(PAIRS) % len(ACTIONS)
    action_b = (action_a + rng.integers(1, len(ACTIONS), PAIRS)) % len(ACTIONS)
    cases = {
        "self": (a, action_a),
        "other_action": (a, action_b),
        "other_character": (b, action_a),
        "both": (b, action_b),
    }
    psnr = {}
    for name, (character, action) in cases.items():
        truth = clips(sheets, character, action_a)
        decoded = transfer(model, latents, clips(sheets, character, action), clips(sheets, a, action_a))
        error = (decoded.astype(float) - truth).reshape(PAIRS, -1)
        psnr[name] = float(np.mean(10 * np.log10(255**2 / np.maximum((error**2).mean(1), 1e-6))))
    actions = np.array([nearest_action(sheets, int(n), clip) for n, clip in zip(b, decoded)])
    looks = np.array(
        [_nearest_character(sheets, MOTION_OF[action, 0], clip[0]) for action, clip in zip(action_a[::2], decoded[::2])]
    )
    given = clips(sheets, b, action_b)[:, 0]
    rows = [np.concatenate([given[i], *truth[i, ::2], *decoded[i, ::2]], 1) for i in range(0, PAIRS, 3)]

    codes = _test_codes(model, latents, sheets, test[:CODED])  # [characters, actions, frames, g]
    g = torch.arange(codes.shape[-1])
    bits = -log2_p.cpu()[g, codes.flatten(0, 2)].sum(-1).mean().item()
    of_group = codes[..., 0].numpy()
    motions = np.broadcast_to(MOTION_OF, of_group.shape)
    who = np.broadcast_to(np.arange(len(of_group))[:, None, None], of_group.shape)
    return SpriteEvaluation(
        psnr["self"],
        psnr["other_action"],
        psnr["other_character"],
        psnr["both"],
        float(np.mean(actions == action_a)),
        float(np.mean(looks == b[::2])),
        bits,
        len(np.unique(of_group)),
        mutual_information(of_group.ravel(), motions.ravel()),
        mutual_information(of_group.ravel(), who.ravel()),
    ), np.concatenate(rows)


def clips(sheets: Sheets, characters: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """uint8 [n, 8, 64, 64, 3] of characters [n] doing actions [n]."""
    return np.stack([sheets.clip(int(c), int(a)) for c, a in zip(characters, actions)])


@torch.no_grad()
def transfer(model: SpritesModel, latents: Latents, content: np.ndarray, driving: np.ndarray) -> np.ndarray:
    """Clips uint8 [n, t, h, w, 3]: the content clips' characters in the driving clips' motion, decoded in one step."""
    config = model.config
    device = next(model.parameters()).device
    z, driven = (
        latents.encode(to_pictures(x).to(device).flatten(0, 1)).unflatten(0, x.shape[:2]) for x in (content, driving)
    )
    picked = torch.linspace(0, z.shape[1] - 1, config.content.frames).long()
    tokens, _ = model.encode(z[:, picked])
    index = config.content.default_step
    tokens = model.content_quantiser.dequantise(model.content_quantiser.quantise(tokens, index), index)
    m_hat = model.vq.lookup(model.vq.encode(model.motion(driven)))
    noise = torch.randn(1, 1, *z.shape[2:], generator=torch.Generator().manual_seed(0)).to(device).expand_as(driven)
    decoded = model.denoise_at_max(noise, tokens, m_hat)
    return to_uint8(latents.decode(decoded.flatten(0, 1))).reshape(driving.shape)


def _test_codes(model: SpritesModel, latents: Latents, sheets: Sheets, characters: np.ndarray) -> Tensor:
    """Codes [characters, actions, frames, g] of all clips of the characters."""
    device = next(model.parameters()).device
    out = []
    for character in characters:
        z = to_pictures(clips(sheets, np.full(len(ACTIONS), character), np.arange(len(ACTIONS)))).to(device)
        z = latents.encode(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        out.append(model.vq.encode(model.motion(z)).cpu())
    return torch.stack(out)


def nearest_action(sheets: Sheets, character: int, clip: np.ndarray) -> int:
    """The action whose last frames, of that character, are nearest to those of a decoded clip uint8 [t, h, w, 3]."""
    distance = _distances(clip, sheets.frames(np.full(MOTIONS, character), np.arange(MOTIONS)))  # [t, motions]
    return int(distance[np.arange(len(clip)), MOTION_OF[:, -len(clip) :]].sum(1).argmin())


def _nearest_character(sheets: Sheets, motion: int, frame: np.ndarray) -> int:
    """The character whose frame of that motion is nearest to a decoded frame uint8 [h, w, 3]."""
    everyone = sheets.frames(np.arange(CHARACTERS), np.full(CHARACTERS, motion))
    return int(_distances(frame[None], everyone)[0].argmin())


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared distances [n, m] of frames x [n, h, w, 3] to frames y [m, h, w, 3], uint8."""
    x, y = (frames.reshape(len(frames), -1).astype(np.float32) for frames in (x, y))
    return np.square(x).sum(1)[:, None] - 2 * x @ y.T + np.square(y).sum(1)

"""Trains the poser, which turns a reference image as another person's head is turned, over a trained model.

First the pose reader alone, on the parameters of procedural heads. Then the flow too: procedural heads have the exact
one between people, footage the one that alignment finds within a clip. At the end, over the EMA weights of both, the
inpainting of disoccluded areas.
"""

from __future__ import annotations

import copy
import json
import math
import time
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.config import PoserConfig
from bcdcodec.errors import ModelError
from bcdcodec.model_folder import load_weights, open_model
from bcdcodec.models.heads.alignment import align
from bcdcodec.models.heads.model import HeadsModel
from bcdcodec.models.latents import open_latents
from bcdcodec.models.warp import warp
from bcdcodec.reenactment.poser import Poser
from bcdcodec.reenactment.poser_folder import SUBFOLDER, load_poser
from bcdcodec.training.checkpoint import load_checkpoint, load_sharded, save_checkpoint, write_folder
from bcdcodec.training.data.batches import Batch, BatchSampler, ClipBatches, to_pictures
from bcdcodec.training.data.procedural import MOTION_PARAMETERS
from bcdcodec.training.data.run_data import RunOptions, load_data
from bcdcodec.training.loop import run_to_end
from bcdcodec.training.losses import coarse_warp_error
from bcdcodec.training.poser_pairs import Pairs, disguised, recoloured
from bcdcodec.training.precision import mixed_precision
from bcdcodec.training.pretrain_reference import coded_image

WARMUP_STEPS = 50
BETAS = (0.9, 0.98)
READER_PEAK, READER_DECAY, READER_BATCH = 2e-3, 1e-2, 64  # of the steps on it alone
READER_LR = 0.4  # of the rate of the flow, afterwards
LAST_LR = 0.05  # of the peak
PROBE_SHARE = 10  # times fewer steps, where the reader can read already
HUBER = 0.1  # error of a pixel from which it counts by its size
GRADIENT = 0.1  # weight of errors of neighbouring pixels' differences
PARAMETER_WEIGHT = 0.3  # of errors of the parameters of procedural heads: a blink or a smile has hardly any flow
INPAINT_FROM = 0.1  # error of the warp over that of the colours, from which a pixel is to be inpainted
SAME_WEIGHT = 0.3  # of what is read of driving and target pictures alike
GRAD_CLIP = 1.0
HELD_OUT_GROUPS = 12
LOOKED_AT, LOOK_APART = 4, 6  # pairs of clips in a picture; from one to the next, as neighbours often show one person


class PoserTrainer:
    """One run, which resumes exactly: everything random is a function of (seed, step)."""

    def __init__(self, config: PoserConfig, options: RunOptions, model: str):
        if (options.out / "checkpoint").exists() and not options.resume:
            raise ModelError(f"{options.out} holds a run: give --resume to go on with it, or another --out")
        folder = open_model(model)
        if folder.config.model != "heads" or folder.config.latent.size != config.size:
            raise ModelError(
                f"model {folder.name} has no reference images of {config.size} x {config.size} pixels: train over heads"
            )
        self.options, self.device = options, options.device
        self.config = replace(config, model_name=folder.name, model_fingerprint=folder.fingerprint[:8].hex())
        self.codec = load_weights(folder).to(self.device).eval().requires_grad_(False)
        options.out.mkdir(parents=True, exist_ok=True)
        batches = ClipBatches(
            config.batch,
            config.frames,
            stage1_split=1,
            procedural_share=config.procedural_share,
            still_share=config.still_share,
        )
        size, length = folder.config.latent.size, folder.config.window.length
        clips, self.held_out, pairs, self.held_out_pairs = load_data(batches, size, length, options)
        self.sampler = BatchSampler(batches, clips, pairs, options.seed)
        self.latents = open_latents(folder.config.latent.small, self.device)
        torch.manual_seed(options.seed)
        self.model = Poser(self.config).to(self.device)
        self.probe = torch.nn.Linear(config.pose, len(MOTION_PARAMETERS)).to(self.device)  # linear probe on the pose
        self.usual = [
            torch.from_numpy(f(pairs.motion, (0, 1))).to(self.device) for f in (np.mean, np.std)
        ]  # of the parameters, [p] each
        self.mean = copy.deepcopy(self.model).eval().requires_grad_(False)  # carries the EMA weights
        taught = [*self.model.read.parameters(), *self.probe.parameters()]
        peaks = [(self.model.flow.parameters(), config.lr), (taught, config.lr * READER_LR)]
        if self.model.fill is not None:
            peaks.append((self.model.fill.parameters(), config.lr))
        self.optimiser = torch.optim.AdamW(
            [{"params": list(parameters), "peak": peak} for parameters, peak in peaks],
            lr=config.lr,
            betas=BETAS,
            weight_decay=config.weight_decay,
        )
        self.step, self.elapsed = 0, 0.0  # seconds
        if options.resume:
            state = load_checkpoint(options.out / "checkpoint", self.model, self.optimiser)
            for stem, part in (("ema", self.mean), ("probe", self.probe)):
                part.load_state_dict(load_sharded(options.out / "checkpoint", stem))
            self.step, self.elapsed = state["step"], state["elapsed_s"]
        else:
            began = time.monotonic()
            if options.from_model is None:
                begin_with(self.model, self.codec)
                self._teach_reader(taught, config.reader_steps)
            else:
                go_on_from(self.model, options.from_model)
                self._teach_reader(list(self.probe.parameters()), config.reader_steps // PROBE_SHARE)
            self.mean.load_state_dict(self.model.state_dict())
            self.elapsed = time.monotonic() - began

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0..1."""
        steps, minutes = self.options.steps, self.options.minutes
        return min(1.0, self.step / steps if steps is not None else self.elapsed / (60 * minutes))

    def run(self) -> None:
        """Train to the end, saving, logging and measuring on the way."""
        run_to_end(
            self,
            self.options.out,
            self.options.checkpoint_minutes,
            self.options.evaluate_minutes,
            self.config.name,
            ("psnr", "psnr_still"),
        )
        self.export()

    def _teach_reader(self, parameters: list[Tensor], steps: int) -> None:
        """Train these parameters of reader and probe alone: a linear probe reads the parameters of procedural heads."""
        mean, deviation = self.usual
        optimiser = torch.optim.AdamW(parameters, lr=READER_PEAK, betas=BETAS, weight_decay=READER_DECAY)
        for step in range(steps):
            torch.manual_seed(self.options.seed * 1_000_003 + step)
            pictures, motion = self.sampler.parameter_pictures(
                np.random.default_rng((self.options.seed, 8, step)), READER_BATCH
            )
            z = self.latents.encode(pictures.to(self.device))
            optimiser.param_groups[0]["lr"] = (
                READER_PEAK * min(1.0, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / steps))
            )
            self.model.read.train()
            with mixed_precision(self.device):
                error = (
                    (self.probe(self.model.read(disguised(z))) - (motion.to(self.device) - mean) / deviation)
                    .square()
                    .mean()
                )
            optimiser.zero_grad(set_to_none=True)
            error.backward()
            torch.nn.utils.clip_grad_norm_(parameters, GRAD_CLIP)
            optimiser.step()

    def train_step(self) -> dict:
        """One optimiser step; its record for the log. A function of the seed and the step alone."""
        torch.manual_seed(self.options.seed * 1_000_003 + self.step)
        pairs = recoloured(self.draw(self.step))
        filling = self.progress - self.flow_share
        part = (
            self.progress / self.flow_share if filling < 0 else filling / (1 - self.flow_share)
        )  # of what is being learned
        rest = LAST_LR + (1 - LAST_LR) * 0.5 * (1 + math.cos(math.pi * part))
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * min(1.0, (self.step + 1) / WARMUP_STEPS) * rest
        total, record = self._flow_loss(pairs) if filling < 0 else self._fill_loss(pairs)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        norms = [torch.nn.utils.clip_grad_norm_(group["params"], GRAD_CLIP) for group in self.optimiser.param_groups]
        norm = torch.stack(norms).norm()
        if torch.isfinite(norm):  # one bad batch must not end a long run
            self.optimiser.step()
        self.step += 1
        self._average(self.mean if filling < 0 else self.mean.fill, self.model if filling < 0 else self.model.fill)
        return {
            "step": self.step,
            "minutes": round(self.elapsed / 60, 2),
            "loss": round(total.item(), 4),
            **record,
            "grad_norm": round(norm.item(), 3),
        }

    @property
    def flow_share(self) -> float:
        """Share of the run before the inpainting is trained."""
        return 1.0 if self.model.fill is None else 1 - self.config.fill_share

    def _flow_loss(self, pairs: Pairs) -> tuple[Tensor, dict]:
        """What reader and flow learn by, and measures for the log."""
        self.model.train()
        with mixed_precision(self.device):
            at, wanted, same = self.model.read(disguised(torch.cat([pairs.image, pairs.driving, pairs.target]))).chunk(
                3
            )
            flow = self.model(pairs.image, at, wanted - at)
            shown = warp(pairs.image, flow)
            error = picture_error(shown, pairs.target) + coarse_warp_error(
                pairs.image, flow[:, None], pairs.target[:, None]
            )
            missed = pairs.flow_error(flow)
            total = (
                error
                + self.config.flow_weight * missed
                + SAME_WEIGHT * unlike(wanted, same)
                + self._misread(wanted, pairs.motion)
            )
        return total, {"flow_error": round(missed.item(), 4), **gains(pairs.image, shown, pairs.target)}

    def _fill_loss(self, pairs: Pairs) -> tuple[Tensor, dict]:
        """Loss of the mask and the colours of disoccluded areas, and measures for the log; one frame of each clip."""
        some = slice(self.step % self.config.frames, None, self.config.frames)
        image, driving, target = pairs.image[some], pairs.driving[some], pairs.target[some]
        with mixed_precision(self.device):
            with torch.no_grad():
                at = self.mean.read(image)
                flow = self.mean(image, at, self.mean.read(driving) - at)
                warped = warp(image, flow)
            colours, mask = (x.float() for x in self.model.fill(image, warped, flow))
        shown = torch.lerp(warped, colours, mask)
        nearer = (warped - target).abs().mean(1, keepdim=True) - (colours - target).abs().mean(
            1, keepdim=True
        ) > INPAINT_FROM
        # The colours learn everywhere: a mask that closed before they were of use would never open again.
        total = (
            picture_error(shown, target) + picture_error(colours, target) + F.binary_cross_entropy(mask, nearer.float())
        )
        return total, {
            "painted": round(mask.mean().item(), 4),
            "psnr_warped": round(psnr(warped, target), 2),
            **gains(image, shown, target),
        }

    @torch.no_grad()
    def draw(self, step: int) -> Pairs:
        """The pairs of one step."""
        batch: Batch = self.sampler.batch(step, self.progress)
        n, t = batch.target.shape[:2]
        content, driving, target = (x.to(self.device) for x in (batch.content[:, 0], batch.driving, batch.target))
        image = coded_image(
            self.codec, self.latents.encode(content), np.random.default_rng((self.options.seed, 7, step))
        )
        image = image[:, None].expand(n, t, *image.shape[1:]).flatten(0, 1)
        driving, target = (self.latents.encode(x.flatten(0, 1)) for x in (driving, target))
        exact = batch.flow[:, :, 0].to(self.device).flatten(0, 1)  # [pairs * t, 4, gh, gw]
        at = len(exact)
        basis = self.codec.flow_basis
        found = basis(
            align(
                basis, image[at:], target[at:], torch.zeros(len(image) - at, len(basis.deviation), device=self.device)
            )
        )
        # What alignment does not bring nearer it did not understand.
        better = (warp(image[at:], found) - target[at:]).square().mean((1, 2, 3)) < (
            image[at:] - target[at:]
        ).square().mean((1, 2, 3))
        cells = self.model.fields.shape[-2:]
        found = F.interpolate(found, size=cells, mode="bilinear", align_corners=False)
        known = better.float()[:, None, None].expand(-1, *cells)
        motion = torch.full((len(image), len(MOTION_PARAMETERS)), math.nan, device=self.device)
        mean, deviation = self.usual
        motion[:at] = (batch.motion.to(self.device).flatten(0, 1) - mean) / deviation
        return Pairs(
            image,
            driving,
            target,
            torch.cat([exact[:, :2], found]),
            torch.cat([exact[:, 2] * exact[:, 3], known]),
            motion,
        )

    def _misread(self, read: Tensor, motion: Tensor) -> Tensor:
        """The error of the true parameters of procedural heads, read linearly from the pose [n, d], []."""
        known = ~motion[:, 0].isnan()
        return PARAMETER_WEIGHT * (self.probe(read[known]) - motion[known]).square().mean()

    @torch.no_grad()
    def _average(self, means: torch.nn.Module, model: torch.nn.Module) -> None:
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        for mean, value in zip(means.state_dict().values(), model.state_dict().values()):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def save(self) -> None:
        save_checkpoint(
            self.options.out / "checkpoint",
            self.model,
            {"ema": self.mean.state_dict(), "probe": self.probe.state_dict()},
            self.optimiser,
            {
                "step": self.step,
                "elapsed_s": self.elapsed,
                "seed": self.options.seed,
                "config": json.loads(self.config.to_json()),
            },
            None,
        )

    def export(self) -> None:
        """Write `out/model`, which belongs into the folder of the codec's model as `poser`."""
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in self.mean.state_dict().items()}
        write_folder(
            self.options.out / "model",
            tensors,
            self.config.to_json(),
            (
                f"# {self.config.name}\n\nOver model {self.config.model_name} ({self.config.model_fingerprint[:12]}), "
                f"{self.step} steps, {self.elapsed / 60:.0f} minutes, seed {self.options.seed}.\n"
            ),
        )

    @torch.no_grad()
    def look(self, log) -> None:
        """Measure on held-out procedural people and write a picture: truth above, decoded below; then footage."""
        from PIL import Image

        rows, scores = [], []
        store = self.held_out_pairs
        for group in range(min(len(store.driven), HELD_OUT_GROUPS)):
            a, b = (to_pictures(store.driven[group, person]).to(self.device) for person in (0, 1))
            image = self.shown(to_pictures(store.content[group, 1, :1]).to(self.device))
            picture = self.turned(image, a)
            scores.append((psnr(picture, b), psnr(image.expand_as(b), b), psnr(a, b)))
            if group < 4:
                some = np.linspace(0, len(b) - 1, 3).astype(int)
                rows += [torch.cat([image[0], *b[some]], 2), torch.cat([image[0], *picture[some]], 2)]
        clips = self.held_out
        moving = [i for i in range(len(clips.lengths)) if clips.lengths[i] >= 3]
        for k in range(0, min(len(moving), LOOKED_AT * LOOK_APART), LOOK_APART):
            first, second = (
                to_pictures(clips.clip(moving[i])[:: max(1, clips.lengths[moving[i]] // 3)][:3]).to(self.device)
                for i in (k, (k + len(moving) // 2) % len(moving))
            )
            image = self.shown(first[:1])
            rows += [torch.cat([image[0], *second], 2), torch.cat([image[0], *self.turned(image, second)], 2)]
        decoded, alone, own = np.mean(scores, 0)
        log.write(
            json.dumps(
                {
                    "step": self.step,
                    "minutes": round(self.elapsed / 60, 2),
                    "held_out": {
                        "psnr_cross": round(decoded, 3),
                        "psnr_cross_still": round(alone, 3),
                        "psnr_cross_own": round(own, 3),
                    },
                }
            )
            + "\n"
        )
        log.flush()
        grid = torch.cat(rows, 1).clamp(-1, 1).movedim(0, -1).cpu().numpy()
        Image.fromarray(((grid + 1) * 127.5).round().astype(np.uint8)).save(
            self.options.out / f"look-{self.step:06d}.png"
        )

    def shown(self, pictures: Tensor) -> Tensor:
        """Stills as decoded of pictures [n, c, h, w]."""
        return coded_image(self.codec, self.latents.encode(pictures), None)

    def turned(self, image: Tensor, driving: Tensor) -> Tensor:
        """A image [1, c, h, w] turned as pictures [t, c, h, w] are."""
        with mixed_precision(self.device):
            return self.mean.turned(image.expand_as(driving), self.mean.read(driving))[0]


@torch.no_grad()
def begin_with(model: Poser, codec: HeadsModel) -> None:
    """Take over what the codec knows and has of the same shape: how to see heads, and its fields of flow."""
    _take(model.read.stem, codec.encoder.stem.state_dict())
    model.read.head[-1].weight *= 0.3  # at first little moves
    basis = codec.flow_basis
    count = min(len(model.fields), len(basis.fields) - basis.residual_channels)
    fields = basis.fields[:count] * basis.deviation[:count, None, None, None]
    model.fields[:count] = F.interpolate(fields, size=model.fields.shape[-2:], mode="bilinear", align_corners=False)


def go_on_from(model: Poser, name: str) -> None:
    """Take the weights of another model's poser, as far as it has them. Raises ModelError for another shape."""
    folder = open_model(name)
    other = load_poser(folder, "cpu")
    if other is None:
        raise ModelError(f"{folder.path} has no {SUBFOLDER} to begin with: train one without --from")
    own, tensors = model.state_dict(), other.state_dict()
    wrong = [key for key, tensor in tensors.items() if key not in own or own[key].shape != tensor.shape]
    if wrong:
        raise ModelError(
            f"the poser of {folder.path} has another shape than the one to train ({wrong[0]} and {len(wrong) - 1} more)"
        )
    model.load_state_dict(own | tensors)


def _take(part: torch.nn.Module, tensors: dict[str, Tensor]) -> None:
    """Those of the tensors that the part has under these names and in these shapes."""
    own = part.state_dict()
    for name, tensor in tensors.items():
        if name in own and own[name].shape == tensor.shape:
            own[name].copy_(tensor)


def unlike(x: Tensor, y: Tensor) -> Tensor:
    """How far apart motions [n, d] of the same faces or of others in the same motion are, over how far all are, []."""
    return (x - y).square().mean() / y.var(0).mean().clamp_min(1e-6).detach()


def picture_error(x: Tensor, y: Tensor) -> Tensor:
    """Huber's error of pixels and the absolute one of neighbours' differences, in units of HUBER, []."""
    d = x.float() - y
    across = (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
    return F.huber_loss(d, torch.zeros_like(d), delta=HUBER) / HUBER + GRADIENT * across


def gains(image: Tensor, shown: Tensor, target: Tensor) -> dict:
    """For the log: PSNR of what is shown and of the image as it was."""
    return {"psnr": round(psnr(shown, target), 2), "psnr_still": round(psnr(image, target), 2)}


@torch.no_grad()
def psnr(x: Tensor, y: Tensor) -> float:
    """Of pictures [n, c, h, w] in [-1, 1], dB of the mean error."""
    return 10 * math.log10(4 / max((x.float().clamp(-1, 1) - y).square().mean().item(), 1e-9))

"""The recipe of the `sprites` model: the objective of section 3.4 with the terms that keep it from collapsing.

Why each term is there is said at the preset, `bcdcodec.presets.SPRITES_SMALL`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec import presets
from bcdcodec.model_folder import ModelFolder
from bcdcodec.models.edm import loss_weight, training_sigmas
from bcdcodec.models.group_vq import temperature_at
from bcdcodec.models.sprites.config import SpritesConfig
from bcdcodec.models.sprites.model import SpritesModel
from bcdcodec.training.checkpoint import take_weights
from bcdcodec.training.code_splitting import clips_of_split_codes, split_codes, with_codes
from bcdcodec.training.data.sprite_batches import SpriteBatch, SpriteBatches, SpriteSampler
from bcdcodec.training.dead_codes import dead_codes, restart_codes
from bcdcodec.training.evaluate_sprites import SpriteEvaluation, evaluate_sprites
from bcdcodec.training.losses import PaletteReader, rarity
from bcdcodec.training.redrawing import redrawn_content, redrawn_errors
from bcdcodec.training.trainer import SETUP_STEP, Losses, OptimiserConfig, Trainer, warmup_cosine

RESTART_BATCHES, RESTART_UNTIL = 16, 0.8  # batches whose frames are looked at; share of the run
CHOICE_FRAMES, CHOICE_CODES = 12, 12  # tried in a step for the choice of codes
CHOICE_EVERY, CHOICE_AT = 4, 1  # steps; which of these
CHOICE_LAMBDA = 0.0002  # squared error (pixels of unit deviation) that a bit is worth there; a dozen pixels are 0.004
SPLIT_BATCHES = 24  # in which shared codes are looked for
CANDIDATE_BATCHES = 3  # of which a step takes the clips in question
AGAIN_FROM = 0.5  # share of the recipe after which a run from a model begins: at half of the learning rates
SPLIT_LR, SPLIT_FROM = 0.25, 0.66  # of the steps that split codes; share of the recipe after which such a run begins
GIVEN_CODES_WEIGHT = 0.5  # of the cross entropy (nats a group) of codes that are given


@dataclass(frozen=True, kw_only=True)
class SpritesTraining:
    """The training of a `sprites` model."""

    batches: SpriteBatches = field(default_factory=SpriteBatches)
    optimiser: OptimiserConfig
    lr_decoder: float = 1.5e-3
    lr_encoder: float = 8e-4
    encoder_half_from: float = 0.667  # share of the run after which the encoder's learning rate is halved
    rate_weight: float = 0.1  # lambda of equation 8, on squared bits
    conditional_entropy_weight: float = 0.02  # on mean H(mu) in bits a group
    content_weight: float = 2e-5  # on the estimated bits of the tokens
    content_mask_rate: float = 0.06  # of the samples, whose content alone is masked: motion must suffice
    rare_colours: float = 0.4  # power of the number of a clip's pixels of a colour by which their error counts less
    palette_weight: float = 0.2  # on reading the clip's colours from the content tokens
    redrawn_content: float = 0.5  # of the samples, whose content frames the model redraws in another clip's motion
    swap_from: float = 0.08  # share of the run after which that and the terms below act
    swap_every: int = 4  # steps
    swap_weight: float = 0.1  # swap consistency
    swap_motion_weight: float = 2.0  # within it, on the learning encoder reading the codes back
    swap_content_weight: float = 0.2  # within it, on reading the given content back
    choice_weight: float = 0.5  # on the encoder finding the code with which the decoder does best
    restart_every: int = 50  # after which dead codes are restarted (`training/dead_codes.py`); 0: never
    splitting_steps: int = 380  # first steps of a run from a model, that split codes (`training/code_splitting.py`)


class SpritesRecipe:
    """L = L_d + lambda (H_model - H_target)^2 and auxiliary terms, for encoder, codes and decoder together."""

    def __init__(self, config: SpritesConfig, training: SpritesTraining):
        self.config, self.training = config, training
        self.helpers: dict[str, nn.Module] = {}
        self.choices: Tensor | None = None  # [k, 2] codes between which each code's frames choose: `split_codes`

    def open(self, run: Trainer) -> None:
        batches, frames = self.training.batches, self.config.content.frames
        self.sampler = SpriteSampler.open(self.config.name, batches, frames, run.options.data, run.options.seed)

    def build_helpers(self, run: Trainer) -> None:
        if self.training.palette_weight:
            content = self.config.content
            self.helpers["palette"] = PaletteReader(content.tokens * content.dim).to(run.device)

    def parameter_groups(self, run: Trainer) -> list[dict]:
        model, c = run.model, self.training
        read = [p for helper in self.helpers.values() for p in helper.parameters()]
        reading = [*model.encoder.parameters(), *model.vq.parameters(), *read]
        return [
            {"params": list(model.decoder.parameters()), "peak": c.lr_decoder, "part": "decoder"},
            {"params": reading, "peak": c.lr_encoder, "part": "encoder"},
        ]

    # ---- before the first step

    @torch.no_grad()
    def prepare(self, run: Trainer) -> None:
        """Draw the codes from encoder outputs."""
        batch = self._batch(run, SETUP_STEP)
        m = run.model.train().motion(batch.driving)
        run.model.vq.seed_codebooks(m, torch.Generator().manual_seed(run.options.seed))

    def begin_from(self, run: Trainer, folder: ModelFolder) -> float:
        """At half of the recipe or, where codes are split first, later. The splits are found here."""
        take_weights(run.model, folder, self.config.name)
        if not self.training.splitting_steps:
            return AGAIN_FROM
        run.ema.load_state_dict(run.model.state_dict())
        batches = [self._batch(run, SETUP_STEP + i) for i in range(SPLIT_BATCHES)]
        self.choices = split_codes(run.ema.eval(), batches, dead_codes(run.counts)[0].to(run.device))
        run.model.vq.load_state_dict(run.ema.vq.state_dict())
        run.note({"split": sorted({tuple(pair) for pair in self.choices.tolist() if pair[0] != pair[1]})})
        return SPLIT_FROM

    # ---- a step

    def batch(self, run: Trainer) -> SpriteBatch:
        batch = self._batch(run, run.step)
        if self.splitting(run):
            first = SETUP_STEP + SPLIT_BATCHES + CANDIDATE_BATCHES * run.step
            candidates = [batch, *(self._batch(run, first + i) for i in range(CANDIDATE_BATCHES - 1))]
            batch = clips_of_split_codes(run.ema.eval(), candidates, self.choices)
        return batch

    def _batch(self, run: Trainer, step: int) -> SpriteBatch:
        batch = self.sampler.batch(step)
        return SpriteBatch(*(run.encode(pictures) for pictures in (batch.content, batch.driving, batch.target)))

    def learning_rate(self, run: Trainer, part: str) -> float:
        if self.splitting(run):
            return min(1.0, (run.step + 1) / run.optimisation.warmup_steps) * SPLIT_LR
        half = part == "encoder" and run.progress >= self.training.encoder_half_from
        return warmup_cosine(run) * (0.5 if half else 1.0)

    def losses(self, run: Trainer, batch: SpriteBatch) -> Losses:
        c, splitting, model = self.training, self.splitting(run), run.model
        # Normalised by the data's statistics, not by those of clips chosen by their codes.
        model.train(not splitting)
        swapping = run.progress >= c.swap_from
        if c.redrawn_content and swapping:
            batch = redrawn_content(run.ema.eval(), batch, c.redrawn_content)
        if splitting:
            batch = with_codes(run.ema.eval(), batch, self.choices)
        terms, content = rate_distortion(model, self.helpers.get("palette"), batch, c, run.step)
        total = terms.total
        if c.swap_weight and swapping and not splitting and run.step % c.swap_every == 0:
            clips = slice(len(batch.target) // 3, len(batch.target))
            swap = swap_consistency(model, run.ema.eval(), content[clips], terms.codes[clips], c)
            total = total + c.swap_weight * swap
        if c.choice_weight and swapping and not splitting and run.step % CHOICE_EVERY == CHOICE_AT:
            few = SpriteBatch(*(part[:CHOICE_FRAMES, :1] for part in (batch.content, batch.driving, batch.target)))
            log2_p = run.log2_p().to(run.device)
            choice = code_choice(model, run.ema.eval(), content[:CHOICE_FRAMES], few, log2_p, CHOICE_CODES)
            total = total + c.choice_weight * choice
        return replace(terms, total=total)

    def after_step(self, run: Trainer, progress: float) -> None:
        """Restart dead codes, and their optimiser state."""
        due = self.training.restart_every and run.step % self.training.restart_every == 0
        unused = dead_codes(run.counts)  # [g, k]
        if due and self.choices is None and progress < RESTART_UNTIL and unused.any():
            self.restart(run, unused)

    @torch.no_grad()
    def restart(self, run: Trainer, unused: Tensor) -> None:
        """Restart the codes `unused` [g, k]."""
        model, ema = run.model.eval(), run.ema.eval()  # until the next step
        features, errors = [], []
        for step in range(run.step - 1, max(run.step - 1 - RESTART_BATCHES, -1), -1):
            batch = self._batch(run, step)
            features.append(model.vq.features(model.motion(batch.driving)))
            errors.append(redrawn_errors(ema, batch))
        moved = restart_codes(model.vq, unused.to(run.device), torch.cat(features), torch.cat(errors))
        codebooks = model.vq.codebooks
        for moment in run.optimiser.state.get(codebooks, {}).values():
            if moment.shape == codebooks.shape:
                moment[moved] = 0
        run.counts[unused] = run.counts.mean()

    def splitting(self, run: Trainer) -> bool:
        """Whether the steps are those that split codes."""
        return self.choices is not None and run.step < self.training.splitting_steps

    # ---- measures and state

    def evaluate(self, run: Trainer, log2_p: Tensor) -> tuple[SpriteEvaluation, np.ndarray]:
        return evaluate_sprites(run.ema, run.latents, self.sampler.sheets, log2_p)

    def state(self) -> dict:
        return {"choices": None if self.choices is None else self.choices.tolist()}

    def load_state(self, state: dict, device: str) -> None:
        if state["choices"] is not None:
            self.choices = torch.tensor(state["choices"], device=device)


def rate_distortion(
    model: SpritesModel, palette: PaletteReader | None, batch: SpriteBatch, c: SpritesTraining, step: int
) -> tuple[Losses, Tensor]:
    """L = L_d + lambda (H_model - H_target)^2 (equations 6-8) and auxiliary terms; the content tokens [b, n, d]."""
    config = model.config
    b, tc = batch.content.shape[:2]
    torch.randint(tc, ())  # of no use but that the random numbers after it are those that a seed always gave
    content, m_content = model.encode(batch.content)
    step_index = torch.randint(0, config.content.steps // 2 + 1, (b,), device=content.device)
    tokens = model.content_quantiser(content, step_index)
    m = torch.cat([m_content, model.motion(batch.driving)], 1)
    m_hat, logits, rate = model.vq(m, temperature_at(config.quantiser, step))
    m_hat, logits = m_hat[:, tc:], logits[:, tc:]  # of the driving frames
    codes = logits.argmax(-1).detach()
    if batch.codes is not None:  # the decoder learns them before the encoder knows them
        codes = batch.codes
        m_hat = model.vq.lookup(codes)
    keep_content = None
    if c.content_mask_rate:
        keep_content = (torch.rand(b, device=content.device) >= c.content_mask_rate).float()
    sigma = training_sigmas(b, config.diffusion).to(content.device)
    noisy = batch.target + sigma[:, None, None, None, None] * torch.randn_like(batch.target)
    squared = (model.denoise(noisy, sigma, tokens, m_hat, keep_content) - batch.target).square()
    pictures = lambda z: z * config.latent.deviation + config.latent.mean  # noqa: E731
    weighted = rarity(pictures(batch.target), c.rare_colours) * squared if c.rare_colours else squared
    weight = loss_weight(sigma, config.diffusion.sigma_data)  # [b]
    distortion = (weight * weighted.mean(dim=(1, 2, 3, 4))).mean()
    total = distortion
    if batch.codes is None:
        total = total + c.rate_weight * (rate.H_model - config.quantiser.target_bits).square()  # equation 7
        total = total + c.conditional_entropy_weight * rate.H_conditional / config.quantiser.groups
    else:  # of clips chosen by their codes, whose histogram is not that of the data
        total = total + GIVEN_CODES_WEIGHT * F.cross_entropy(logits.flatten(0, 2), codes.flatten())
    if c.content_weight:
        total = total + c.content_weight * model.content_quantiser.bits(content, step_index).mean()
    if palette is not None:
        total = total + c.palette_weight * palette.error(tokens, pictures(torch.cat([batch.content, batch.target], 1)))
    at_max = sigma >= config.diffusion.sigma_max
    if keep_content is not None:
        at_max = at_max & (keep_content > 0)
    mse = config.latent.deviation**2 * squared.detach().mean(dim=(1, 2, 3, 4))
    mse = mse[at_max].mean() if at_max.any() else mse.new_tensor(float("nan"))
    return Losses(total, distortion.detach(), rate.detach(), mse, codes), tokens


def swap_consistency(
    model: SpritesModel, ema: SpritesModel, content: Tensor, codes: Tensor, c: SpritesTraining
) -> Tensor:
    """Cross entropy (nats a group) of the codes read back from a one-step decode with another clip's content.

    The `ema` copy, whose weights do not learn, reads them: motion that is constant within a clip cannot hide in the
    content then. With the weights of the config also the same read by the learning encoder, so that looks are no
    motion, and the error of the content read back, over its variance.
    """
    config = model.config
    content = content.roll(1, dims=0).detach()
    latent = config.latent
    noise = torch.randn((*codes.shape[:2], latent.channels, latent.size, latent.size), device=codes.device)
    pictures = model.denoise_at_max(noise, content, model.vq.lookup(codes))
    logits = -config.quantiser.alpha * ema.vq.distances(ema.vq.features(ema.motion(pictures)))
    total = F.cross_entropy(logits.flatten(0, 2), codes.flatten())
    if c.swap_motion_weight:  # the same motion with other looks is the same code: the frequent one of two alike wins
        features = ema.vq.features(model.motion(pictures.detach()))
        logits = -config.quantiser.alpha * model.vq.distances(features)
        total = total + c.swap_motion_weight * F.cross_entropy(logits.flatten(0, 2), codes.flatten())
    if c.swap_content_weight:
        read, _ = ema.encode(pictures)
        error = (read - content).square().mean() / content.var(dim=0).mean().clamp_min(1e-3)
        total = total + c.swap_content_weight * error
    return total


def code_choice(
    model: SpritesModel, ema: SpritesModel, content: Tensor, frames: SpriteBatch, log2_p: Tensor, candidates: int
) -> Tensor:
    """Cross entropy (nats) of the encoder's codes to those of least error and bits when decoded in one step.

    The decoder has each clip's own content [b, n, d], so the code it does best with is that of the motion, not of the
    looks. Of one driving frame a clip the `candidates` nearest codes are tried by the `ema` copy. `log2_p` [1, k] is
    their cost: of two codes of the same motion the frequent one wins, and the other becomes free.
    """
    config = model.config
    features = ema.vq.features(model.motion(frames.driving))  # [b, 1, g, d]
    logits = -config.quantiser.alpha * model.vq.distances(features)[:, 0, 0]  # [b, k]
    with torch.no_grad():
        tried = logits.topk(candidates, dim=-1).indices  # [b, candidates], which take the place of the frames
        noise = torch.randn_like(frames.target).expand(-1, candidates, -1, -1, -1)
        pictures = ema.denoise_at_max(noise, content, ema.vq.lookup(tried[..., None]))
        error = (pictures - frames.target).square().mean(dim=(2, 3, 4))  # [b, candidates]
        error = error - CHOICE_LAMBDA * log2_p[0, tried]
        best = tried.gather(1, error.argmin(1, keepdim=True))[:, 0]
    return F.cross_entropy(logits, best)


SPRITES_SMALL = SpritesTraining(optimiser=OptimiserConfig(betas=(0.9, 0.99), warmup_steps=100, ema_decay=0.995))
PRESETS = {"sprites-small": (presets.SPRITES_SMALL, SPRITES_SMALL)}

"""The training loop: two stages, schedules, EMA, bf16 autocast, exact resume, log and pictures."""

from __future__ import annotations

import copy
import json
import math
import time

import numpy as np
import torch

from bcdcodec.config import ModelConfig
from bcdcodec.errors import ModelError
from bcdcodec.model_folder import ModelFolder, open_model
from bcdcodec.models.joint import BCD
from bcdcodec.models.latents import open_latents
from bcdcodec.training.checkpoint import HELPERS, load_checkpoint, save_checkpoint, take_weights
from bcdcodec.training.code_splitting import clips_in_question, part_codes, with_codes
from bcdcodec.training.data.batches import Batch, BatchSampler, to_pictures
from bcdcodec.training.data.procedural_pairs import PairStore
from bcdcodec.training.data.run_data import RunOptions, load_data, load_large, notes_into
from bcdcodec.training.data.sprite_batches import SpriteSampler
from bcdcodec.training.dead_codes import hardly_used, reseed
from bcdcodec.training.discriminator import Adversary, balanced
from bcdcodec.training.evaluate import evaluate
from bcdcodec.training.evaluate_sprites import evaluate_sprites
from bcdcodec.training.loop import run_to_end
from bcdcodec.training.objective import Losses, PaletteReader, Schedule, code_choice, rate_distortion, swap_consistency
from bcdcodec.training.precision import mixed_precision
from bcdcodec.training.pretrain_motion import (
    MotionPairs,
    Note,
    fit_codes,
    fit_common_appearance,
    fit_flow_basis,
    teach_motion,
)
from bcdcodec.training.pretrain_reference import teach_detail, teach_still
from bcdcodec.training.redrawing import foreign_errors, redrawn_content

COUNT_DECAY = 0.99  # of the code histogram, a step
STILL_BATCH = 16  # pictures, of the steps on the still's filter alone
DETAIL_BATCH = 8  # pictures at full size
MOTION_BATCH = 32  # pairs of pictures, of the steps on motion alone
RESEED_BATCHES, RESEED_UNTIL = 16, 0.8  # whose frames are looked at; of the run
CHOICE_FRAMES, CHOICE_CODES = 12, 12  # tried in a step for the choice of codes
ENCODER_GROUP = 1  # of the optimiser
PARTING_BATCHES, ASKED_BATCHES = (
    24,
    3,
)  # in which shared codes are looked for; of which a step takes the clips in question
AGAIN_FROM = 0.5  # share of the recipe after which a run begins with a model's weights: at half of the learning rates
PARTING_LR, PARTED_FROM = 0.25, 0.66  # of the steps that part codes; after which share of the recipe such a run begins
JUDGED_LR = 0.25  # of painter and adversary, to the end
SETUP_STEP = 2**40  # batches from here on serve the initialisation, not the steps


class Trainer:
    """One run of `bcd train`. `run()` returns when its steps or minutes are used up."""

    def __init__(self, config: ModelConfig, options: RunOptions):
        if (options.steps is None) == (options.minutes is None):
            raise ModelError("give either a number of steps or of minutes")
        self.config, self.options = config, options
        self.device = options.device if options.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
        self.out = options.out
        if (self.out / "checkpoint").exists() and not options.resume:
            raise ModelError(f"{self.out} holds a run: give --resume to go on with it, or another --out")
        self.out.mkdir(parents=True, exist_ok=True)
        self.pairs: PairStore | None = None
        if config.training.dataset == "sprites":
            self.sampler: BatchSampler | SpriteSampler = SpriteSampler.open(config, options.data, options.seed)
        else:
            self.clips, self.held_out, self.pairs, self.held_out_pairs = load_data(config, options)
            self.sampler = BatchSampler(config, self.clips, self.pairs, options.seed)
        self.latents = open_latents(config.latent.small, self.device, options.vae)
        torch.manual_seed(options.seed)
        self.model = BCD(config).to(self.device)
        self.frozen = copy.deepcopy(self.model).requires_grad_(False)  # carries the EMA weights
        self.reader: PaletteReader | None = None
        if config.training.palette_weight:
            self.reader = PaletteReader(config.content.tokens * config.content.dim).to(self.device)
        self.adversary: Adversary | None = None
        if config.training.adversarial_weight:
            self.adversary = Adversary(config.latent.channels).to(self.device)
        self.read = [] if self.reader is None else list(self.reader.parameters())
        self.optimiser = torch.optim.AdamW(
            [
                {
                    "params": [p for name, p in self.model.named_parameters() if name.startswith("decoder")],
                    "peak": config.training.lr_decoder,
                },
                {
                    "params": [*self.model.encoder.parameters(), *self.model.vq.parameters(), *self.read],
                    "peak": config.training.lr_encoder,
                },
                *(
                    {"params": list(part.parameters()), "peak": config.training.lr_decoder}
                    for part in (self.model.painter, self.adversary)
                    if part is not None
                ),
            ],
            lr=1e-4,
            betas=config.training.betas,
            weight_decay=config.training.weight_decay,
        )
        self.step, self.elapsed = 0, 0.0  # seconds
        self.origin: str | None = None  # name and fingerprint of the model whose weights it began with
        self.begin = 0.0  # share of the recipe that it began after
        self.counts = torch.ones(config.quantiser.groups, config.quantiser.codes)
        self.choices: torch.Tensor | None = None  # [k, 2] codes between which each code's frames choose: `part_codes`
        if options.resume:
            ema, state = load_checkpoint(self.out / "checkpoint", self.model, self.optimiser)
            self.counts = ema.pop("code_counts")
            for part, helper in self._helpers().items():
                helper.load_state_dict(
                    {k.removeprefix(f"{part}."): ema.pop(k) for k in list(ema) if k.startswith(f"{part}.")}
                )
            self.frozen.load_state_dict(ema)
            self.step, self.elapsed, self.origin = state["step"], state["elapsed_s"], state.get("from")
            self.begin = state.get("begin", 0.0)
            if state.get("choices") is not None:
                self.choices = torch.tensor(state["choices"], device=self.device)
        elif options.from_model is not None:
            self._begin_with(open_model(options.from_model))
        else:
            self._initialise()

    def _begin_with(self, folder: ModelFolder) -> None:
        """Take a trained model's weights and begin at AGAIN_FROM, where codes are parted first at PARTED_FROM, or, if a part is missing
        that learns late, where the painter does.

        Raises ModelError where its shapes are others.
        """
        missing = take_weights(self.model, folder, self.config.name)
        self.begin = self.config.training.adversarial_from if missing else AGAIN_FROM
        if "still_detail" in missing:
            began = time.monotonic()
            self._teach_detail(notes_into(self.out / "log.jsonl", began))
            self.elapsed += time.monotonic() - began
        self.frozen.load_state_dict(self.model.state_dict())
        self.counts = torch.from_numpy(folder.tables.motion.frequencies / 65536).float()
        self.origin = f"{folder.name} {folder.fingerprint.hex()[:12]}"
        if self.config.training.parting_steps:
            self.begin = PARTED_FROM
            self._part()

    def _part(self) -> None:
        """Find motions that share a code; the first steps part them."""
        began = time.monotonic()
        batches = [self._to_device(self.sampler.batch(SETUP_STEP + i, 0.0)) for i in range(PARTING_BATCHES)]
        self.choices = part_codes(self.frozen.eval(), batches, hardly_used(self.counts)[0].to(self.device))
        self.model.vq.load_state_dict(self.frozen.vq.state_dict())
        self.elapsed += time.monotonic() - began
        pairs = sorted({tuple(pair) for pair in self.choices.tolist() if pair[0] != pair[1]})
        notes_into(self.out / "log.jsonl", began)({"parted": pairs})

    def _initialise(self) -> None:
        """What comes before the first step: transform, still and motion are fitted or codebooks drawn from data; its time counts."""
        began = time.monotonic()
        if self.model.transform is not None:
            rng = np.random.default_rng(self.options.seed)
            clips = rng.integers(0, len(self.clips.lengths), 1500)
            frames = np.stack([self.clips.clip(i)[rng.integers(0, self.clips.lengths[i])] for i in clips])
            pictures = to_pictures(frames).to(self.device)
            self.model.transform.fit(torch.cat([pictures, pictures.flip(-1)]))
        self.model.train()

        note = notes_into(self.out / "log.jsonl", began)
        if self.config.training.still_steps:
            teach_still(
                self.model,
                self.sampler,
                self._encode,
                self.config.training.still_steps,
                STILL_BATCH,
                self.options.seed,
                self.device,
                note,
            )
        if self.model.still_detail is not None:
            self._teach_detail(note)
        if self.model.flow_basis is not None:
            self._motion_first(note)
        else:
            self._seed_codebooks()
        self.frozen.load_state_dict(self.model.state_dict())
        self.elapsed += time.monotonic() - began

    def _teach_detail(self, note: Note) -> None:
        large = open_latents(self.config.latent, self.device, self.options.vae)
        teach_detail(
            self.model,
            load_large(self.config, self.options),
            large,
            self.config.training.detail_steps,
            DETAIL_BATCH,
            self.options.seed,
            self.device,
            note,
        )

    @torch.no_grad()
    def _seed_codebooks(self) -> None:
        batch = self._to_device(self.sampler.batch(SETUP_STEP, 0.0, temporal=False))
        m = self.model.encode_motion(batch.driving)
        self.model.vq.seed_codebooks(m, torch.Generator().manual_seed(self.options.seed))

    def _motion_first(self, note: Note) -> None:
        """Flow fields, the encoder, the common appearance and codes, in this order: each is fitted to what those before say."""
        c, seed = self.config.training, self.options.seed
        fit_flow_basis(self.model.flow_basis, self.sampler, c.flow_pairs, seed, note)
        pairs = MotionPairs(self.model, self.sampler, 2 * c.flow_pairs, seed)
        teach_motion(self.model, pairs, self._encode, c.motion_steps, MOTION_BATCH, c.weight_decay, self.device, note)
        if self.model.common is not None:
            fit_common_appearance(self.model, self.sampler, self._encode, seed)
        fit_codes(self.model, pairs, self._encode, seed, note)

    @property
    def progress(self) -> float:
        """Share of the recipe that is done, 0..1."""
        if self.options.steps is not None:
            done = self.step / self.options.steps
        else:
            done = self.elapsed / (60 * self.options.minutes)
        return self.begin + (1 - self.begin) * min(1.0, done)

    @property
    def parting(self) -> bool:
        """Whether the steps are those that part codes."""
        return self.choices is not None and self.step < self.config.training.parting_steps

    def run(self) -> None:
        """Train to the end, saving, logging and measuring on the way."""
        run_to_end(
            self,
            self.out,
            self.options.checkpoint_minutes,
            self.options.evaluate_minutes,
            self.config.name,
            ("psnr_at_max", "H_model"),
        )

    def train_step(self) -> dict:
        """One optimiser step; its record for the log. A function of the seed and the step alone."""
        c = self.config.training
        schedule = Schedule(self.step, self.progress)
        torch.manual_seed(self.options.seed * 1_000_003 + self.step)
        batch = self._to_device(self.sampler.batch(self.step, schedule.progress, schedule.temporal(self.config)))
        self._set_learning(schedule)
        if self.parting:
            first = SETUP_STEP + PARTING_BATCHES + ASKED_BATCHES * self.step
            asked = [
                batch,
                *(self._to_device(self.sampler.batch(first + i, schedule.progress)) for i in range(ASKED_BATCHES - 1)),
            ]
            batch = clips_in_question(self.frozen.eval(), asked, self.choices)
        for i, group in enumerate(self.optimiser.param_groups):
            group["lr"] = group["peak"] * self._lr_factor(schedule, i)
        with mixed_precision(self.device):
            if c.redrawn_content and schedule.progress >= c.swap_from:
                batch = redrawn_content(self.frozen.eval(), batch, c.redrawn_content)
            if self.parting:
                batch = with_codes(self.frozen.eval(), batch, self.choices)
            losses = rate_distortion(self.model, self.reader, batch, schedule)
            total = losses.total
            if (
                c.swap_weight
                and not self.parting
                and schedule.progress >= c.swap_from
                and self.step % c.swap_every == 0
            ):
                few = slice(len(batch.target) // 3, len(batch.target))
                swap = swap_consistency(self.model, self.frozen.eval(), losses, few, schedule.temporal(self.config))
                total = total + c.swap_weight * swap
            if c.choice_weight and not self.parting and schedule.progress >= c.swap_from and self.step % 4 == 1:
                total = total + c.choice_weight * code_choice(
                    self.model,
                    self.frozen.eval(),
                    losses,
                    batch,
                    self.log2_p().to(self.device),
                    CHOICE_FRAMES,
                    CHOICE_CODES,
                )
            if schedule.adversarial(self.config):
                total = total + self._judged(losses, batch)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        # Apart, as steep gradients of the encoder would else keep the decoder from learning.
        norms = [torch.nn.utils.clip_grad_norm_(g["params"], c.grad_clip) for g in self.optimiser.param_groups]
        norm = torch.stack(norms).norm()
        if torch.isfinite(norm):  # one bad batch must not end a long run
            self.optimiser.step()
        self.step += 1
        self._average()
        if (
            c.reseed_steps
            and self.step % c.reseed_steps == 0
            and self.choices is None
            and schedule.progress < RESEED_UNTIL
        ):
            self._reseed()
        codes = losses.codes.flatten(0, 1).cpu()
        seen = torch.nn.functional.one_hot(codes, self.config.quantiser.codes).sum(0).float()
        self.counts = COUNT_DECAY * self.counts + (1 - COUNT_DECAY) * seen
        return {
            "step": self.step,
            "minutes": round(self.elapsed / 60, 2),
            "loss": round(total.item(), 4),
            "distortion": round(losses.distortion.item(), 4),
            "H_model": round(losses.H_model.item(), 1),
            "hard_bits": round(self._hard_bits(codes), 1),
            "flow_error": round(losses.flow_error.item(), 4),
            "mutual_information": round(losses.mutual_information.item(), 1),
            "psnr_at_max": round(10 * math.log10(4 / max(losses.mse_at_max.item(), 1e-9)), 3)
            if math.isfinite(losses.mse_at_max.item())
            else 0.0,
            "grad_norm": round(norm.item(), 3),
        }

    def _judged(self, losses: Losses, batch: Batch) -> torch.Tensor:
        """The adversary's error and the painter's in deceiving it, []."""
        still = losses.still.detach()[:, None].expand_as(batch.target)
        shown = [x.flatten(0, 1) for x in (losses.painted, batch.target, still)]
        deceived = self.adversary.deceived(*shown)
        factor = balanced(losses.total, deceived, self.model.painter.draw.weight)
        return self.config.training.adversarial_weight * factor * deceived + self.adversary.told(*shown)

    def _set_learning(self, schedule: Schedule) -> None:
        """Which parts of the model learn now. What was taught before the first step rests, its statistics as they were then."""
        self.model.train(
            not self.parting
        )  # normalised by the data's statistics, not by those of clips chosen by their codes
        if self.model.flow_basis is not None:  # errors of a decoder that does not follow yet would undo what was taught
            for part in (self.model.encoder, self.model.vq, self.model.still_filter):
                part.eval().requires_grad_(False)
        if schedule.adversarial(
            self.config
        ):  # all that the painter sees rests while it learns what true pictures are like
            self.model.eval().requires_grad_(False)
            self.model.painter.train().requires_grad_(True)

    @torch.no_grad()
    def _reseed(self) -> None:
        """Draw codes that are hardly used anew, with their optimiser state."""
        unused = hardly_used(self.counts)  # [g, k]
        if not unused.any():
            return
        self.model.eval()  # until the next step
        self.frozen.eval()
        features, errors = [], []
        for step in range(self.step - 1, max(self.step - 1 - RESEED_BATCHES, -1), -1):
            batch = self._to_device(self.sampler.batch(step, self.progress))
            features.append(self.model.vq.features(self.model.encode_motion(batch.driving)))
            errors.append(foreign_errors(self.frozen, batch))
        moved = reseed(self.model.vq, unused.to(self.device), torch.cat(features), torch.cat(errors))
        codebooks = self.model.vq.codebooks
        for moment in self.optimiser.state.get(codebooks, {}).values():
            if moment.shape == codebooks.shape:
                moment[moved] = 0
        self.counts[unused] = self.counts.mean()

    def look(self, log) -> None:
        """Measure on held-out clips and write a picture."""
        from PIL import Image

        state = torch.get_rng_state()
        log2_p, temporal = self.log2_p().to(self.device), Schedule(self.step, self.progress).temporal(self.config)
        if isinstance(self.sampler, SpriteSampler):
            measures, picture = evaluate_sprites(self.frozen, self.latents, self.sampler.sheets, log2_p, temporal)
        else:
            measures, picture = evaluate(
                self.frozen, self.latents, self.held_out, self.held_out_pairs, log2_p, temporal
            )
        torch.set_rng_state(state)
        log.write(
            json.dumps({"step": self.step, "minutes": round(self.elapsed / 60, 2), "held_out": measures.as_dict()})
            + "\n"
        )
        log.flush()
        Image.fromarray(picture).save(self.out / f"look-{self.step:06d}.png")

    def save(self) -> None:
        ema = dict(self.frozen.state_dict())
        ema["code_counts"] = self.counts
        for part, helper in self._helpers().items():
            ema |= {f"{part}.{name}": value for name, value in helper.state_dict().items()}
        save_checkpoint(
            self.out / "checkpoint",
            self.model,
            ema,
            self.optimiser,
            {
                "step": self.step,
                "elapsed_s": self.elapsed,
                "seed": self.options.seed,
                "from": self.origin,
                "begin": self.begin,
                "choices": None if self.choices is None else self.choices.tolist(),
                "config": json.loads(self.config.to_json()),
            },
            self.options.shard_mib,
        )

    def _helpers(self) -> dict[str, torch.nn.Module]:
        """By name those of HELPERS that this run has."""
        return {part: helper for part in HELPERS if (helper := getattr(self, part)) is not None}

    def log2_p(self) -> torch.Tensor:
        """log2 of the code probabilities of recent training batches, [g, k]."""
        p = self.counts + 1e-3 * self.counts.sum(1, keepdim=True) / self.counts.shape[1]
        return (p / p.sum(1, keepdim=True)).log2()

    def _hard_bits(self, codes: torch.Tensor) -> float:
        g = torch.arange(codes.shape[1])
        return -self.log2_p()[g, codes].sum(-1).mean().item()

    def _lr_factor(self, schedule: Schedule, group: int) -> float:
        c, encoder = self.config.training, group == ENCODER_GROUP
        if schedule.adversarial(self.config):
            return JUDGED_LR
        factor = min(1.0, (self.step + 1) / c.warmup_steps)
        if self.parting:
            return factor * PARTING_LR
        factor *= 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * schedule.progress))
        return factor * (0.5 if encoder and schedule.temporal(self.config) else 1.0)  # stage 2 halves the encoder's

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.training.ema_decay, (1 + self.step) / (10 + self.step))
        for (name, mean), value in zip(self.frozen.state_dict().items(), self.model.state_dict().values()):
            if mean.is_floating_point() and "running" not in name:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def _to_device(self, batch: Batch) -> Batch:
        content, driving, target = (self._encode(x) for x in (batch.content, batch.driving, batch.target))
        own = self._encode(batch.own[:, None])[:, 0] if len(batch.own) else batch.own
        return Batch(content, driving, target, batch.flow.to(self.device), own)

    def _encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures [b, t, 3, h, w] as the model sees them."""
        pictures = pictures.to(self.device)
        return self.latents.encode(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])

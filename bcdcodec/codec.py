"""Encode pictures into content and motion codes and back: video -> codes -> video, in windows, memory flat."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bcdcodec.coding.decoder import Driving, decode_frames, driving_of
from bcdcodec.coding.encoder import StreamOptions, encode_frames
from bcdcodec.coding.rate_control import content_bytes
from bcdcodec.coding.reference_frame import content_tokens
from bcdcodec.container import Content, Head, Motion, Recording
from bcdcodec.container.head import MODEL_FINGERPRINT_BYTES, TABLES_FINGERPRINT_BYTES
from bcdcodec.container.payloads import pack_content
from bcdcodec.errors import FormatError, ModelError
from bcdcodec.files.opening import check_model
from bcdcodec.model_folder import ModelFolder, open_model
from bcdcodec.models.base import Condition
from bcdcodec.models.heads.alignment import LEVELS, Levels
from bcdcodec.models.heads.residual_basis import Portrait
from bcdcodec.models.joint import BCD, Decoded
from bcdcodec.models.latents import Latents, open_latents, to_uint8
from bcdcodec.models.registry import build_model
from bcdcodec.models.windows import aligned_clip, motion_blocks, unreached_clip
from bcdcodec.reenactment.expression import landmarks_moved, moving_as, portrait_turned
from bcdcodec.reenactment.head_pose import turned_landmarks
from bcdcodec.reenactment.landmarks import can_find_landmarks, landmark_finder
from bcdcodec.reenactment.poser import Poser
from bcdcodec.reenactment.poser_folder import load_poser


@dataclass(frozen=True)
class Geometry:
    """Where the coded square lies in the source picture, pixels."""

    source_width: int
    source_height: int
    crop: tuple[int, int, int, int]  # x, y, w, h


def load(name_or_folder: str | os.PathLike = "heads", device: str = "cpu", vae: str | None = None) -> Codec:
    """A codec with a shipped model's weights, or those of a model folder.

    `vae`: a hub name or local folder of the image autoencoder, for models over latents.
    Raises ModelError.
    """
    return Codec(open_model(name_or_folder), device, vae)


class Codec:
    """A loaded model that encodes and decodes."""

    def __init__(self, folder: ModelFolder, device: str = "cpu", vae: str | None = None):
        self.folder, self.config, self.device = folder, folder.config, device
        self.model = load_weights(folder).to(device).eval().requires_grad_(False)
        self.latents: Latents = open_latents(self.config.latent, device, vae)
        if _fast_bf16(device):  # weights are converted once; autocast would convert them at every call
            self.model.decoder.to(torch.bfloat16)
            if self.model.painter is not None:
                self.model.painter.to(torch.bfloat16)

    @property
    def picture_size(self) -> int:
        """Side of the coded square, pixels."""
        return self.config.latent.picture_size

    # ---- encoding

    def encode(
        self, frames: np.ndarray, frame_rate: Fraction | int = 25, profile: str | None = None, kbps: float | None = None
    ) -> Recording:
        """Pictures uint8 [t, h, w, 3] (h = w = picture_size) at a constant rate -> Recording.

        `profile`: static or context; None: context where the model has tables for it. `kbps`: of motion, kbit/s; None: the model's own.
        Raises FormatError for another shape or no frames, ModelError for profile context of a model without its tables.
        """
        size = self.picture_size
        if frames.ndim != 4 or frames.shape[1:] != (size, size, 3) or frames.dtype != np.uint8 or not len(frames):
            raise FormatError(
                f"frames are {frames.dtype} {list(frames.shape)}, expected uint8 [t >= 1, {size}, {size}, 3]"
            )
        rate = Fraction(frame_rate)
        head = self.head(Geometry(size, size, (0, 0, size, size)), 1 / rate, 1, profile=profile)
        contents, motions = [], []
        for item in self.encode_stream(
            enumerate(frames), StreamOptions(time_base=1 / rate, kbps=kbps, profile=profile)
        ):
            (contents if isinstance(item, Content) else motions).append(item)
        motions = tuple(replace(m, pts=None) for m in motions)
        return Recording(replace(head, frame_count=len(frames)), tuple(contents), motions)

    def head(
        self, geometry: Geometry, time_base: Fraction, frame_duration: int, seed: int = 0, profile: str | None = None
    ) -> Head:
        """The HEAD of a recording by this model; `frame_duration` in ticks, 0 when it varies."""
        q, tables = self.config.quantiser, self.folder.tables
        entropy_profile = tables.motion_profile(profile)
        return Head(
            geometry.source_width,
            geometry.source_height,
            geometry.crop,
            self.picture_size,
            self.picture_size,
            time_base.numerator,
            time_base.denominator,
            frame_duration,
            0,
            q.groups,
            q.codes,
            seed,
            self.folder.fingerprint[:MODEL_FINGERPRINT_BYTES],
            tables.fingerprint(entropy_profile, tables.content_profile)[:TABLES_FINGERPRINT_BYTES],
            self.config.name,
            entropy_profile=entropy_profile,
            content_profile=tables.content_profile,
        )

    def encode_stream(
        self, frames: Iterable[tuple[int, np.ndarray]], options: StreamOptions = StreamOptions()
    ) -> Iterator[Content | Motion]:
        """`(pts, uint8 [h, w, 3])` one by one -> of each scene Contents, then Motion chunks with pts; memory stays flat."""
        return encode_frames(self, frames, options)

    @torch.inference_mode()
    def motion_blocks(self, pictures: Iterable[np.ndarray]) -> Iterator[Tensor]:
        """Motion [t, m] of pictures uint8 [h, w, 3] as they come, in blocks that follow one another."""
        yield from motion_blocks(self.model, self.latents, pictures, self.device)

    def motion_features(self, pictures: np.ndarray) -> Tensor:
        """Motion [t, m] of pictures uint8 [t, h, w, 3]."""
        return torch.cat(list(self.motion_blocks(pictures)))

    def codes_of(self, features: Tensor, price: float | None = None, curvature: Tensor | None = None) -> np.ndarray:
        """Codes uint8 [t, g] of motion features [t, m], whose errors cost as `curvature` [t, m, m] says or all alike."""
        with torch.inference_mode():
            return self.model.vq.encode_clip(features, price, curvature).to(torch.uint8).cpu().numpy()

    @torch.inference_mode()
    def portrait(self, content: Content) -> Portrait | None:
        """What a content shows; None for models whose tokens are no picture."""
        return self.model.portrait(*self.dequantised(content))

    @torch.inference_mode()
    def aligned(
        self, pictures: np.ndarray, features: Tensor, portrait: Portrait | None, levels: Levels = LEVELS
    ) -> tuple[Tensor, Tensor | None]:
        """Motion [t, m] that takes the content's picture to pictures uint8 [t, h, w, 3], from the encoder's `features` [t, m].

        And what its errors cost, [t, m, m]. Without a flow basis the features are the motion, and nothing is known of these.
        """
        if self.model.flow_basis is None:
            return features, None
        return aligned_clip(self.model, self.latents, pictures, features, portrait, self.device, levels)

    @torch.inference_mode()
    def unreached(self, pictures: np.ndarray, motion: Tensor, portrait: Portrait) -> Tensor:
        """How far pictures uint8 [t, h, w, 3] are from what a portrait shows in their `motion` [t, m], as aligned: `BCD.unreached` [t, 2]."""
        return unreached_clip(self.model, self.latents, pictures, motion, portrait, self.device)

    @torch.inference_mode()
    def content_of(self, pictures: np.ndarray, features: Tensor, kbps: float | None = None) -> Content:
        """What a clip uint8 [t, h, w, 3] with motion `features` [t, m] looks like, as finely as `rate.content_bytes` allows.

        `kbps`: of the motion beside it; None: the model's own rate.
        """
        config = self.config.content
        budget = content_bytes(config.byte_budget, kbps)
        tokens, m = content_tokens(self.model, self.latents, pictures, features, self.device)
        codes = self.model.vq.encode_clip(m)[0].to(torch.uint8).cpu().numpy() if config.reference_motion else None

        def coded(choice: tuple[int, float]) -> Content:
            values = self.model.content.quantise(tokens, *choice)[0].clamp(-32768, 32767).to(torch.int16).cpu().numpy()
            return Content(0, 0, config.rows, config.columns, choice[0], codes, values)

        def fits(choice: tuple[int, float]) -> bool:
            tables = self.folder.tables
            return len(pack_content(coded(choice), tables, tables.content_profile)[0]) <= budget

        choices = self.model.content.choices()
        return coded(choices[min(bisect_left(choices, True, key=fits), len(choices) - 1)])

    # ---- decoding

    @torch.inference_mode()
    def portrait_moved_by(
        self,
        content: Content,
        driver: Content | None,
        relative: bool = False,
        landmarks: bool = True,
        first: Content | None = None,
    ) -> Portrait | None:
        """What a content shows when the motion is another recording's, whose content is the `driver`, where it is known.

        Where `landmarks` of both are found, its head is turned as the driver's is, unless the motion is to be `relative`, moves in the same places
        and has the driver's pictures of change. Else the poser turns it, and it has none, as amounts of another's mislead.
        `first`: the content with which the driver's recording begins; as its head moves from there on, so does this one.
        """
        shown = self.model.detailed(self.portrait(content))
        if shown is None or shown.appearance is None:
            return shown
        if driver is None:
            return replace(shown, appearance=None)
        other = self.portrait(driver)
        own, theirs = (self._landmarks(p) if landmarks else None for p in (shown, other))
        if own is None or theirs is None:
            posed = shown if self.poser is None or relative else self.poser.posed(shown, other)
            return replace(posed, appearance=None)
        now = theirs  # where the driver's face is in the picture that motion is counted from
        if relative:
            now = landmarks_moved(theirs, self.model.flow_basis(shown.motion - other.motion))
        else:
            began = None if first is None or first.number == driver.number else self._landmarks(self.portrait(first))
            here, there = turned_landmarks(own, theirs, began)
            shown, own = replace(portrait_turned(shown, here, there), motion=other.motion), there[: len(own)]
        return moving_as(shown, own, other.appearance, theirs, now)

    def _landmarks(self, portrait: Portrait) -> np.ndarray | None:
        """Those [68, 2] of a portrait's still, fractions of the picture; None where they are not or cannot be found."""
        return (
            landmark_finder()(to_uint8(self.latents.decode(portrait.still, None))[0]) if can_find_landmarks() else None
        )

    def decode(
        self,
        recording: Recording,
        content: Recording | None = None,
        steps: int | None = None,
        seed: int | None = None,
        landmarks: bool = True,
    ) -> np.ndarray:
        """Pictures uint8 [t, h, w, 3] of a recording; with `content`, that recording's person in this one's motion.

        `steps`, `seed`: else the model's and the recording's own; of no steps at all see `decode_stream`. `landmarks`: join two faces by
        them where they can be found (extra `expression`); drawn faces are joined better by networks alone. Raises FormatError for a
        recording without content, ModelMismatchError for another model's, ModelError as `decode_stream` does.
        """
        check_model(recording.head, self.folder)
        source = recording
        if content is not None:
            check_model(content.head, self.folder)
            source = content
        if not source.contents:
            raise FormatError("the recording holds no content, nothing can be decoded")
        frames = [
            picture
            for _, picture in self.decode_stream(
                iter(recording.motions),
                source.contents if content is None else source.contents[:1],
                recording.head.sampler_seed if seed is None else seed,
                steps,
                driving_of(recording.head, recording.contents, content is not None, landmarks=landmarks),
            )
        ]
        size = self.picture_size
        return np.stack(frames) if frames else np.zeros((0, size, size, 3), np.uint8)

    def decode_stream(
        self,
        motions: Iterator[Motion],
        contents: tuple[Content, ...],
        seed: int,
        steps: int | None = None,
        by: Driving = Driving(),
    ) -> Iterator[tuple[int, np.ndarray]]:
        """`(frame number, uint8 [h, w, 3])` one by one, under one fixed noise picture; memory stays flat.

        With a single content that one serves every motion chunk; `by`: whose motion it is, where it is not the content's own.
        In no steps at all the content's picture is moved by the motion, and no network draws any frame.
        Raises ModelError for no steps of a model whose motion is no flow.
        """
        return decode_frames(self, motions, contents, seed, self.config.diffusion.steps if steps is None else steps, by)

    @cached_property
    def poser(self) -> Poser | None:
        """The model's, loaded when it is first asked for. Raises ModelError for a damaged one."""
        return load_poser(self.folder, self.device)

    @torch.inference_mode()
    def decode_windows(
        self,
        codes: np.ndarray,
        contents: Sequence[Content],
        seed: int = 0,
        steps: int | None = None,
        foreign: bool = False,
    ) -> np.ndarray:
        """Pictures uint8 [b, t, h, w, 3] of codes [b, t, g], at most a window each, under one content each.

        What `decode` makes of one short recording, for many at once; `foreign`: they are other recordings' than the codes, moved by flow alone.
        Raises FormatError for a content of another shape.
        """
        parts = [self.dequantised(content) for content in contents]
        tokens = torch.cat([tokens for tokens, _ in parts])  # [b, n, d]
        reference = torch.cat([r for _, r in parts]) if self.config.content.reference_motion else None
        b, t = codes.shape[:2]
        padded = np.concatenate([codes, codes[:, -1:].repeat(self.config.window.length - t, axis=1)], axis=1)
        m_hat = self.model.vq.lookup(torch.from_numpy(padded.astype(np.int64)).to(self.device))
        noise = self.noise(seed).expand(b, padded.shape[1], -1, -1, -1)
        of_others = torch.ones(b, device=self.device) if foreign else None
        portrait = self.model.detailed(self.model.portrait(tokens, reference))
        if foreign and portrait is not None:
            portrait = replace(portrait, appearance=None)
        condition = Condition(tokens, m_hat, reference, foreign=of_others, portrait=portrait)
        decoded = self.model.decode(condition, noise, self.config.diffusion.steps if steps is None else steps)
        pictures = to_uint8(self.pictures_of(decoded)[:, :t].flatten(0, 1))
        return pictures.reshape(b, t, *pictures.shape[1:])

    def pictures_of(self, decoded: Decoded) -> Tensor:
        """Pictures in [-1, 1], [b, t, 3, h, w]."""
        large = None if decoded.large is None else decoded.large.flatten(0, 1)
        return self.latents.decode(decoded.latents.flatten(0, 1), large).unflatten(0, decoded.latents.shape[:2])

    def noise(self, seed: int) -> Tensor:
        """The noise picture of a seed, the same for every frame: [1, 1, c, h, w]."""
        latent = self.config.latent
        shape = (1, 1, latent.channels, latent.size, latent.size)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device)

    @torch.inference_mode()
    def still(self, recording: Recording, number: int = 0) -> np.ndarray | None:
        """The picture a content holds, uint8 [h, w, 3]; None for models whose tokens are no picture."""
        shown = self.model.detailed(self.portrait(recording.contents[number]))
        return None if shown is None else to_uint8(self.latents.decode(shown.still, shown.detail))[0]

    def dequantised(self, content: Content) -> tuple[Tensor, Tensor | None]:
        """Tokens [1, n, d] and reference motion [1, g * d'] of a file's content."""
        config = self.config.content
        if (content.rows, content.columns, content.values.shape[1]) != (config.rows, config.columns, config.channels):
            raise FormatError(
                f"content is {content.rows}x{content.columns}x{content.values.shape[1]}, "
                f"the model has {config.rows}x{config.columns}x{config.channels}"
            )
        if content.step >= config.steps:
            raise FormatError(f"content has step index {content.step}, the model knows 0 to {config.steps - 1}")
        if config.reference_motion != (content.reference_codes is not None):
            raise FormatError("content and model disagree on the reference frame's motion codes")
        values = torch.from_numpy(content.values.astype(np.int32))[None].to(self.device)
        tokens = self.model.content.dequantise(values, content.step)
        reference = None
        if content.reference_codes is not None:
            codes = torch.from_numpy(content.reference_codes.astype(np.int64))[None, None].to(self.device)
            reference = self.model.vq.lookup(codes)[:, 0]
        return tokens, reference


def load_weights(folder: ModelFolder) -> BCD:
    """The network of a model folder in float32. Raises ModelError when weights and config disagree."""
    from safetensors.torch import load_file

    model = build_model(folder.config)
    tensors: dict[str, Tensor] = {}
    try:
        for path in folder.weight_files:
            tensors.update(load_file(path))
    except Exception as error:  # safetensors raises its own untyped errors
        raise ModelError(f"weights in {folder.path} are not readable: {error}") from error
    try:
        model.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})
    except RuntimeError as error:
        raise ModelError(f"weights in {folder.path} do not fit its config: {str(error).splitlines()[0]}") from error
    return model


def _fast_bf16(device: str) -> bool:
    """Whether bfloat16 matrix products are faster than float32 there; without hardware they are far slower."""
    return device.startswith("cuda") or torch.cpu._is_avx512_bf16_supported()

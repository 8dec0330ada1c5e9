"""The codec as the benchmarks use it: files written, files decoded, networks left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from bcdcodec.benchmarks.measure.rate import all_codes, frame_bits, static_bits
from bcdcodec.codec import load
from bcdcodec.container import Recording, open_bcd, write_recording
from bcdcodec.entropy.profiles import profile_name
from bcdcodec.files.encode_file import EncodeOptions, encode_file
from bcdcodec.files.recording import read
from bcdcodec.models.faces.geometry import Geometry, GeometryNetwork
from bcdcodec.video import Crop, read_pictures

WITHOUT_DECODER = "decoder and refiner"
MOTION_ENCODER = "motion encoder"


@dataclass(frozen=True)
class CodedFile:
    """A clip as a file at one rate."""

    recording: Recording
    setting: str
    seconds: float
    sizes: dict[str, float]  # bytes: total, motion, content, container, audio, content_max; contents; information, bits

    @property
    def crop(self) -> Crop:
        return Crop(*self.recording.head.crop)


UNSEEN = 50.0  # minus this is the logit of what is nowhere


@dataclass(frozen=True)
class Part:
    """A network of a model, and how the model runs without it."""

    name: str
    encoding: bool  # it takes part in encoding, so the file is written anew
    left_out: Callable[[], AbstractContextManager]  # in which the model runs without it


class CodecRun:
    """A loaded model."""

    def __init__(self, model: str):
        self.model, self.codec = model, load(model)
        self.size: int = self.codec.picture_size
        self.tables = self.codec.folder.tables

    def pictures(self, path: Path, coded: CodedFile | None = None, frames: int | None = None) -> np.ndarray:
        """A clip uint8 [t, size, size, 3] as the model sees it: its centre square, or that of a file."""
        return read_pictures(path, None if coded is None else coded.crop, self.size)[:frames]

    def encode(
        self, source: Path | np.ndarray, target: Path, profile: str | None, kbps: float | None = None
    ) -> CodedFile:
        """A clip (a file, or pictures uint8 [t, size, size, 3] at 25 a second) written to `target` and read back.

        `kbps`: of the motion; None: the model's default rate. Raises BcdError for a clip that cannot be coded.
        """
        if isinstance(source, Path):
            encode_file(source, target, EncodeOptions(self.model, profile=profile, kbps=kbps))
        else:
            write_recording(target, self.codec.encode(source, profile=profile, kbps=kbps), self.tables)
        recording = read(target, self.model)
        with open_bcd(str(target)) as reader:
            counts, seconds = reader.byte_counts, reader.duration_seconds
            each = [size for name, _, size in reader.chunks if name == "CONT"]
        sizes = {name: getattr(counts, name) for name in ("total", "motion", "content", "container", "audio")} | {
            "contents": len(each),
            "content_max": max(each),
            "ideal_motion_bits": float(frame_bits(recording, self.tables).sum()),
            "static_motion_bits": float(static_bits(all_codes(recording), self.tables.motion).sum()),
        }
        rate = "default rate" if kbps is None else f"{kbps:g} kbit/s"
        return CodedFile(recording, f"{rate}, {profile_name(recording.head.entropy_profile)}", seconds, sizes)

    def decode(self, coded: CodedFile, steps: int | None = None) -> np.ndarray:
        """Pictures uint8 [t, size, size, 3] of a file."""
        return self.codec.decode(coded.recording, steps=steps)

    def held(self, coded: CodedFile) -> np.ndarray | None:
        """The reference image of the file's first scene, uint8 [size, size, 3]; None for models without one."""
        return self.codec.reference_image(coded.recording)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The networks that the model can run without."""
        model, found = self.codec.model, []
        if hasattr(model, "base"):
            found = [
                Part("geometry", True, _with(model.base.geometry, "forward", partial(_resting, model.base.geometry))),
                Part("enhancement layer", False, _with(model, "_corrected", lambda shown, motion: shown)),
            ]
            if model.base.surroundings is not None:  # a rule: as the head, less the further away
                found.append(Part("surroundings", True, _with(model.base, "surroundings", None)))
            if model.base.drawing is not None:
                found.append(Part("drawing", False, _with(model.base, "drawing", None)))
            return tuple(found)
        if model.warps:  # decoding in no steps asks neither the decoder nor the refiner
            found.append(Part(WITHOUT_DECODER, False, nullcontext))
        for attribute, name in (("refiner", "refiner"), ("denoiser", "denoiser of the reference")):
            if hasattr(model, attribute):
                found.append(Part(name, False, _with(model, attribute, _Identity())))
        if hasattr(model, "residual_basis"):
            found.append(Part("residual basis", False, _with(model, "residual_basis", lambda tokens, motion: None)))
        if model.warps:  # the alignment starts from no motion instead of the network's estimate
            read = model.motion
            found.append(Part(MOTION_ENCODER, True, _with(model, "motion", lambda z: torch.zeros_like(read(z)))))
        return tuple(found)

    def decode_without(self, part: Part, source: Path | np.ndarray, coded: CodedFile, target: Path) -> tuple:
        """The file (written anew into `target` where the part encodes) and its pictures without a part."""
        with part.left_out():
            if part.encoding:
                kbps = coded.setting.split(" kbit/s")[0] if " kbit/s" in coded.setting else None
                again = self.codec.encode(
                    self.pictures(source, coded) if isinstance(source, Path) else source,
                    profile=profile_name(coded.recording.head.entropy_profile),
                    kbps=None if kbps is None else float(kbps),
                )
                counts = write_recording(target, again, self.tables)
                coded = replace(
                    coded, recording=again, sizes=coded.sizes | {"total": counts.total, "motion": counts.motion}
                )
            return coded, self.decode(coded, 0 if part.name == WITHOUT_DECODER else None)


@lru_cache(maxsize=1)
def codec_run(model: str) -> CodecRun:
    """A model, loaded once a process."""
    return CodecRun(model)


class _Identity(torch.nn.Module):
    def forward(self, x: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        return x


def _with(owner: torch.nn.Module, name: str, value: object) -> Callable[[], AbstractContextManager]:
    """Contexts in which an attribute, a network or a method, has another value."""

    @contextmanager
    def changed() -> Iterator[None]:
        own, kept = name in vars(owner) or name in owner._modules, getattr(owner, name)
        setattr(owner, name, value)
        try:
            yield
        finally:
            if own:
                setattr(owner, name, kept)
            else:  # a method of the class
                delattr(owner, name)

    return changed


def _resting(network: GeometryNetwork, reference: torch.Tensor, own: torch.Tensor, motion: torch.Tensor) -> Geometry:
    """The face of the reference as it is, in place, size and roll of the frame."""
    nothing = reference.new_zeros(len(motion), 1, network.config.cells, network.config.cells)
    flow, fill = nothing.expand(-1, 2, -1, -1), nothing.expand(-1, 3, -1, -1)
    return Geometry(flow, nothing - UNSEEN, nothing - UNSEEN, fill)

"""All integer tables of a model as one safetensors file, the only thing that coding needs of a model."""

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bcdcodec.entropy import learned_content
from bcdcodec.entropy.content import AnyContentModel, ContentModel
from bcdcodec.entropy.context_tables import PAIRS, ContextTables, array_layout
from bcdcodec.entropy.learned_content import LearnedContentModel
from bcdcodec.entropy.profiles import (
    CONTENT_LEARNED,
    CONTENT_NEIGHBOURS,
    PROFILE_CONTEXT,
    PROFILE_STATIC,
    profile_number,
)
from bcdcodec.entropy.tables import FrequencyTables
from bcdcodec.errors import ModelError

LAYOUT_VERSION = 1
MAX_FILE_BYTES = 64 << 20
_NAMES = {
    "motion_frequencies": (np.uint32, 2),
    "content_frequencies": (np.uint32, 2),
    "band_of_channel": (np.uint8, 1),
    "predicted_channels": (np.uint32, 1),
    "layout_version": (np.uint32, 1),
}
_CONTEXT = "context_"  # before the names of ContextTables, all of which a file has or none; pairs may be missing
_CONTEXT_NAMES = {f"{_CONTEXT}{name}" for name in ("first", *array_layout(1, 2))}
_LEARNED = "learned_"  # before the names of LearnedContentModel, all of which a file has or none
_LEARNED_NAMES = {f"{_LEARNED}{name}" for name in ("frequencies", *learned_content.array_layout(1, 1))}


@dataclass(frozen=True, eq=False)
class ModelTables:
    """Motion tables [g, k] and the content model of one model; k is at most 256, a code is one byte."""

    motion: FrequencyTables  # [g, k]
    content: ContentModel
    context: ContextTables | None = None  # for g groups of k codes; None: the model codes in profile static only
    learned: LearnedContentModel | None = (
        None  # of as many channels as `content`; None: the model codes contents by that alone
    )

    def __post_init__(self):
        if self.motion.n_symbols > 256:
            raise ModelError(f"motion tables have {self.motion.n_symbols} codes a group, expected at most 256")
        if self.context is not None and self.context.first.frequencies.shape != self.motion.frequencies.shape:
            found, expected = list(self.context.first.frequencies.shape), list(self.motion.frequencies.shape)
            raise ModelError(f"context tables are for {found} groups and codes, motion tables for {expected}")
        if self.learned is not None:
            found, expected = ((each.channels, each.predicted_channels) for each in (self.learned, self.content))
            if found != expected:
                raise ModelError(
                    f"learned content tables are for {found[0]} channels, {found[1]} of them predicted, "
                    f"the others for {expected[0]}, {expected[1]}"
                )

    @property
    def groups(self) -> int:
        return self.motion.n_tables

    @property
    def codes(self) -> int:
        return self.motion.n_symbols

    @property
    def content_profile(self) -> int:
        """The profile that contents are written in: the best that the model has tables for."""
        return CONTENT_NEIGHBOURS if self.learned is None else CONTENT_LEARNED

    def motion_profile(self, name: str | None = None) -> int:
        """The profile that motion is written in: that of the name, else the best that the model has tables for.

        Raises BcdError for a name that there is not, ModelError if the model has no tables for it.
        """
        if name is None:
            return PROFILE_STATIC if self.context is None else PROFILE_CONTEXT
        profile = profile_number(name)
        if profile == PROFILE_CONTEXT:
            self.context_tables()
        return profile

    def content_model(self, profile: int) -> AnyContentModel:
        """Return what codes contents in a profile; ModelError if the model has no tables for it."""
        if profile != CONTENT_LEARNED:
            return self.content
        if self.learned is None:
            raise ModelError("the model has no learned content tables: use the model that the file was made with")
        return self.learned

    def fingerprint(self, profile: int = PROFILE_STATIC, content_profile: int = CONTENT_NEIGHBOURS) -> bytes:
        """Return the SHA-256 (32 bytes) of both tables' fingerprints, u32 predicted channels and a byte for each band.

        In content profile learned: the SHA-256 of that and of these tables' fingerprint; in profile context then the
        SHA-256 of that and of the context tables' fingerprint. So a model that gets such tables later keeps its files.
        Raises ModelError if it has none.
        """
        content = self.content
        digest = hashlib.sha256(self.motion.fingerprint() + content.tables.fingerprint())
        digest.update(struct.pack("<I", content.predicted_channels) + content.band_of_channel.tobytes())
        found = digest.digest()
        if content_profile == CONTENT_LEARNED:
            found = hashlib.sha256(found + self.content_model(content_profile).fingerprint()).digest()
        if profile == PROFILE_CONTEXT:
            found = hashlib.sha256(found + self.context_tables().fingerprint()).digest()
        return found

    def context_tables(self) -> ContextTables:
        """Return the tables of profile context; ModelError if the model has none."""
        if self.context is None:
            raise ModelError("the model has no context tables: use profile static, or export the model again")
        return self.context

    def save(self, path: str | Path) -> None:
        """Write the tables to `path`; ModelError if it cannot be written."""
        from safetensors.numpy import save

        arrays = {
            "motion_frequencies": self.motion.frequencies,
            "content_frequencies": self.content.tables.frequencies,
            "band_of_channel": self.content.band_of_channel,
            "predicted_channels": np.array([self.content.predicted_channels], np.uint32),
            "layout_version": np.array([LAYOUT_VERSION], np.uint32),
        }
        if self.context is not None:
            arrays[f"{_CONTEXT}first"] = self.context.first.frequencies
            for name in array_layout(self.groups, self.codes):
                arrays[f"{_CONTEXT}{name}"] = getattr(self.context, name)
            if self.context.pairs is not None:
                arrays[f"{_CONTEXT}{PAIRS}"] = self.context.pairs
        if self.learned is not None:
            arrays[f"{_LEARNED}frequencies"] = self.learned.tables.frequencies
            for name in learned_content.array_layout(*self.learned.unit_bias.shape):
                arrays[f"{_LEARNED}{name}"] = getattr(self.learned, name)
        try:
            Path(path).write_bytes(save(arrays))
        except OSError as error:
            raise ModelError(f"cannot write tables {path}: {error.strerror}") from error

    @classmethod
    def load(cls, path: str | Path) -> "ModelTables":
        """Read the tables from `path`; ModelError if it is missing or anything in it is not as written by `save`."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            size = Path(path).stat().st_size
            if size > MAX_FILE_BYTES:
                raise ModelError(f"tables {path} are {size} bytes, the limit is {MAX_FILE_BYTES}")
            arrays = load(Path(path).read_bytes())
        except OSError as error:
            raise ModelError(f"cannot read tables {path}: {error.strerror}") from error
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"tables {path} are not a safetensors file: {error}") from error
        with_context = _CONTEXT_NAMES | {f"{_CONTEXT}{PAIRS}"}
        if set(arrays) - set(_NAMES) - _LEARNED_NAMES not in (set(), _CONTEXT_NAMES, with_context) or not (
            set(_NAMES) <= set(arrays) and set(arrays) & _LEARNED_NAMES in (set(), _LEARNED_NAMES)
        ):
            expected = f"{sorted(_NAMES)}, or also {sorted(_CONTEXT_NAMES)} or {sorted(_LEARNED_NAMES)}"
            raise ModelError(f"tables {path} hold {sorted(arrays)}, expected {expected}")
        for name, (dtype, axes) in _NAMES.items():
            if arrays[name].dtype != dtype or arrays[name].ndim != axes:
                found = f"{arrays[name].dtype} {list(arrays[name].shape)}"
                raise ModelError(f"tables {path}: {name} is {found}, expected {np.dtype(dtype)} with {axes} axes")
        for name in ("predicted_channels", "layout_version"):
            if arrays[name].size != 1:
                raise ModelError(f"tables {path}: {name} has {arrays[name].size} values, expected 1")
        version = int(arrays["layout_version"][0])
        if version != LAYOUT_VERSION:
            raise ModelError(f"tables {path} have layout {version}, this version reads {LAYOUT_VERSION}")
        content = ContentModel(
            tables=FrequencyTables(arrays["content_frequencies"]),
            band_of_channel=arrays["band_of_channel"],
            predicted_channels=int(arrays["predicted_channels"][0]),
        )
        context = None
        if _CONTEXT_NAMES <= set(arrays):
            found = {name.removeprefix(_CONTEXT): array for name, array in arrays.items() if name.startswith(_CONTEXT)}
            context = ContextTables(FrequencyTables(found.pop("first")), **found)
        learned = None
        if _LEARNED_NAMES <= set(arrays):
            found = {name.removeprefix(_LEARNED): array for name, array in arrays.items() if name.startswith(_LEARNED)}
            learned = LearnedContentModel(
                FrequencyTables(found.pop("frequencies")), content.predicted_channels, **found
            )
        return cls(FrequencyTables(arrays["motion_frequencies"]), content, context, learned)

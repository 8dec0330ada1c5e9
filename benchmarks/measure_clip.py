"""One clip: coded to a file by a model, decoded from it, and coded by anchors; all measured alike."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.codec_runs import CodecRun, CodedFile, codec_run
from bcdcodec.benchmarks.contact_sheet import contact_sheet
from bcdcodec.benchmarks.measure.anchors import Anchor, anchor_key, code
from bcdcodec.benchmarks.measure.judges import Judges, Seen, judges_of
from bcdcodec.benchmarks.measure.networks import set_features
from bcdcodec.benchmarks.measure.rate import all_codes, code_counts, frame_bits
from bcdcodec.benchmarks.rows import (
    BCD,
    MEASURES_VERSION,
    ClipRows,
    Row,
    Strip,
    clip_folder,
    code_of_codec,
    digest_of,
    kept,
    kept_rows,
)
from bcdcodec.errors import VideoError
from bcdcodec.video import encode_png

MOMENTS = 6  # pictures in a strip
FEATURES = "features.npz"  # in a clip's folder: what FID and FVD are computed from, at the default rate


@dataclass(frozen=True)
class Settings:
    """What is measured of every clip; plain values, so that it can be sent to another process."""

    model: str  # name or folder
    model_key: str  # changes with its weights or tables
    profile: str  # of the entropy coder
    kbps: tuple[float, ...]  # rates of motion, kbit/s, beside the model's default
    against: tuple[Anchor, ...]
    faces: bool
    out: Path
    networks: Path | None = None  # folder of the user's networks
    ablate: bool = False  # also without each network of the model
    frames: int | None = None  # of each clip the first so many; None: all
    half_size: bool = True  # anchors at half the size, too


def measure_clip(path: Path, settings: Settings) -> ClipRows:
    """The rows of one clip, from the store where they are. Raises BcdError for a clip that cannot be coded."""
    try:
        depends = {
            "measures": MEASURES_VERSION,
            "sha256": digest_of(path),
            "model": settings.model_key,
            "code": code_of_codec(),
            "judges": judges_of(settings.networks, settings.faces).name,
            "settings": [settings.profile, settings.kbps, settings.ablate, settings.frames, settings.half_size]
            + [a.settings for a in settings.against],
        }
    except OSError as error:
        raise VideoError(f"cannot read {path}: {error.strerror}") from error
    folder = clip_folder(settings.out, path)
    return kept_rows(folder / "rows.json", depends, lambda: _measured(path, folder, settings))


def _measured(path: Path, folder: Path, settings: Settings) -> ClipRows:
    folder.mkdir(parents=True, exist_ok=True)
    run, judges = codec_run(settings.model), judges_of(settings.networks, settings.faces)
    clip: Path | np.ndarray = path if settings.frames is None else run.pictures(path, frames=settings.frames)
    default = run.encode(clip, folder / "clip.bcd", settings.profile)
    frames = run.pictures(path, default) if isinstance(clip, Path) else clip
    source = judges.look(frames)
    one = _Clip(path.stem, source, default.seconds, run, judges)
    rows, shown = [], [("source", frames)]
    for kbps in (None, *settings.kbps):
        coded = default if kbps is None else run.encode(clip, folder / f"clip-{kbps:g}.bcd", settings.profile, kbps)
        decoded = run.decode(coded)
        rows.append(one.row(coded, decoded))
        shown.append((f"bcd, {coded.setting}: {rows[-1].kbps:.1f} kbit/s whole file", decoded))
        if coded is default and settings.networks is not None:
            _keep_features(folder, settings.networks, decoded, frames)
    if settings.ablate:
        for part in run.parts:
            coded, decoded = run.decode_without(part, clip, default, folder / "ablated.bcd")
            rows.append(one.row(coded, decoded, part.name))
    for anchor in settings.against:
        for side in (run.size, run.size // 4 * 2)[: 1 + settings.half_size]:
            ladder, strip = one.anchor(anchor, side, rows[0].kbps)
            rows += ladder
            shown.append(strip)
    strips = [Strip(label, _write_strip(folder, i, clip)) for i, (label, clip) in enumerate(shown)]
    counts = code_counts(all_codes(default.recording), run.tables.codes)
    bits = frame_bits(default.recording, run.tables)
    return ClipRows(path.stem, rows, bits.tolist(), counts.tolist(), strips)


@dataclass(frozen=True)
class _Clip:
    name: str
    source: Seen
    seconds: float
    run: CodecRun
    judges: Judges

    def row(self, coded: CodedFile, decoded: np.ndarray, without: str = "") -> Row:
        """The row of a file of the model. The held reference is not measured again where a part is left out."""
        held = None if without else self.run.held(coded)
        total = int(coded.sizes["total"])
        return self._row(BCD, coded.setting, self.run.size, total, coded.sizes, decoded, held, without)

    def anchor(self, anchor: Anchor, side: int, kbps: float) -> tuple[list[Row], tuple[str, np.ndarray]]:
        """The ladder of an anchor at one coded size, and label and frames of its rung nearest to `kbps`."""
        frames = self.source.frames
        rate = Fraction(len(frames) / self.seconds).limit_denominator(1001)
        key = anchor_key(anchor, frames, rate, f"{MEASURES_VERSION} {side} {self.judges.name}")
        path = anchor_cache() / f"{key}.json"
        pictures: dict[int, np.ndarray] = {}

        def coded(quality: int) -> int:
            done = code(anchor, frames, rate, quality, side)
            pictures[quality] = done.frames
            return done.stream_bytes

        def compute() -> dict:
            rows = [
                self._row(anchor.name, f"quality {q}", side, coded(q), {}, pictures[q], pictures[q][0])
                for q in anchor.qualities
            ]
            return {"rows": [asdict(row) for row in rows]}

        found = [Row(**{**raw, "clip": self.name}) for raw in kept(path, {"key": key}, compute)["rows"]]
        near = min(range(len(found)), key=lambda i: abs(found[i].kbps - kbps))
        quality = anchor.qualities[near]
        if quality not in pictures:
            coded(quality)
        label = f"{anchor.name}, quality {quality}, coded at {side} x {side}: {found[near].kbps:.1f} kbit/s"
        return found, (label, pictures[quality])

    def _row(
        self,
        codec: str,
        setting: str,
        side: int,
        total: int,
        sizes: dict,
        decoded: np.ndarray,
        held: np.ndarray | None,
        without: str = "",
    ) -> Row:
        clips = {"measures": decoded}
        if held is not None:
            clips["held"] = np.broadcast_to(held, self.source.frames.shape)
        found = {
            name: self.judges.compare(self.judges.look(clip, self.source), self.source, quick=bool(without))
            for name, clip in clips.items()
        }
        return Row(
            self.name, codec, setting, side, len(decoded), self.seconds, total, sizes, found["measures"],
            found.get("held", {}), without,
        )  # fmt: skip


def anchor_cache() -> Path:
    """The folder where rows of anchors are kept for all runs: $XDG_CACHE_HOME/bcdcodec/anchors."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bcdcodec" / "anchors"


def _keep_features(folder: Path, networks: Path, decoded: np.ndarray, source: np.ndarray) -> None:
    kinds = {"": set_features(networks, decoded), " source": set_features(networks, source)}
    np.savez(folder / FEATURES, **{name + kind: x for kind, found in kinds.items() for name, x in found.items()})


def _write_strip(folder: Path, number: int, clip: np.ndarray) -> str:
    """The same moments of every clip uint8 [t, h, w, 3] side by side as a PNG; the name of its file."""
    name = f"strip-{number:02d}.png"
    (folder / name).write_bytes(encode_png(contact_sheet([clip], MOMENTS)))
    return name

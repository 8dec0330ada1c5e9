"""One clip: coded to a file by a model, decoded from it, and coded by classical codecs; all measured alike."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.faces import FaceMeter, compare_faces
from bcdcodec.benchmarks.information import all_codes, code_counts, frame_bits, static_bits
from bcdcodec.benchmarks.opponents import OPPONENTS, code
from bcdcodec.benchmarks.quality import flicker, luma, measure_quality
from bcdcodec.benchmarks.rows import BCD, STILL, ClipRows, Row, RowStore, Strip, depends_on
from bcdcodec.clip import read
from bcdcodec.codec import Codec, load
from bcdcodec.container import Recording, open_bcd
from bcdcodec.errors import VideoError
from bcdcodec.transcode import encode_file
from bcdcodec.video import Crop, encode_png, read_frames

MOMENTS = 6  # pictures in a strip


@dataclass(frozen=True)
class Settings:
    """What is measured of every clip; plain values, so that it can be sent to another process."""

    model: str  # name or folder
    model_key: str  # changes with its weights or tables
    against: tuple[str, ...]  # names in OPPONENTS
    faces: bool
    out: Path

    def depends(self, path: Path) -> dict:
        return depends_on(path, self.model_key, [OPPONENTS[name].settings for name in self.against], self.faces)


@dataclass(frozen=True)
class _Source:
    """The clip as the model sees it."""

    clip: str
    frames: np.ndarray  # uint8 [t, size, size, 3]
    seconds: float
    faces: list | None  # of `FaceMeter.faces`
    flicker: float


def measure_clip(path: Path, settings: Settings) -> ClipRows:
    """The rows of one clip, from the store where they are. Raises BcdError for a clip that cannot be coded."""
    store = RowStore(settings.out / "clips")
    try:
        depends = settings.depends(path)
    except OSError as error:
        raise VideoError(f"cannot read {path}: {error.strerror}") from error
    known = store.load(path, depends)
    if known is not None:
        return known
    folder = store.clip_folder(path)
    folder.mkdir(parents=True, exist_ok=True)
    codec, meter = cached_codec(settings.model), cached_meter() if settings.faces else None

    target = folder / "clip.bcd"
    encode_file(path, target, settings.model)
    recording = read(target, settings.model)
    with open_bcd(str(target)) as reader:
        counts, seconds, head = reader.byte_counts, reader.duration_seconds, reader.head
    with read_frames(path, Crop(*head.crop), codec.picture_size) as video:
        frames = np.stack([picture for _, picture in video])
    source = _Source(path.stem, frames, seconds, meter.faces(frames) if meter else None, flicker(*[luma(frames)] * 2))

    codes, tables = all_codes(recording), codec.folder.tables
    bits = frame_bits(recording, tables)
    decoded = codec.decode(recording)
    sizes = {"motion_bytes": counts.motion, "content_bytes": counts.content, "container_bytes": counts.container,
             "audio_bytes": counts.audio, "ideal_motion_bits": float(bits.sum()),
             "static_motion_bits": float(static_bits(codes, tables.motion).sum())}
    setting = f"target {codec.config.quantiser.target_bits:g} bits a frame"
    rows = [_row(source, BCD, setting, codec.picture_size, counts.total, decoded, meter, sizes)]
    shown = [("source", frames), (f"bcd, {rows[0].kbps:.1f} kbit/s whole file", decoded)]
    still = _still(codec, recording, len(frames))
    if still is not None:
        content = counts.content + counts.container
        rows.append(_row(source, STILL, "held", codec.picture_size, content, still, None, {}))

    rate = Fraction(len(frames) / seconds).limit_denominator(1001)
    for name in settings.against:
        for side in (codec.picture_size, codec.picture_size // 4 * 2):
            coded = [code(OPPONENTS[name], frames, rate, quality, side) for quality in OPPONENTS[name].qualities]
            ladder = [_row(source, name, f"crf {quality}", side, c.stream_bytes, c.frames, meter, {})
                      for quality, c in zip(OPPONENTS[name].qualities, coded)]
            rows += ladder
            near = min(range(len(ladder)), key=lambda i: abs(ladder[i].kbps - rows[0].kbps))
            shown.append((f"{name} {ladder[near].setting}, coded at {side} x {side}, {ladder[near].kbps:.1f} kbit/s",
                          coded[near].frames))
    result = ClipRows(path.stem, rows, bits.tolist(), code_counts(codes, head.codes).tolist(), _strips(folder, shown))
    store.save(path, depends, result)
    return result


def _row(source: _Source, codec: str, setting: str, side: int, total: int, decoded: np.ndarray,
         meter: FaceMeter | None, sizes: dict) -> Row:
    quality = measure_quality(decoded, source.frames)
    faces = compare_faces(source.faces, meter.faces(decoded)) if meter else None
    named = dict.fromkeys(("motion_bytes", "content_bytes", "container_bytes", "audio_bytes", "ideal_motion_bits",
                           "static_motion_bits")) | sizes
    return Row(
        source.clip, codec, setting, side, len(decoded), source.seconds, total, **named,
        psnr=quality.psnr, ssim=quality.ssim, ms_ssim=quality.ms_ssim, flicker=quality.flicker,
        source_flicker=source.flicker,
        identity_distance=faces.identity_distance if faces else None,
        landmark_error=faces.landmark_error if faces else None,
        pose_error=faces.pose_error if faces else None,
        faces_found=faces.found if faces else None, faces_expected=faces.frames if faces else None,
        mouth=faces.mouth if faces else [], eyes=faces.eyes if faces else [], brows=faces.brows if faces else [])


def _still(codec: Codec, recording: Recording, frames: int) -> np.ndarray | None:
    """The content picture, held for the whole clip; None for models without one."""
    picture = codec.still(recording)
    return None if picture is None else np.broadcast_to(picture, (frames, *picture.shape))


def _strips(folder: Path, shown: list[tuple[str, np.ndarray]]) -> list[Strip]:
    """Write the same moments of every clip uint8 [t, h, w, 3] as one PNG each."""
    strips = []
    for number, (label, clip) in enumerate(shown):
        moments = np.linspace(0, len(clip) - 1, MOMENTS).round().astype(int)
        name = f"strip-{number:02d}.png"
        (folder / name).write_bytes(encode_png(np.ascontiguousarray(np.concatenate(list(clip[moments]), 1))))
        strips.append(Strip(label, name))
    return strips


@lru_cache(maxsize=1)
def cached_codec(model: str) -> Codec:
    """The codec of a model, loaded once a process."""
    return load(model)


@lru_cache(maxsize=1)
def cached_meter() -> FaceMeter:
    """The face meter, loaded once a process."""
    return FaceMeter()

"""One clip: coded to a file by a model, decoded from it, and coded by classical codecs; all measured alike."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.faces import FaceMeter, compare_faces
from bcdcodec.benchmarks.information import all_codes, code_counts, frame_bits, static_bits
from bcdcodec.benchmarks.networks import FILES, NetworkMeasures, found_in, measure_networks, set_features
from bcdcodec.benchmarks.opponents import OPPONENTS, Opponent, code
from bcdcodec.benchmarks.quality import flicker, luma, measure_quality
from bcdcodec.benchmarks.rows import BCD, STILL, ClipRows, Row, RowStore, Strip, depends_on
from bcdcodec.codec import Codec, load
from bcdcodec.container import Recording, open_bcd
from bcdcodec.entropy.profiles import profile_name
from bcdcodec.errors import VideoError
from bcdcodec.files.encode_file import EncodeOptions, encode_file
from bcdcodec.files.recording import read
from bcdcodec.video import Crop, encode_png, read_pictures

MOMENTS = 6  # pictures in a strip
FEATURES = "features.npz"  # in a clip's folder: what FID and FVD are computed from, at the model's own rate


@dataclass(frozen=True)
class Settings:
    """What is measured of every clip; plain values, so that it can be sent to another process."""

    model: str  # name or folder
    model_key: str  # changes with its weights or tables
    profile: str  # of the entropy coder
    kbps: tuple[float, ...]  # rates of motion, kbit/s, beside the model's own
    against: tuple[str, ...]  # names in OPPONENTS
    faces: bool
    out: Path
    networks: Path | None = None  # folder of `networks.FILES`

    def depends(self, path: Path) -> dict:
        coded = [self.profile, *(f"{rate:g}" for rate in self.kbps)]
        return depends_on(
            path,
            self.model_key,
            coded + [OPPONENTS[name].settings for name in self.against],
            self.faces,
            self._network_files(),
        )

    def _network_files(self) -> list[str]:
        """Names and sizes of the networks."""
        if self.networks is None:
            return []
        return [f"{FILES[name]} {(self.networks / FILES[name]).stat().st_size}" for name in found_in(self.networks)]


@dataclass(frozen=True)
class _Judges:
    """What is asked beside the picture measures."""

    faces: FaceMeter | None
    networks: Path | None


@dataclass(frozen=True)
class _Source:
    """The clip as the model sees it."""

    clip: str
    frames: np.ndarray  # uint8 [t, size, size, 3]
    seconds: float
    faces: list | None  # of `FaceMeter.faces`
    flicker: float


@dataclass(frozen=True)
class _Coded:
    """The clip as a file at one rate."""

    recording: Recording
    setting: str
    crop: tuple[int, int, int, int]
    seconds: float
    total_bytes: int
    sizes: dict[str, float]  # of Row's fields


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
    codec, judges = cached_codec(settings.model), _Judges(cached_meter() if settings.faces else None, settings.networks)

    own = _coded(path, folder, settings, None, codec)
    frames = read_pictures(path, Crop(*own.crop), codec.picture_size)
    bright = luma(frames)
    source = _Source(
        path.stem, frames, own.seconds, judges.faces.faces(frames) if judges.faces else None, flicker(bright, bright)
    )
    rows, shown = [], [("source", frames)]
    for coded in (own, *(_coded(path, folder, settings, kbps, codec) for kbps in settings.kbps)):
        decoded = codec.decode(coded.recording)
        rows.append(
            _row(source, BCD, coded.setting, codec.picture_size, coded.total_bytes, decoded, judges, coded.sizes)
        )
        if coded is own and settings.networks is not None:
            both = {"": decoded, " source": frames}
            features = {kind: set_features(settings.networks, clip) for kind, clip in both.items()}
            np.savez(
                folder / FEATURES, **{name + kind: x for kind, found in features.items() for name, x in found.items()}
            )
        shown.append((f"bcd {coded.setting}: {rows[-1].kbps:.1f} kbit/s whole file", decoded))
    still = codec.reference_image(own.recording)
    if still is not None:  # models over latents have none
        content = rows[0].content_bytes + rows[0].container_bytes
        rows.append(
            _row(source, STILL, "held", codec.picture_size, content, np.broadcast_to(still, frames.shape), judges, {})
        )
    for name in settings.against:
        for side in (codec.picture_size, codec.picture_size // 4 * 2):
            ladder, nearest = _opponent(source, OPPONENTS[name], side, judges, rows[0].kbps)
            rows += ladder
            shown.append(nearest)
    codes, tables = all_codes(own.recording), codec.folder.tables
    result = ClipRows(
        path.stem,
        rows,
        frame_bits(own.recording, tables).tolist(),
        code_counts(codes, tables.codes).tolist(),
        _strips(folder, shown),
    )
    store.save(path, depends, result)
    return result


def _coded(path: Path, folder: Path, settings: Settings, kbps: float | None, codec: Codec) -> _Coded:
    """A clip encoded into a file of `folder`; `kbps` None: at the model's own rate."""
    target = folder / ("clip.bcd" if kbps is None else f"clip-{kbps:g}.bcd")
    encode_file(path, target, EncodeOptions(settings.model, profile=settings.profile, kbps=kbps))
    recording, tables = read(target, settings.model), codec.folder.tables
    with open_bcd(str(target)) as reader:
        counts, seconds, head = reader.byte_counts, reader.duration_seconds, reader.head
        each = [size for name, _, size in reader.chunks if name == "CONT"]
    sizes = {
        "motion_bytes": counts.motion,
        "content_bytes": counts.content,
        "contents": len(each),
        "content_bytes_max": max(each),
        "container_bytes": counts.container,
        "audio_bytes": counts.audio,
        "ideal_motion_bits": float(frame_bits(recording, tables).sum()),
        "static_motion_bits": float(static_bits(all_codes(recording), tables.motion).sum()),
    }
    setting = f"{'own rate' if kbps is None else f'{kbps:g} kbit/s'}, {profile_name(head.entropy_profile)}"
    return _Coded(recording, setting, head.crop, seconds, counts.total, sizes)


def _opponent(
    source: _Source, opponent: Opponent, side: int, judges: _Judges, kbps: float
) -> tuple[list[Row], tuple[str, np.ndarray]]:
    """The ladder of a classical codec at one coded size, and label and frames of its rung nearest to `kbps`."""
    rate = Fraction(len(source.frames) / source.seconds).limit_denominator(1001)
    rows, shown = [], []
    for quality in opponent.qualities:
        coded = code(opponent, source.frames, rate, quality, side)
        rows.append(_row(source, opponent.name, f"crf {quality}", side, coded.stream_bytes, coded.frames, judges, {}))
        shown.append(
            (f"{opponent.name} crf {quality}, coded at {side} x {side}: {rows[-1].kbps:.1f} kbit/s", coded.frames)
        )
    return rows, min(zip(rows, shown), key=lambda pair: abs(pair[0].kbps - kbps))[1]


def _row(
    source: _Source, codec: str, setting: str, side: int, total: int, decoded: np.ndarray, judges: _Judges, sizes: dict
) -> Row:
    quality = measure_quality(decoded, source.frames)
    found = judges.faces.faces(decoded) if judges.faces else None
    faces = compare_faces(source.faces, found) if found else None
    deep = NetworkMeasures()
    if judges.networks is not None:
        deep = measure_networks(judges.networks, decoded, source.frames, found, source.faces if found else None)
    named = (
        dict.fromkeys(
            (
                "motion_bytes",
                "content_bytes",
                "contents",
                "content_bytes_max",
                "container_bytes",
                "audio_bytes",
                "ideal_motion_bits",
                "static_motion_bits",
            )
        )
        | sizes
    )
    return Row(
        source.clip,
        codec,
        setting,
        side,
        len(decoded),
        source.seconds,
        total,
        **named,
        psnr=quality.psnr,
        ssim=quality.ssim,
        ms_ssim=quality.ms_ssim,
        vmaf=quality.vmaf,
        lpips=deep.lpips,
        flicker=quality.flicker,
        source_flicker=source.flicker,
        csim=deep.csim,
        identity_distance=faces.identity_distance if faces else None,
        landmark_error=faces.landmark_error if faces else None,
        pose_error=faces.pose_error if faces else None,
        faces_found=faces.found if faces else None,
        faces_expected=faces.frames if faces else None,
        mouth=faces.mouth if faces else [],
        eyes=faces.eyes if faces else [],
        brows=faces.brows if faces else [],
    )


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

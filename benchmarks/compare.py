"""`bcd compare`: the same measures and one contact sheet for any videos and .bcd files, against the first of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.faces import FaceComparison, FaceMeter, compare_faces
from bcdcodec.benchmarks.measure import MOMENTS
from bcdcodec.benchmarks.quality import Quality, measure_quality
from bcdcodec.benchmarks.rows import correlation
from bcdcodec.benchmarks.sections import number
from bcdcodec.container import Head
from bcdcodec.errors import BcdError
from bcdcodec.files.opening import open_sound
from bcdcodec.video import Crop, encode_png, probe_video, read_frames
from bcdcodec.video.scaling import resize

BCD_SUFFIX = ".bcd"
LARGEST = 512  # pixels, side at which files are compared where no .bcd file fixes it


@dataclass(frozen=True)
class Compared:
    """One file beside the first; measures are None for the first itself, faces also where they were not measured."""

    path: Path
    total_bytes: int
    seconds: float
    kbps: float  # of the whole file, with sound
    quality: Quality | None
    faces: FaceComparison | None

    @property
    def mouth_correlation(self) -> float | None:
        return correlation(self.faces.mouth) if self.faces else None


@dataclass(frozen=True)
class _Clip:
    frames: np.ndarray  # uint8 [t, size, size, 3]
    times: np.ndarray  # float [t], seconds from the first frame
    seconds: float


def compare(
    paths: Sequence[Path], sheet: Path | None = None, model: str | None = None, faces: bool = False
) -> list[Compared]:
    """Measure files against the first of them, at the moments of its frames that all of them last.

    Pictures are brought to the size of the smallest .bcd file among them, else to that of the smallest video.
    A video of the size that a .bcd file was made from is cropped as that one was, others to their centre square.
    `sheet`: a PNG with a row of the same moments for each file. `model`: for .bcd files, else the one they name.
    Raises BcdError for fewer than two files, one that cannot be opened, or a sheet that cannot be written.
    """
    if len(paths) < 2:
        raise BcdError(
            f"{len(paths)} file given: compare needs two or more, the first is what the others are measured against"
        )
    meter = FaceMeter() if faces else None
    heads = [_head(path) for path in paths if path.suffix.lower() == BCD_SUFFIX]
    if heads:
        size = min(head.coded_width for head in heads)
    else:
        size = min(LARGEST, *(min(info.width, info.height) for info in map(probe_video, paths)))
    clips = [_read(path, size, heads, model) for path in paths]
    until = min(clip.times[-1] for clip in clips)
    moments = clips[0].times[clips[0].times <= until + 1e-6]
    same = [
        clip.frames[[int(np.abs(clip.times - t).argmin()) for t in moments]] for clip in clips
    ]  # [t, size, size, 3]
    if sheet is not None:
        picks = np.linspace(0, len(moments) - 1, MOMENTS).round().astype(int)
        rows = [np.concatenate(list(frames[picks]), 1) for frames in same]
        try:
            sheet.write_bytes(encode_png(np.ascontiguousarray(np.concatenate(rows))))
        except OSError as error:
            raise BcdError(f"cannot write {sheet}: {error.strerror}") from error
    found = meter.faces(same[0]) if meter else None
    results = []
    for i, (path, clip, frames) in enumerate(zip(paths, clips, same)):
        total = _bytes(path)
        results.append(
            Compared(
                path,
                total,
                clip.seconds,
                total * 8 / 1000 / clip.seconds,
                None if i == 0 else measure_quality(frames, same[0]),
                None if i == 0 or meter is None else compare_faces(found, meter.faces(frames)),
            )
        )
    return results


def _head(path: Path) -> Head:
    with open_sound(path) as reader:
        return reader.head


def _bytes(path: Path) -> int:
    return sum(p.stat().st_size for p in path.iterdir()) if path.is_dir() else path.stat().st_size


def _read(path: Path, size: int, heads: list[Head], model: str | None) -> _Clip:
    if path.suffix.lower() == BCD_SUFFIX:
        return _decode(path, size, model)
    info = probe_video(path)
    crops = [Crop(*h.crop) for h in heads if (h.source_width, h.source_height) == (info.width, info.height)]
    with read_frames(path, crops[0] if crops else None, size) as video:
        items = list(video)
        last = video.last_duration
    ticks = np.array([pts - items[0][0] for pts, _ in items])
    return _Clip(
        np.stack([picture for _, picture in items]),
        ticks * float(info.time_base),
        float((ticks[-1] + last) * info.time_base),
    )


def _decode(path: Path, size: int, model: str | None) -> _Clip:
    from bcdcodec.codec import load
    from bcdcodec.files.opening import model_of
    from bcdcodec.files.recording import read

    recording = read(path, model)
    head = recording.head
    frames = load(model_of(head, model).path).decode(recording)
    if head.frame_duration:
        ticks = np.arange(len(frames)) * head.frame_duration
    else:
        ticks = np.concatenate([m.pts for m in recording.motions])
        ticks = ticks - ticks[0]
    with open_sound(path) as reader:
        seconds = reader.duration_seconds
    return _Clip(np.stack([resize(f, size) for f in frames]), ticks * head.time_base_num / head.time_base_den, seconds)


def as_table(results: list[Compared], as_json: bool = False) -> str:
    """Results as aligned columns, or as JSON."""
    if as_json:
        return json.dumps(
            [{**asdict(r), "path": str(r.path), "mouth_correlation": r.mouth_correlation} for r in results], indent=1
        )
    columns = ["file", "bytes", "seconds", "kbit/s", "PSNR", "SSIM", "MS-SSIM", "VMAF", "flicker"]
    faces = any(r.faces for r in results)
    columns += ["faces", "identity", "landmarks", "pose", "mouth r"] if faces else []
    lines = [columns]
    for r in results:
        q, f = r.quality, r.faces
        line = [
            str(r.path),
            str(r.total_bytes),
            f"{r.seconds:.2f}",
            f"{r.kbps:.2f}",
            *(
                (f"{q.psnr:.2f}", f"{q.ssim:.3f}", f"{q.ms_ssim:.3f}", number(q.vmaf, 1), f"{q.flicker:.2f}")
                if q
                else ("-",) * 5
            ),
        ]
        if faces:
            line += (
                [
                    f"{f.found}/{f.frames}",
                    number(f.identity_distance, 3),
                    number(f.landmark_error, 3),
                    number(f.pose_error, 1),
                    number(r.mouth_correlation, 2),
                ]
                if f
                else ["-"] * 5
            )
        lines.append(line)
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths)))
        for line in lines
    )

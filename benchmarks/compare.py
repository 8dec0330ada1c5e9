"""`bcd compare`: the same measures and one contact sheet for any videos and .bcd files, against the first of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.codec_runs import codec_run
from bcdcodec.benchmarks.contact_sheet import contact_sheet
from bcdcodec.benchmarks.measure.judges import judges_of
from bcdcodec.benchmarks.measure_clip import MOMENTS
from bcdcodec.benchmarks.report.summary import MEASURES
from bcdcodec.benchmarks.statistics import number
from bcdcodec.container import Head
from bcdcodec.errors import BcdError
from bcdcodec.files.clock import Clock
from bcdcodec.files.opening import model_of, open_sound
from bcdcodec.files.recording import read
from bcdcodec.video import Crop, encode_png, probe_video, read_frames
from bcdcodec.video.scaling import resize

BCD_SUFFIX = ".bcd"
LARGEST = 512  # pixels, side at which files are compared where no .bcd file fixes it


SHOWN = ("psnr", "ssim", "ms_ssim", "vmaf", "feature_distance", "flicker", "flow_error")  # with --faces also these:
FACES = ("sface_cosine", "dlib_distance", "landmark_error", "mouth.slope", "right eye.slope", "left eye.slope")


@dataclass(frozen=True)
class Compared:
    """One file beside the first; of the first itself there are no measures."""

    path: Path
    total_bytes: int
    seconds: float
    kbps: float  # of the whole file, with sound
    measures: dict[str, float]


@dataclass(frozen=True)
class _Clip:
    frames: np.ndarray  # uint8 [t, size, size, 3]
    times: np.ndarray  # float [t], seconds from the first frame
    seconds: float


def compare(
    paths: Sequence[Path],
    sheet: Path | None = None,
    model: str | None = None,
    faces: bool = False,
    networks: Path | None = None,
) -> list[Compared]:
    """Measure files against the first of them, at the moments of its frames that all of them last.

    Pictures are brought to the size of the smallest .bcd file among them, else to that of the smallest video.
    A video of the size that a .bcd file was made from is cropped as that one was, others to their centre square.
    `sheet`: a PNG with a row of the same moments for each file. `model`: for .bcd files, else the one they name.
    `networks`: folder of the user's networks.
    Raises BcdError for fewer than two files, one that cannot be opened, or a sheet that cannot be written.
    """
    if len(paths) < 2:
        raise BcdError(
            f"{len(paths)} file given: compare needs two or more, the first is what the others are measured against"
        )
    judges = judges_of(networks, faces)
    if faces and {"landmarks", "dlib"} <= judges.missing.keys():
        raise BcdError(judges.missing["landmarks"])
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
        try:
            sheet.write_bytes(encode_png(contact_sheet(same, MOMENTS)))
        except OSError as error:
            raise BcdError(f"cannot write {sheet}: {error.strerror}") from error
    source = judges.look(same[0])
    results = []
    for i, (path, clip, frames) in enumerate(zip(paths, clips, same)):
        total, measures = _bytes(path), judges.compare(judges.look(frames, source), source) if i else {}
        results.append(Compared(path, total, clip.seconds, total * 8 / 1000 / clip.seconds, measures))
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
    recording = read(path, model)
    head = recording.head
    frames = codec_run(str(model_of(head, model).path)).codec.decode(recording)
    clock, tick = Clock(head.frame_duration), head.time_base_num / head.time_base_den
    for motion in recording.motions:
        clock.add(motion)
    return _Clip(np.stack([resize(f, size) for f in frames]), np.array(clock.waiting) * tick, clock.end * tick)


def as_table(results: list[Compared], as_json: bool = False) -> str:
    """Results as aligned columns, or as JSON."""
    if as_json:
        return json.dumps([asdict(r) | {"path": str(r.path)} for r in results], indent=1)
    known = [m for m in (*SHOWN, *FACES) if any(m in r.measures for r in results)]
    names = {
        m: MEASURES[m][0].removesuffix(" where the source rests") if m in MEASURES else m.replace(".", " ")
        for m in known
    }
    lines = [["file", "bytes", "seconds", "kbit/s", *names.values()]]
    for r in results:
        cells = (number(r.measures.get(m), MEASURES[m][2] if m in MEASURES else 2) for m in known)
        lines.append([str(r.path), str(r.total_bytes), f"{r.seconds:.2f}", f"{r.kbps:.2f}", *cells])
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths)))
        for line in lines
    )

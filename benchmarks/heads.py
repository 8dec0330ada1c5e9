"""The measured table of a heads model: bytes of files as written, faces, PSNR and speed on held-out clips."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.disentanglement import CrossDriven, Probes, cross_driven, probe_codes
from bcdcodec.benchmarks.faces import FaceMeter
from bcdcodec.clip import read
from bcdcodec.codec import Codec
from bcdcodec.container import open_bcd
from bcdcodec.demo import psnr
from bcdcodec.transcode import encode_file
from bcdcodec.video import read_frames


@dataclass(frozen=True)
class ClipResult:
    """One clip, encoded to a file and decoded from it."""

    name: str
    frames: int
    seconds: float
    bits_per_frame: float  # coded motion bytes of the file, in bits, over frames
    content_bytes: int
    container_bytes: int
    total_bytes: int
    psnr: float  # dB, decoded against the cropped, resized source
    psnr_still: float  # dB, the decoded content picture held still
    identity_distance: float | None
    landmark_error: float | None
    faces_found: int
    faces_expected: int
    mouth: list[tuple[float, float]]
    encode_s: float  # network and quantiser, pictures in memory
    decode_s: float  # likewise


@dataclass(frozen=True)
class HeadsReport:
    """All clips and the disentanglement measures."""

    model: str
    clips: list[ClipResult]
    cross: CrossDriven
    probes: Probes

    def summary(self) -> dict[str, float]:
        """The figures of the README, by name."""
        c = self.clips
        seconds = sum(x.seconds for x in c)
        faces = [x for x in c if x.identity_distance is not None]
        mouth = np.array([pair for x in c for pair in x.mouth])
        motion_bytes = sum(x.bits_per_frame * x.frames / 8 for x in c)
        return {
            "clips": len(c),
            "bits_per_frame": sum(x.bits_per_frame * x.frames for x in c) / sum(x.frames for x in c),
            "motion_kbps": motion_bytes * 8 / 1000 / seconds,
            "content_bytes_median": float(np.median([x.content_bytes for x in c])),
            "content_bytes_max": max(x.content_bytes for x in c),
            "container_bytes_median": float(np.median([x.container_bytes for x in c])),
            "psnr_median": float(np.median([x.psnr for x in c])),
            "psnr_still_median": float(np.median([x.psnr_still for x in c])),
            "identity_distance_median": float(np.median([x.identity_distance for x in faces])) if faces else float("nan"),
            "identity_under_0.6": sum(x.identity_distance < 0.6 for x in faces) / len(faces) if faces else float("nan"),
            "landmark_error_median": float(np.median([x.landmark_error for x in faces])) if faces else float("nan"),
            "mouth_correlation": float(np.corrcoef(mouth.T)[0, 1]) if len(mouth) > 2 else float("nan"),
            "faces_found": sum(x.faces_found for x in c) / max(1, sum(x.faces_expected for x in c)),
            "encode_times_real_time": seconds / sum(x.encode_s for x in c),
            "decode_times_real_time": seconds / sum(x.decode_s for x in c),
            "cross_driven_psnr": self.cross.decoded,
            "cross_driven_psnr_still": self.cross.still,
            "cross_driven_psnr_own": self.cross.own,
            "probe_yaw_r2": self.probes.motion_r2["yaw"],
            "probe_pitch_r2": self.probes.motion_r2["pitch"],
            "probe_mouth_r2": self.probes.motion_r2["mouth_open"],
            "probe_identity_accuracy": self.probes.identity_accuracy,
            "probe_identity_chance": self.probes.identity_chance,
        }


def measure_clip(codec: Codec, path: Path, work: Path, meter: FaceMeter | None) -> tuple[ClipResult, np.ndarray, np.ndarray]:
    """Result, source frames and decoded frames (uint8 [t, h, w, 3]) of one clip through a real file in `work`."""
    target = work / (path.stem + ".bcd")
    encode_file(path, target, codec.folder.path)
    with open_bcd(str(target)) as reader:
        counts, frames, seconds = reader.byte_counts, reader.frames, reader.duration_seconds
    recording = read(target, codec.folder.path)
    began = time.perf_counter()
    decoded = codec.decode(recording)
    decode_s = time.perf_counter() - began
    with read_frames(path, None, codec.picture_size) as reader:
        source = np.stack([picture for _, picture in reader])
    began = time.perf_counter()
    codec.encode(source)
    encode_s = time.perf_counter() - began
    still = codec.still(recording)
    faces = meter.compare(source, decoded) if meter else None
    result = ClipResult(
        path.name, frames, seconds, counts.motion * 8 / frames, counts.content, counts.container, counts.total,
        psnr(decoded, source), psnr(np.broadcast_to(still, source.shape), source),
        None if faces is None or not faces.found else faces.identity_distance,
        None if faces is None or not faces.found else faces.landmark_error,
        faces.found if faces else 0, faces.frames if faces else 0, faces.mouth if faces else [], encode_s, decode_s)
    return result, source, decoded


def run(codec: Codec, paths: list[Path], out: Path, meter: FaceMeter | None, progress=lambda items: items) -> HeadsReport:
    """Measure all clips and write report.json, report.md and sheet.png into `out`."""
    from PIL import Image

    out.mkdir(parents=True, exist_ok=True)
    work = out / "files"
    work.mkdir(exist_ok=True)
    codec.decode(codec.encode(np.zeros((8, codec.picture_size, codec.picture_size, 3), np.uint8)))  # warm up
    results, rows = [], []
    for path in progress(paths):
        result, source, decoded = measure_clip(codec, path, work, meter)
        results.append(result)
        picks = np.linspace(0, len(source) - 1, 5).astype(int)
        rows.append(np.concatenate([np.concatenate(list(x[picks]), 1) for x in (source, decoded)], 1))
    report = HeadsReport(codec.config.name, results, cross_driven(codec), probe_codes(codec))
    summary = report.summary()
    (out / "report.json").write_text(json.dumps({"summary": summary, **asdict(report)}, indent=1))
    lines = ["| measure | value |", "|---|---|", *(f"| {k} | {v:.4g} |" for k, v in summary.items())]
    (out / "report.md").write_text("\n".join(lines) + "\n")
    for page in range(0, len(rows), 12):
        Image.fromarray(np.concatenate(rows[page : page + 12], 0)).save(out / f"sheet-{page // 12:02d}.png")
    return report

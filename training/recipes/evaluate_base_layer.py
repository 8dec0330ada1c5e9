"""Measure geometry and drawing on `val`: movement of mouth and eyes, landmarks, pictures; contact sheets.

    python -m bcdcodec.training.recipes.evaluate_base_layer --run DIR --clips DIR --landmarker TASK --sheet out.png

Each clip is decoded from one reference frame and the motion of each frame, in the face-aligned frame, without any
enhancement layer. Beside each measure stands that of the held reference, which the alignment has moved already. With
`--drawing RUN` the drawing network draws over the warp, in each number of `--steps`.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.benchmarks.measure.perceptual import feature_distance, features
from bcdcodec.benchmarks.statistics import evenly_in_time
from bcdcodec.models.faces.alignment_frame import crop, to_frame
from bcdcodec.models.faces.config import DrawingConfig, GeometryConfig
from bcdcodec.models.faces.drawing import DrawingInput, DrawingNetwork, draw
from bcdcodec.models.faces.geometry import GeometryNetwork, compose, warp
from bcdcodec.training.data.aligned_pairs import Frames, load_clips, region_weight
from bcdcodec.training.data.landmarker import BLENDSHAPES
from bcdcodec.training.recipes import run as runs
from bcdcodec.training.recipes.drawing import coded
from bcdcodec.training.recipes.face_movement import dlib_judge, landmarker_judge, movement
from bcdcodec.training.recipes.model_parts import run_or_model

EYES_SHUT = [BLENDSHAPES.index(f"eyeBlink{side}") for side in ("Left", "Right")]
JAW = BLENDSHAPES.index("jawOpen")


def reference_frame(clip: Frames) -> int:
    """The frame that serves best as reference: frontal, eyes open, mouth shut."""
    turn = np.abs(clip.motion[:, 52:54]).sum(1)
    badness = turn + 1.0 * clip.motion[:, EYES_SHUT].mean(1) + 0.5 * clip.motion[:, JAW] + 10 * ~clip.found
    return int(badness.argmin())


@dataclass(frozen=True)
class Decoder:
    """What is measured."""

    geometry: GeometryNetwork
    drawing: DrawingNetwork | None = None
    steps: tuple[int, ...] = ()  # numbers of steps that are drawn in
    quality: int | None = None  # of AVIF, by which references are coded; None: they are not

    @property
    def kinds(self) -> tuple[str, ...]:
        """Pictures that are measured."""
        return ("held", "warped", "composed", *(f"drawn_{steps}" for steps in self.steps))


@torch.no_grad()
def decode_clip(decoder: Decoder, clip: Frames, frames: np.ndarray) -> dict[str, Tensor]:
    """Source and pictures of each kind [t, 3, s, s], -1 to 1, of frames, with landmarks and flow."""
    network = decoder.geometry
    size, m = network.config.frame, network.config.motion
    k = reference_frame(clip)
    picked = np.concatenate([[k], frames])
    pictures = np.array(clip.pictures[picked])
    if decoder.quality is not None:
        pictures[0] = coded(pictures[0], decoder.quality)
    pictures = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    motion = torch.from_numpy(clip.motion[picked])
    faces = crop(pictures, motion[:, 54:], size)
    points = to_frame(motion[:, 54:], torch.from_numpy(clip.points[picked]))
    t = len(frames)
    reference = faces[:1].expand(t, -1, -1, -1)
    with torch.autocast("cpu", torch.bfloat16):
        geometry = network(reference, motion[:1, :m].expand(t, -1), motion[1:, :m])
    warped = warp(reference, geometry.flow)
    at = F.grid_sample(geometry.flow, points[1:, :, None], align_corners=False)[..., 0].transpose(1, 2)
    composed, drawn = compose(warped, geometry), {}
    noise = torch.randn(1, *composed.shape[1:], generator=torch.Generator().manual_seed(0)).expand_as(composed)
    known = DrawingInput(composed, reference, geometry, motion[:1, :m].expand(t, -1), motion[1:, :m])
    for steps in decoder.steps:
        with torch.autocast("cpu", torch.bfloat16):
            face = draw(decoder.drawing, known, noise, steps)
        drawn[f"drawn_{steps}"] = face.clamp(-1, 1)
    return drawn | {
        "source": faces[1:], "held": reference, "warped": warped, "composed": composed,
        "points": points[1:], "landmark_miss": points[1:] + at - points[:1], "landmark_held": points[1:] - points[:1],
        "mouth": geometry.mouth, "occlusion": geometry.occlusion,
        "weight": region_weight(points[1:], network.config.cells),
    }  # fmt: skip


def as_pictures(x: Tensor) -> np.ndarray:
    """-1 to 1 as uint8 [t, s, s, 3]."""
    return ((x.permute(0, 2, 3, 1) + 1) * 127.5).round().clamp(0, 255).byte().numpy()


def weighted_error(x: Tensor, source: Tensor, weight: Tensor) -> float:
    """Mean absolute error, 0 to 1, more at eyes and mouth."""
    weight = F.interpolate(weight, size=x.shape[-2:], mode="bilinear", align_corners=False)
    return float((weight * (x - source).abs() / 2).sum() / (3 * weight.sum()))


def evaluate(decoder: Decoder, clips: dict[str, Frames], frames: int, judges: dict, sheet: Path | None) -> dict:
    """The measures by name; writes a sheet of the clips whose mouth and head move most."""
    kinds = decoder.kinds
    openings = {(judge, kind): [] for judge in judges for kind in kinds}
    error, psnr, miss = {kind: [] for kind in kinds}, {kind: [] for kind in kinds}, {"held": [], "warped": []}
    distance, hardest = {kind: [] for kind in kinds}, []
    for clip in clips.values():
        usable = np.flatnonzero(clip.found)
        picked = usable[evenly_in_time(len(usable), frames)]
        out = decode_clip(decoder, clip, picked)
        eye = (out["points"][:, 33] - out["points"][:, 263]).norm(dim=-1)  # [t]
        lips = [13, 14, 61, 291, 78, 308, 80, 81, 82, 310, 311, 312, 87, 88, 178, 317, 318, 402]
        for kind, name in (("held", "landmark_held"), ("warped", "landmark_miss")):
            miss[kind].append(float((out[name][:, lips].norm(dim=-1).mean(1) / eye).mean()))
        for kind in kinds:
            error[kind].append(weighted_error(out[kind], out["source"], out["weight"]))
            psnr[kind].append(float(-10 * ((out[kind] - out["source"]).square().mean((1, 2, 3)) / 4).log10().mean()))
        sources = as_pictures(out["source"])
        seen_features = features(sources)
        for kind in kinds:
            distance[kind].append(feature_distance(features(as_pictures(out[kind])), seen_features))
        for name, judge in judges.items():
            seen = [judge(picture) for picture in sources]
            for kind in kinds:
                decoded = [judge(picture) for picture in as_pictures(out[kind])] if kind != "held" else None
                if decoded is None:  # one picture for all
                    decoded = [judge(as_pictures(out["held"][:1])[0])] * len(seen)
                openings[name, kind].append([(a, b) for a, b in zip(seen, decoded, strict=True) if a and b])
        jaw = clip.motion[picked]
        hardest.append((float(jaw[:, [JAW]].std() + jaw[:, 52:54].std()), out, jaw))
    result = {}
    for kind in kinds:
        result[f"error_{kind}"], result[f"psnr_{kind}"] = np.mean(error[kind]), np.mean(psnr[kind])
        if None not in distance[kind]:
            result[f"features_{kind}"] = np.mean(distance[kind])
        for judge in judges:
            m = asdict(movement(openings[judge, kind]))
            result |= {f"{judge}_{kind}_{key}": value for key, value in m.items()}
    result |= {f"lips_{kind}": np.mean(values) for kind, values in miss.items()}
    if sheet:
        write_sheet(sorted(hardest, key=lambda row: -row[0])[:12], kinds[2:], sheet)
    return {key: round(float(value), 4) for key, value in result.items()}


def write_sheet(rows: list, kinds: tuple[str, ...], path: Path) -> None:
    """Per clip the reference and, for its most open, most turned and most shut frames, source and pictures of kinds."""
    from PIL import Image

    lines = []
    for _, out, motion in rows:
        blink = motion[:, EYES_SHUT].mean(1).argmax()
        cells = [as_pictures(out["held"][:1])[0]]
        for i in (motion[:, JAW].argmax(), np.abs(motion[:, 53]).argmax(), blink):
            cells += [as_pictures(out[name][i : i + 1])[0] for name in ("source", *kinds)]
        lines.append(np.concatenate(cells, 1))
    Image.fromarray(np.concatenate(lines)).save(path)


def main(arguments: list[str] | None = None) -> None:
    """Evaluate a run's averaged weights and add a line to its curve."""
    parse = argparse.ArgumentParser(description="Measure the geometry network on val.")
    parse.add_argument("--run", required=True, help="run of recipes.geometry; with --drawing, or a model")
    parse.add_argument("--clips", type=Path, required=True, help="folder of prepared clips (train and val)")
    parse.add_argument("--landmarker", type=Path, required=True, help="MediaPipe's face_landmarker.task")
    parse.add_argument("--count", type=int, default=76, help="clips, evenly picked")
    parse.add_argument("--frames", type=int, default=16, help="frames a clip")
    parse.add_argument("--drawing", type=Path, help="folder of the drawing network's run")
    parse.add_argument("--steps", default="1,4,20", help="numbers of steps that --drawing draws in")
    parse.add_argument("--quality", type=int, help="of AVIF, by which references are coded as in files")
    parse.add_argument("--no-dlib", action="store_true", help="judge by the landmarker alone")
    parse.add_argument("--sheet", type=Path, help="PNG of the clips that move most")
    options = parse.parse_args(arguments)
    decoder = Decoder(
        run_or_model(options.run, "geometry", GeometryNetwork, GeometryConfig),
        runs.trained(options.drawing, "drawing", DrawingNetwork, DrawingConfig) if options.drawing else None,
        tuple(map(int, options.steps.split(","))) if options.drawing else (),
        options.quality,
    )
    run = options.drawing or Path(options.run)
    progress = runs.progress(run)
    clips = load_clips(options.clips / "val")
    names = [list(clips)[i] for i in evenly_in_time(len(clips), options.count)]
    judges = {"mediapipe": landmarker_judge(options.landmarker)}
    if not options.no_dlib:
        judges["dlib"] = dlib_judge()
    result = evaluate(decoder, {name: clips[name] for name in names}, options.frames, judges, options.sheet)
    result = progress | {"clips": len(names)} | result
    path = run / "curve.csv"
    new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, sorted(result), extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow(result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    runs.command(main)

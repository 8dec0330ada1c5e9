"""Batches of reference and target pictures for the base motion: from portraits with exact flow and from clips.

A batch is a function of the data, the seed and its number alone, so that a run resumes exactly.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.errors import BcdError
from bcdcodec.models.faces.alignment_frame import crop, head_radii, positions, to_frame, to_picture
from bcdcodec.models.faces.base_motion import mirrored_expression
from bcdcodec.training.data.head_pose import canonical_face, head_pose, roll_and_turn
from bcdcodec.training.data.teacher import read_frames

FRAME_CENTIMETRES = 22.0  # side of the face-aligned frame on the canonical face, which is 15 wide
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
EYE_CORNERS, MOUTH_POINTS = ((33, 133), (362, 263)), (61, 291, 13, 14)
# Points of the face's outline: they slide along the skin when the head turns. Those of the chin do not.
OUTLINE = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 176, 149, 150, 136, 172, 58,
    132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
OUTSIDE = 0.1  # weight around the head
PICTURE = 256  # pixels, of all pictures


@dataclass
class Frames:
    """Frames of one clip or portrait and their labels, whose leading axis is the frame."""

    pictures: np.ndarray  # uint8 [t, 256, 256, 3], memory-mapped; JPEG for portraits, see `Portrait`
    motion: np.ndarray  # float32 [t, 58], see MOTION
    points: np.ndarray  # float32 [t, 478, 2], positions in the picture, -1 to 1
    found: np.ndarray  # bool [t]


def motion_of(labels) -> np.ndarray:
    """The teacher's 58 numbers of each frame [t, 58], of labels as `teacher` writes them for 256x256 pictures."""
    centre, side = labels["centre"] / PICTURE, labels["scale"] * FRAME_CENTIMETRES / PICTURE
    parts = (
        labels["blendshapes"],
        labels["turn"],
        centre,
        np.log(np.maximum(side, 1e-3))[:, None],
        labels["roll"][:, None],
    )
    return np.concatenate(parts, 1).astype(np.float32)


def mirrored_motion(motion: np.ndarray) -> np.ndarray:
    """The motion of the mirrored pictures: [..., 58] -> [..., 58]."""
    expression = mirrored_expression(torch.from_numpy(motion[..., :54])).numpy()
    return np.concatenate([expression, 1 - motion[..., 54:55], motion[..., 55:57], -motion[..., 57:]], -1)


def prepare_clips(clips: Path, teacher: Path, out: Path, split: str, every: int) -> list[str]:
    """Write every n-th frame of a split's clips as `NAME.npy` and its labels as `NAME.npz`; the names.

    Clips that the teacher has not labelled are left out. What is there already is kept.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = []
    with open(clips.parent / "manifest.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split and row["file"].startswith("clips/")]
    for row in rows:
        name = Path(row["file"]).stem
        if not (teacher / f"{name}.npz").exists():
            continue
        names.append(name)
        if (out / f"{name}.npz").exists():
            continue
        pictures = np.stack([frame for i, frame in enumerate(read_frames(clips / f"{name}.mp4")) if i % every == 0])
        np.save(out / f"{name}.npy", pictures)
        with np.load(teacher / f"{name}.npz") as labels:
            np.savez(out / f"{name}.npz", **{key: labels[key][::every] for key in labels.files})
    return names


def load_clips(folder: Path) -> dict[str, Frames]:
    """Clips that `prepare_clips` has written, by name; those of fewer than 8 frames with a face are left out."""
    clips = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as file:
            labels = {key: file[key] for key in file.files}
        points = labels["points"][..., :2] * (2 / PICTURE) - 1
        pictures = np.load(path.with_suffix(".npy"), mmap_mode="r")
        if labels["found"].sum() >= 8:
            clips[path.stem] = Frames(pictures, motion_of(labels), points.astype(np.float32), labels["found"])
    if not clips:
        raise BcdError(f"{folder}: no clips; run with --prepare first")
    return clips


def by_person(clips: dict[str, Frames]) -> list[list[Frames]]:
    """Clips of each person; a name begins with the person's, up to an underscore."""
    people: dict[str, list[Frames]] = {}
    for name, clip in clips.items():
        people.setdefault(name.split("_")[0], []).append(clip)
    return list(people.values())


class Portrait:
    """Pictures of one re-animated portrait, read from its npz when asked for."""

    def __init__(self, path: Path, canonical):
        self.path = path
        with np.load(path) as file:
            points, blendshapes, found = file["landmarks"], file["blendshapes"], file["found"]
        R, scale, centre = head_pose(points, *canonical)
        roll, turn = roll_and_turn(R)
        labels = {"blendshapes": blendshapes, "turn": turn, "centre": centre, "scale": scale, "roll": roll}
        self.motion = motion_of(labels)  # [t, 58]
        self.points = (points[..., :2] * (2 / PICTURE) - 1).astype(np.float32)  # [t, 478, 2]
        usable = found & np.isfinite(self.motion).all(1)
        self.usable = np.flatnonzero(usable)

    def pictures(self, frames: np.ndarray) -> np.ndarray:
        """Pictures uint8 [n, 256, 256, 3] of frames."""
        from PIL import Image

        with np.load(self.path) as file:
            jpeg, offset = file["jpeg"], file["jpeg_offset"]
        blobs = [jpeg[offset[i] : offset[i + 1]].tobytes() for i in frames]
        return np.stack([np.asarray(Image.open(io.BytesIO(blob)).convert("RGB")) for blob in blobs])

    def read(self, frames: np.ndarray) -> dict[str, np.ndarray]:
        """Pictures of frames, and their flow, inverse, visible and mouth arrays."""
        with np.load(self.path) as file:
            arrays = {name: file[name][frames] for name in ("flow", "inverse", "visible", "mouth")}
        return arrays | {"pictures": self.pictures(frames)}


class PortraitFolders:
    """The portraits of folders that may still grow; those with fewer than two usable pictures are left out."""

    def __init__(self, folders: list[Path], landmarker: Path):
        self.folders, self.canonical = folders, canonical_face(landmarker)
        self.known: dict[str, Portrait] = {}

    def read(self) -> list[Portrait]:
        """All portraits that are there now, by name; each is opened once."""
        for path in sorted(path for folder in self.folders for path in folder.glob("*.npz")):
            if str(path) not in self.known:
                try:
                    self.known[str(path)] = Portrait(path, self.canonical)
                except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
                    print(f"{path} is left out: {error}")
        self.known = {path: portrait for path, portrait in self.known.items() if portrait.path.exists()}
        return [portrait for _, portrait in sorted(self.known.items()) if len(portrait.usable) >= 2]


@dataclass
class Pairs:
    """References and targets in their face-aligned frames. The first rows are from portraits, the rest from clips."""

    reference: Tensor  # [b, 3, s, s] -1 to 1
    target: Tensor  # [b, 3, s, s]
    motion_reference: Tensor  # [b, 58]
    motion: Tensor  # [b, 58]
    points_reference: Tensor  # [b, 478, 2] positions in the reference's frame
    points: Tensor  # [b, 478, 2] positions in the target's frame
    mouth: Tensor  # [b, 1, n, n] 0 to 1: inside of the mouth
    weight: Tensor  # [b, 1, n, n] 1 on the head, more at eyes and mouth, less around
    flow: Tensor  # [p, 2, n, n] exact, portraits alone
    visible: Tensor  # [p, 1, n, n] where the reference shows what is there


class PairSource:
    """Makes batches. `clips` and `portraits` may be empty, not both."""

    def __init__(self, clips: dict[str, Frames], portraits: list[Portrait], size: int, cells: int, seed: int):
        self.clips, self.people = list(clips.values()), by_person(clips)
        self.portraits = portraits
        self.size, self.cells, self.seed = size, cells, seed

    def raw(self, number: int, batch: int, share: float) -> dict[str, np.ndarray]:
        """Numpy arrays of batch `number`, `share` of it from portraits: what `aligned` needs."""
        rng = np.random.default_rng([self.seed, number])
        from_portraits = round(batch * share) if self.portraits and self.people else batch * bool(self.portraits)
        rows = [self._portrait_pair(rng) for _ in range(from_portraits // 2)]  # two pairs each
        rows = [row for pair in rows for row in pair]
        rows += [self._clip_pair(rng) for _ in range(batch - len(rows))]
        out = {key: np.stack([row[key] for row in rows]) for key in ("pictures", "motion", "points")}
        for key in ("flow", "inverse", "visible", "mouth"):
            if from_portraits:
                out[key] = np.stack([row[key] for row in rows if key in row])
        n = len(rows)
        out["jitter"] = (rng.normal(size=(n, 4)) * [0.02, 0.02, 0.04, 0.03]).astype(np.float32)
        out["gain"], out["bias"] = random_light(rng, n)
        return out

    def _portrait_pair(self, rng: np.random.Generator) -> list[dict[str, np.ndarray]]:
        portrait = self.portraits[rng.integers(len(self.portraits))]
        while not portrait.path.exists():  # a set that is being replaced while the run goes on
            portrait = self.portraits[rng.integers(len(self.portraits))]
        # Two of three references are the photograph's animated pictures too: any picture may be a reference.
        picked = rng.choice(portrait.usable, 4 if len(portrait.usable) >= 4 else 2, replace=False)
        if rng.random() < 0.33 and 0 in portrait.usable and 0 not in picked:
            picked[0] = 0
        arrays = portrait.read(picked)
        rows = []
        for i, j in ((0, 1), (2, 3)) if len(picked) == 4 else ((0, 1), (1, 0)):
            row = {
                "pictures": arrays["pictures"][[i, j]],
                "motion": portrait.motion[picked[[i, j]]],
                "points": portrait.points[picked[[i, j]]],
                "flow": arrays["flow"][j].astype(np.float32),
                "inverse": arrays["inverse"][i].astype(np.float32),
                "visible": arrays["visible"][[i, j]],
                "mouth": arrays["mouth"][j],
            }
            rows.append(_mirrored(row) if rng.random() < 0.5 else row)
        return rows

    def _clip_pair(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        person = self.people[rng.integers(len(self.people))]
        clip = person[rng.integers(len(person))]
        usable = np.flatnonzero(clip.found)
        # Of a few draws the two frames that differ most in expression and turn.
        drawn = rng.choice(usable, (3, 2))
        difference = np.abs(clip.motion[drawn[:, 0], :54] - clip.motion[drawn[:, 1], :54]).sum(1)
        picked = drawn[difference.argmax()]
        row = {"pictures": clip.pictures[picked], "motion": clip.motion[picked], "points": clip.points[picked]}
        return _mirrored(row) if rng.random() < 0.5 else row


def random_light(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gain and bias, float32 [count, 3], of the colours of pictures from -1 to 1."""
    gain = np.exp(rng.normal(size=(count, 1)) * 0.12 + rng.normal(size=(count, 3)) * 0.06)
    return gain.astype(np.float32), (rng.normal(size=(count, 3)) * 0.06).astype(np.float32)


def motion_statistics(clips: Iterable[Frames], portraits: Iterable[Portrait] = ()) -> tuple[Tensor, Tensor]:
    """Mean and deviation [58] of each number of the motion, the deviation at least 0.04."""
    motion = [clip.motion[clip.found] for clip in clips] + [p.motion[p.usable] for p in portraits]
    motion = torch.cat([torch.from_numpy(m) for m in motion])
    return motion.mean(0), motion.std(0).clamp_min(0.04)


def _mirrored(row: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A pair seen in a mirror. Points keep their numbers: they are only compared within the pair."""
    out = dict(row)
    out["pictures"] = row["pictures"][:, :, ::-1]
    out["motion"] = mirrored_motion(row["motion"])
    out["points"] = row["points"] * np.array([-1, 1], np.float32)
    if "flow" in row:
        out["flow"] = row["flow"][:, ::-1] * np.array([-1, 1], np.float32)
        out["inverse"] = row["inverse"][:, ::-1] * np.array([-1, 1], np.float32)
        out["visible"], out["mouth"] = row["visible"][:, :, ::-1], row["mouth"][:, ::-1]
    return out


def aligned(raw: dict[str, np.ndarray], size: int, cells: int, augment: bool = True) -> Pairs:
    """Crop the pictures of `PairSource.raw` into their face-aligned frames and carry the exact flow over."""
    tensors = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in raw.items()}
    motion = tensors["motion"]
    similarity = motion[:, :, 54:]  # [b, 2, 4]
    if augment:  # the same for both: the network is told nothing of it
        jitter = tensors["jitter"][:, None].expand(-1, 2, -1)
        shift = to_picture_shift(similarity, jitter[..., :2])
        similarity = torch.cat([similarity[..., :2] + shift, similarity[..., 2:] + jitter[..., 2:]], -1)
    pictures = tensors["pictures"].permute(0, 1, 4, 2, 3).float() / 127.5 - 1  # [b, 2, 3, h, w]
    faces = crop(pictures.flatten(0, 1), similarity.flatten(0, 1), size).unflatten(0, pictures.shape[:2])
    if augment:
        faces = (faces * tensors["gain"][:, None, :, None, None] + tensors["bias"][:, None, :, None, None]).clamp(-1, 1)
    points = to_frame(similarity.flatten(0, 1), tensors["points"].flatten(0, 1)).unflatten(0, motion.shape[:2])
    mouth = _inner_mouth(points[:, 1], cells)
    flow = visible = torch.zeros(0)
    if "flow" in tensors:
        p = len(tensors["flow"])
        flow, visible, drawn = _carried_flow(tensors, similarity[:p], cells)
        mouth = torch.cat([drawn, mouth[p:]])
    return Pairs(
        faces[:, 0], faces[:, 1], motion[:, 0], motion[:, 1], points[:, 0], points[:, 1],
        mouth, region_weight(points[:, 1], cells), flow, visible,
    )  # fmt: skip


def to_picture_shift(similarity: Tensor, shift: Tensor) -> Tensor:
    """A shift [..., 2] in sides of the frame as one in sides of the picture."""
    side, roll = similarity[..., 2].exp(), similarity[..., 3]
    x, y = shift[..., 0], shift[..., 1]
    return torch.stack([side * (roll.cos() * x - roll.sin() * y), side * (roll.sin() * x + roll.cos() * y)], -1)


def _carried_flow(tensors: dict[str, Tensor], similarity: Tensor, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """Exact flow [p, 2, n, n], visibility and inner mouth [p, 1, n, n] of targets, in the frames of both pictures."""
    p = len(similarity)
    here = positions(cells).expand(p, -1, -1, -1)  # [p, n, n, 2]
    in_target = to_picture(similarity[:, 1], here)
    # The store's flow is in picture widths, positions run from -1 to 1: twice as much.
    maps = torch.cat(
        [2 * tensors["flow"].permute(0, 3, 1, 2), _channel(tensors["visible"][:, 1]), _channel(tensors["mouth"])], 1
    )
    at = _sample(maps, in_target)  # [p, 4, n, n]
    in_photograph = in_target + at[:, :2].permute(0, 2, 3, 1)
    inverse = _sample(2 * tensors["inverse"].permute(0, 3, 1, 2), in_photograph)
    in_reference = in_photograph + inverse.permute(0, 2, 3, 1)
    seen = _sample(_channel(tensors["visible"][:, 0]), in_reference)
    inside = ((in_target.abs() < 1).all(-1) & (in_reference.abs() < 1).all(-1))[:, None]
    flow = to_frame(similarity[:, 0], in_reference) - here
    return flow.permute(0, 3, 1, 2), at[:, 2:3] * seen * inside, at[:, 3:]


def _channel(mask: Tensor) -> Tensor:
    return mask[:, None].float() / 255


def _sample(maps: Tensor, at: Tensor) -> Tensor:
    return F.grid_sample(maps, at, mode="bilinear", padding_mode="border", align_corners=False)


def _inner_mouth(points: Tensor, cells: int) -> Tensor:
    """Coverage of the inner lips' polygon: positions [b, 478, 2] -> [b, 1, n, n]."""
    import cv2

    fine = 2 * cells
    out = np.zeros((len(points), fine, fine), np.uint8)
    corners = ((points[:, INNER_LIPS] + 1) * (fine / 2) - 0.5) * 16
    for mask, polygon in zip(out, corners.round().int().numpy(), strict=True):
        cv2.fillPoly(mask, [polygon], 1, shift=4)
    return F.avg_pool2d(torch.from_numpy(out)[:, None].float(), 2)


def region_weight(points: Tensor, cells: int, eyes: float = 8.0, mouth: float = 5.0) -> Tensor:
    """How much cells count: 1 on the head, more at the eyes and the mouth: positions [b, 478, 2] -> [b, 1, n, n].

    Little around the head: what lies there follows the head's place in the picture, which the network is not told.
    """
    here = positions(cells)  # [1, n, n, 2]
    outside = head_radii(here)
    weight = OUTSIDE + (1 - OUTSIDE) * ((1.15 - outside) / 0.3).clamp(0, 1)  # falls from 0.85 to 1.15 radii
    weight = weight.repeat(len(points), 1, 1)
    regions = [(points[:, pair].mean(1), (0.19, 0.11), eyes) for pair in EYE_CORNERS]
    regions.append((points[:, MOUTH_POINTS].mean(1), (0.30, 0.20), mouth))
    for centre, radii, extra in regions:
        away = (here - centre[:, None, None]) / torch.tensor(radii)
        weight = weight + extra * (-away.square().sum(-1)).exp()
    return weight[:, None]

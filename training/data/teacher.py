"""Teacher labels of clips: MediaPipe's landmarks, blendshapes and head pose of every frame, one npz a clip.

    python -m bcdcodec.training.data.teacher --clips DIR --landmarker face_landmarker.task --out DIR

An npz holds `points` float32 [t, 478, 3] (pixels), `blendshapes` float32 [t, 52], `found` bool [t], `turn` float32
[t, 2] (pitch, yaw, radians), `roll` float32 [t] (radians), `scale` float32 [t] (pixels a centimetre of the canonical
face) and `centre` float32 [t, 2] (pixels). Frames without a face hold the labels of the last one that had one.
Clips already labelled are left out, so the command can be run again after a stop.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

from bcdcodec.training.data.head_pose import canonical_face, head_pose, roll_and_turn
from bcdcodec.training.data.landmarker import Face, Landmarker


def read_frames(path: str | Path):
    """Frames of a video, uint8 [h, w, 3]."""
    import av

    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def labels(points: np.ndarray, blendshapes: np.ndarray, found: np.ndarray, canonical) -> dict[str, np.ndarray]:
    """What an npz holds, of the landmarker's output; `canonical` as `canonical_face` returns it."""
    R, scale, centre = head_pose(points, *canonical)
    roll, turn = roll_and_turn(R)
    arrays = {
        "points": points,
        "blendshapes": blendshapes,
        "turn": turn,
        "roll": roll,
        "scale": scale,
        "centre": centre,
    }
    return {**{name: value.astype(np.float32) for name, value in arrays.items()}, "found": found}


def track(landmarker: Landmarker, pictures) -> list[Face | None]:
    """The face of every frame of a video, looked for near that of the frame before; None where there is none."""
    faces: list[Face | None] = []
    for picture in pictures:
        last = faces[-1] if faces else None
        face = landmarker(picture, last.points) if last is not None else None
        faces.append(face if face is not None else landmarker(picture))
    return faces


def label_clip(path: Path, landmarker: Landmarker, canonical) -> dict[str, np.ndarray] | None:
    """The labels of a clip, or None if no frame has a face."""
    faces = track(landmarker, read_frames(path))
    found = np.array([face is not None for face in faces])
    if not found.any():
        return None
    # A frame without a face takes the labels of the last one before it that has one, else of the first.
    at = np.maximum.accumulate(np.where(found, np.arange(len(faces)), -1))
    at[at < 0] = found.argmax()
    points = np.stack([faces[i].points for i in at])
    return labels(points, np.stack([faces[i].blendshapes for i in at]), found, canonical)


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an npz so that it is either whole or absent."""
    part = path.with_suffix(".part")
    with open(part, "wb") as file:
        np.savez(file, **arrays)
    os.replace(part, path)


def main(arguments: list[str] | None = None) -> None:
    """Label all clips of a folder."""
    parser = argparse.ArgumentParser(description="Label clips with MediaPipe's landmarks, blendshapes and head pose.")
    parser.add_argument("--clips", type=Path, required=True, help="folder of .mp4 clips")
    parser.add_argument("--landmarker", type=Path, required=True, help="MediaPipe's face_landmarker.task")
    parser.add_argument("--out", type=Path, required=True, help="folder for the labels, one npz a clip")
    parser.add_argument("--part", default="0/1", help="i/n: every n-th clip from the i-th, to label in n processes")
    options = parser.parse_args(arguments)
    first, step = map(int, options.part.split("/"))
    options.out.mkdir(parents=True, exist_ok=True)
    landmarker, canonical = Landmarker(options.landmarker), canonical_face(options.landmarker)
    missed, frames, start = [], 0, time.time()
    for path in sorted(options.clips.glob("*.mp4"))[first::step]:
        out = options.out / f"{path.stem}.npz"
        if out.exists():
            continue
        found = label_clip(path, landmarker, canonical)
        if found is None:
            missed.append(f"{path.stem} (all)")
            continue
        save(out, found)
        frames += len(found["found"])
        if not found["found"].all():
            missed.append(f"{path.stem} ({int((~found['found']).sum())} of {len(found['found'])})")
    print(f"{frames} frames in {time.time() - start:.0f} s; frames without a face: {', '.join(missed) or 'none'}")


if __name__ == "__main__":
    sys.exit(main())

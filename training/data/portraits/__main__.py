"""python -m bcdcodec.training.data.portraits: re-animates a folder of portraits."""

from __future__ import annotations

import zlib
from pathlib import Path

import click
import cv2
import numpy as np
from tqdm import tqdm

from bcdcodec.errors import BcdError
from bcdcodec.training.data.landmarker import Landmarker
from bcdcodec.training.data.portraits.driving import perform, read_drivers, training_clips
from bcdcodec.training.data.portraits.head import load_head
from bcdcodec.training.data.portraits.portrait import make_portrait
from bcdcodec.training.data.portraits.store import picture, write


@click.command(help="Re-animate portraits with the motion of talking people: one .npz a portrait.")
@click.option("--portraits", type=click.Path(path_type=Path), required=True, help="Folder of portraits (.jpg, .png).")
@click.option("--head", "head_path", type=click.Path(path_type=Path), required=True, help="ICT-FaceKit as .npz.")
@click.option(
    "--landmarker", "task", type=click.Path(path_type=Path), required=True, help="MediaPipe's face_landmarker.task."
)
@click.option(
    "--clips", type=click.Path(path_type=Path), required=True, help="Folder of clips; the split `train` drives."
)
@click.option("--driving", type=click.Path(path_type=Path), help="Folder for what is seen in the clips; OUT/driving.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to write to; what is there is kept."
)
@click.option("--frames", type=click.IntRange(2, 512), default=28, show_default=True, help="Pictures a portrait.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--part", type=(int, int), default=(0, 1), show_default=True, help="Do every N-th portrait from K: K N.")
@click.option("--limit", type=int, help="Stop after so many portraits.")
@click.option(
    "--sheet", type=(int, click.Path(path_type=Path)), help="Write a contact sheet of N pictures of OUT and stop."
)
def main(portraits, head_path, task, clips, driving, out, frames, seed, part, limit, sheet):
    """The command."""
    if sheet:
        contact_sheet(out, *sheet, seed)
        return
    cv2.setNumThreads(1)
    paths = [p for p in portraits.iterdir() if p.suffix in (".jpg", ".png")]
    paths = sorted(paths, key=lambda p: zlib.crc32(p.stem.encode()))[part[0] :: part[1]][
        :limit
    ]  # mixed kinds from the start
    if not paths:
        raise BcdError(f"{portraits}: no .jpg or .png")
    out.mkdir(parents=True, exist_ok=True)
    head, landmarker = load_head(head_path), Landmarker(task)
    driving = driving or out / "driving"
    drivers = read_drivers(training_clips(clips), landmarker, driving)
    performances = [p for p in (perform(d, head, driving) for d in tqdm(drivers, unit="clip")) if p is not None]
    del drivers
    for path in tqdm(paths, unit="portrait"):
        target = out / f"{path.stem}.npz"
        if target.is_file() or (out / f"{path.stem}.refused").is_file():
            continue
        arrays = make_portrait(head, landmarker, performances, path, frames, seed)
        if arrays is None:
            (out / f"{path.stem}.refused").touch()
        else:
            write(target, arrays)


def contact_sheet(folder: Path, count: int, path: Path, seed: int) -> None:
    """`count` pictures of different portraits as one image, ten a row, every second one a photograph's neighbour."""
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise BcdError(f"{folder}: no portraits yet")
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(files), count, replace=len(files) < count)
    tiles = []
    for index in chosen:
        with np.load(files[index], allow_pickle=False) as arrays:
            tiles.append(picture(arrays, int(rng.integers(1, len(arrays["found"])))))
    tiles += [np.zeros_like(tiles[0])] * (-count % 10)
    rows = [np.hstack(tiles[k : k + 10]) for k in range(0, len(tiles), 10)]
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])


if __name__ == "__main__":
    try:
        main()
    except BcdError as error:
        raise SystemExit(f"error: {error}") from None

"""python -m bcdcodec.training.data.portraits: re-animates a folder of portraits."""

from __future__ import annotations

import importlib.util
import zlib
from pathlib import Path

import click

from bcdcodec.errors import BcdError

if importlib.util.find_spec("cv2") is None:  # before anything that imports it
    raise SystemExit("error: portraits need OpenCV: pip install 'bcdcodec[portraits]'")

from tqdm import tqdm  # noqa: E402

from bcdcodec.training.data.landmarker import Landmarker  # noqa: E402
from bcdcodec.training.data.portraits.driving import FRAMES_LEAST, driver_motion, read_drivers, training_clips  # noqa: E402
from bcdcodec.training.data.portraits.head import load_head  # noqa: E402
from bcdcodec.training.data.portraits.portrait import make_portrait  # noqa: E402
from bcdcodec.training.data.portraits.sheet import contact_sheet  # noqa: E402
from bcdcodec.training.data.portraits.store import write  # noqa: E402

PATH = click.Path(path_type=Path)


@click.command(help="Re-animate portraits with the motion of talking people: one .npz a portrait.")
@click.option("--portraits", type=PATH, required=True, help="Folder of photographs (.jpg, .png), one face each.")
@click.option("--head", "head_path", type=PATH, required=True, help="ICT-FaceKit as .npz.")
@click.option("--landmarker", "task", type=PATH, required=True, help="MediaPipe's face_landmarker.task.")
@click.option("--clips", type=PATH, required=True, help="Folder with manifest.csv; clips of the split `train` drive.")
@click.option("--driving", type=PATH, help="Folder of what the clips show, found once.  [default: OUT/driving]")
@click.option("--out", type=PATH, required=True, help="Folder to write to. Files that are there are kept.")
@click.option("--frames", type=click.IntRange(2, 512), default=28, show_default=True, help="Pictures a portrait.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--part", type=(int, int), default=(0, 1), show_default=True, help="K N: every N-th portrait from K on.")
@click.option("--limit", type=int, help="Stop after so many portraits.")
@click.option("--sheet", type=(int, PATH), help="N FILE: then write N pictures of different portraits as one image.")
def main(portraits, head_path, task, clips, driving, out, frames, seed, part, limit, sheet):
    """The command."""
    if not portraits.is_dir():
        raise BcdError(f"{portraits}: no such folder")
    paths = [path for path in portraits.iterdir() if path.suffix in (".jpg", ".png")]
    if not paths:
        raise BcdError(f"{portraits}: no .jpg or .png in it")
    if not 0 <= part[0] < part[1]:
        raise BcdError(f"--part {part[0]} {part[1]}: K must be 0 to N - 1")
    # in an order that mixes their sources, so that a part of the set is like the whole
    paths = sorted(paths, key=lambda path: zlib.crc32(path.stem.encode()))[part[0] :: part[1]][:limit]
    out.mkdir(parents=True, exist_ok=True)
    paths = [p for p in paths if not (out / f"{p.stem}.npz").is_file() and not (out / f"{p.stem}.refused").is_file()]
    if paths:
        head, landmarker = load_head(head_path), Landmarker(task)
        cache = driving or out / "driving"
        drivers = tqdm(read_drivers(training_clips(clips), landmarker, cache), unit="clip")
        motions = [
            motion for motion in (driver_motion(driver, head, cache) for driver in drivers) if motion is not None
        ]
        if not motions:
            raise BcdError(f"{clips}: no clip of split `train` shows a face in {FRAMES_LEAST} frames")
        for path in tqdm(paths, unit="portrait"):
            arrays = make_portrait(head, landmarker, motions, path, frames, seed)
            if arrays is None:
                (out / f"{path.stem}.refused").touch()
            else:
                write(out / f"{path.stem}.npz", arrays)
    if sheet:
        contact_sheet(out, *sheet, seed)


if __name__ == "__main__":
    try:
        main()
    except BcdError as error:
        raise SystemExit(f"error: {error}") from None

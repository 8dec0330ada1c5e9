"""`python -m bcdcodec.training.codes`: a model's training clips as `.bcd` files, for `bcd train gpt2... --codes`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import numpy as np

from bcdcodec.codec import Codec, load
from bcdcodec.container import write_recording
from bcdcodec.training.data.clips import VIDEO_SUFFIXES, split_of
from bcdcodec.training.data.sheets import Sheets, split
from bcdcodec.training.data.sprite_batches import SpriteClips
from bcdcodec.video import read_pictures

SPRITE_CLIPS = 2000  # where all would be thousands of the same few motions


def training_clips(codec: Codec, data: Path, most: int | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """Name and frames uint8 [t, h, w, 3] of the clips of a folder that are for training, at most `most` of them.

    A sprites model reads sprite sheets, of which SPRITE_CLIPS are drawn where `most` is None; others read videos.
    """
    if codec.config.model == "sprites":
        clips = SpriteClips(Sheets.load(data), split()[0])
        for index in np.random.default_rng(0).permutation(len(clips.lengths))[: most or SPRITE_CLIPS]:
            yield f"{index:05d}", clips.clip(int(index))
        return
    for path in [p for p in split_of(data)["train"] if p.suffix.lower() in VIDEO_SUFFIXES][:most]:
        yield "-".join(path.relative_to(data).with_suffix("").parts), read_pictures(path, None, codec.picture_size)


def write_codes(codec: Codec, clips: Iterable[tuple[str, np.ndarray]], out: Path) -> int:
    """Write clips as `.bcd` files of their names into the folder `out`; return how many."""
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, pictures in clips:
        write_recording(out / f"{name}.bcd", codec.encode(pictures), codec.folder.tables)
        count += 1
    return count


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of clips, or of sprite sheets.")
@click.option("--model", default="heads", show_default=True, help="Shipped model or model folder.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the .bcd files.")
@click.option("--clips", type=click.IntRange(min=1), help="At most. [default: all; of sprite sheets 2000]")
def main(data: Path, model: str, out: Path, clips: int | None) -> None:
    """Encode the training clips of a folder into .bcd files, for `bcd train gpt2... --codes`."""
    from tqdm import tqdm

    codec = load(model)
    found = tqdm(training_clips(codec, data, clips), desc="clips", disable=None, leave=False)
    click.echo(f"{out}: {write_codes(codec, found, out)} files")


if __name__ == "__main__":
    main()

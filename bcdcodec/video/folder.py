"""A folder of pictures as a video."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from bcdcodec.errors import VideoError
from bcdcodec.video.colour import rgb_of, to_bt709
from bcdcodec.video.geometry import Orientation
from bcdcodec.video.photo import PhotoError, PhotoSource
from bcdcodec.video.sound import SoundOptions
from bcdcodec.video.stream import StreamSource

if TYPE_CHECKING:
    import av

FOLDER_RATE = Fraction(25)  # frames a second of a folder, which itself states none
# Suffixes of pictures, each with the name of its kind; a folder's pictures are those of the kind with most files.
KINDS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WebP", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF",
    ".heic": "HEIC", ".avif": "AVIF",
}  # fmt: skip


def is_picture_name(name: str) -> bool:
    """Returns whether a file of this name is a picture of a clip, when it lies in a folder that is read as one."""
    return Path(name).suffix.lower() in KINDS


OpenPicture = Callable[[Path], StreamSource | PhotoSource]


class FolderSource:
    """A folder's pictures in natural order (`2.png` before `10.png`), 25 a second; attributes as of `StreamSource`."""

    def __init__(self, folder: Path, open_picture: OpenPicture):
        self.name = str(folder)
        self._open_picture = open_picture
        try:
            kinds = {name: KINDS.get(Path(name).suffix.lower()) for name in os.listdir(folder) if name[0] != "."}
        except OSError as error:
            raise VideoError(f"cannot read {folder}: {error.strerror}") from None
        counts = Counter(kind for kind in kinds.values() if kind)
        if not counts:
            raise VideoError(
                f"folder {folder} holds no picture ({', '.join(KINDS)}); a clip is such a folder, or a video file"
            )
        (usual, count), *others = counts.most_common()
        names = [name for name, kind in kinds.items() if kind == usual]
        self.notes = [
            f"of the pictures in {folder} the {count} {usual} are read, the {number} {kind} are not"
            for kind, number in others
        ]
        self._paths = [folder / name for name in sorted(names, key=_natural_order)]
        self.time_base = 1 / FOLDER_RATE
        self.frame_rate = FOLDER_RATE
        self.has_audio = False
        self.is_photo = False
        self.orientation: Orientation | None = Orientation()  # pictures are given upright
        self.hint = ""  # what else may be wrong when nothing can be read
        self.sound = None
        self.pixel_aspect = Fraction(1)
        self.duration_s = float(len(names) / FOLDER_RATE)
        self.damage: str | None = None
        self.reduced = 1  # times smaller that its frames are, known with the first
        self.suspect = False
        self.jumps = 0

    def frames(self) -> Iterator[av.VideoFrame]:
        """Yields one frame a file; VideoError for one that is unreadable or of another size."""
        size = None
        for pts, path in enumerate(self._paths):
            frame = self._picture(path)
            size = size or (frame.width, frame.height)
            if (frame.width, frame.height) != size:
                raise VideoError(
                    f"{path} is {frame.width}x{frame.height} pixels, "
                    f"{self._paths[0].name} is {size[0]}x{size[1]}: the pictures of a clip must be of one size"
                )
            frame.pts, frame.time_base = pts, self.time_base
            frame.duration = 1
            yield frame

    def listen(self, options: SoundOptions, track: int | None = None) -> None:
        """Does nothing: pictures are silent."""

    def samples(self, count: int) -> Iterator[av.VideoFrame]:
        """Yields up to `count` of the pictures, spread over the clip."""
        step = max(1, len(self._paths) // count)
        for path in self._paths[step // 2 :: step][:count]:
            yield self._picture(path)

    def close(self) -> None:
        """Does nothing: each file is closed once it is decoded."""

    def _picture(self, path: Path) -> av.VideoFrame:
        """Returns the upright picture in a file; VideoError that names the file when there is none."""
        try:
            with closing(self._open_picture(path)) as picture:
                frame = next(picture.frames(), None)
                self.reduced = picture.reduced
                if frame is not None:
                    return _upright(frame, picture.orientation)
        except PhotoError:
            raise
        except VideoError:
            pass  # said below; that it is no video would mislead
        raise VideoError(f"{path} is not a picture: it is empty, damaged or of another kind than its name says")


def _upright(frame: av.VideoFrame, orientation: Orientation | None) -> av.VideoFrame:
    import av
    from av.video.reformatter import VideoReformatter

    if orientation is None or orientation == Orientation():
        return frame
    image = to_bt709(rgb_of(frame, VideoReformatter()), frame)
    return av.VideoFrame.from_numpy_buffer(orientation.apply(image), format="rgb24")


def _natural_order(name: str) -> list[tuple[int, str]]:
    """Returns a key that sorts runs of digits by their value; zeros in front break ties."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]

"""Samples of a video: whole upright pictures from all over it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from bcdcodec.video.read import frame_geometry, upright_picture
from bcdcodec.video.source import Source, open_source


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as a player shows it, perhaps made smaller."""

    image: np.ndarray  # uint8 [h, w, 3]
    width: int  # pixels that it has in the video
    height: int


def sample_pictures(source: Source, count: int, shorter_side: int, track: int | None = None) -> Iterator[Picture]:
    """Yields up to `count` pictures spread over a video, none with a shorter side above `shorter_side` pixels.

    `track`: number of the video track, from 1; None for the default one. VideoError as for `read_frames`.
    """
    with closing(open_source(source, track)) as opened:
        for frame in opened.samples(count):
            geometry = frame_geometry(frame, opened)
            width, height = geometry.upright_size
            factor = min(1, shorter_side / min(width, height))
            image = upright_picture(frame, geometry, max(1, round(width * factor)), max(1, round(height * factor)))
            yield Picture(image, width * opened.reduced, height * opened.reduced)

"""Motion codes -> pictures, frame by frame, while memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bcdcodec.coding.rate_control import between
from bcdcodec.container import Content, Head, Motion
from bcdcodec.errors import FormatError
from bcdcodec.models.base import Condition
from bcdcodec.models.latents import to_uint8
from bcdcodec.models.windows import overlapped

if TYPE_CHECKING:
    from bcdcodec.codec import Codec

Vector = tuple[int, int, Tensor]  # number of the frame, number of its content, quantised motion [m]


@dataclass(frozen=True)
class Driving:
    """Whose motion a content is shown in."""

    foreign: bool = False  # another recording's than the content
    drivers: tuple[Content, ...] = ()  # that recording's own contents, where they are known
    relative: bool = False  # begin in the content's own pose, and add to it what changes from the first frame on
    landmarks: bool = True  # join both faces by landmarks, where these can be found; False: by networks alone


def driving_of(
    head: Head, contents: tuple[Content, ...], swapped: bool, relative: bool = False, landmarks: bool = True
) -> Driving:
    """Whose motion the recording of `head` and `contents` brings; `swapped`: onto another recording's content."""
    made = head.reenacted or head.generated  # then its contents are not those of the motion
    return Driving(swapped or made, contents if swapped and not made else (), relative, landmarks)


@torch.inference_mode()
def decode_frames(
    codec: Codec, motions: Iterator[Motion], contents: tuple[Content, ...], seed: int, steps: int, by: Driving
) -> Iterator[tuple[int, np.ndarray]]:
    """`(frame number, uint8 [h, w, 3])` one by one; one fixed noise picture for the whole clip.

    With a single content that one serves every motion chunk. Raises FormatError for a content that is missing.
    """
    noise = codec.noise(seed)
    by_number, driving = ({content.number: content for content in some} for some in (contents, by.drivers))
    only = contents[0].number if len(contents) == 1 else None

    def scene(vector: Vector) -> tuple[int, int | None]:
        """Numbers of the content that a frame shows, and of the driver's."""
        return vector[1] if only is None else only, vector[1] if vector[1] in driving else None

    for (number, driver), vectors in groupby(_frames(motion_vectors(codec, motions)), key=scene):
        first, _, vector = next(vectors)
        if number not in by_number:
            raise FormatError(f"frame {first} asks for content {number}, the file has {len(contents)}")
        shown = by_number[number]
        if by.foreign:
            portrait = codec.portrait_moved_by(
                shown, driving.get(driver), by.relative, by.landmarks, by.drivers[0] if by.drivers else None
            )
        else:
            portrait = codec.model.detailed(codec.portrait(shown))
        tokens, reference = codec.dequantised(shown)
        apart = by.foreign and (
            portrait is None or portrait.joined is None
        )  # landmarks join faces better than the decoder does
        clip = Condition(
            tokens,
            vector[None, None],
            reference if portrait is None else portrait.motion,
            foreign=torch.ones(1, device=codec.device) if apart else None,
            portrait=portrait,
        )

        def windows(m_hat: Tensor) -> Tensor:
            """Pictures [b, t, 3, h, w] in [-1, 1] of windows of quantised motion [b, t, m]."""
            b, t = m_hat.shape[:2]
            return codec.pictures_of(codec.model.decode(clip.of_windows(m_hat), noise.expand(b, t, -1, -1, -1), steps))

        following = chain([vector], (v for _, _, v in vectors))
        frame, overlap = (
            first,
            codec.config.window.overlap if steps else 0,
        )  # without networks no frame depends on others
        for pictures in overlapped(windows, following, codec.config.window.length, overlap):
            for picture in to_uint8(pictures):
                yield frame, picture
                frame += 1


def _frames(motions: Iterator[tuple[Motion, Tensor]]) -> Iterator[Vector]:
    for motion, vectors in motions:
        for i, vector in enumerate(vectors):
            yield motion.first_frame + i, motion.content, vector


def motion_vectors(codec: Codec, motions: Iterator[Motion]) -> Iterator[tuple[Motion, Tensor]]:
    """Each chunk with the quantised motion [t, m] of its frames; between coded frames it lies on straight lines."""
    waiting: tuple[Motion, Tensor] | None = None  # whose last frames lie between it and the chunk that follows
    for motion in motions:
        codes = torch.from_numpy(motion.codes.astype(np.int64)).to(codec.device)
        vectors = codec.model.vq.lookup(codes[None])[0]  # [u, m]
        if waiting is not None:
            chunk, coded = waiting
            yield (
                chunk,
                between(coded, chunk.frames, chunk.stride, vectors[0] if chunk.content == motion.content else None),
            )
        waiting = (motion, vectors) if motion.stride > 1 else None
        if waiting is None:
            yield motion, vectors
    if waiting is not None:
        chunk, coded = waiting
        yield chunk, between(coded, chunk.frames, chunk.stride)

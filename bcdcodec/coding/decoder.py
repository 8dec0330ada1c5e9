"""Motion codes to pictures: frame by frame with flat memory, or many short clips at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, groupby

import numpy as np
import torch
from torch import Tensor

from bcdcodec.coding.content import base_of, dequantise, reference_of
from bcdcodec.coding.rate_control import between
from bcdcodec.coding.session import Session
from bcdcodec.container import Content, Motion
from bcdcodec.errors import FormatError
from bcdcodec.models.base import Reference
from bcdcodec.models.latents import to_uint8
from bcdcodec.models.windows import overlapped

Key = tuple[int, int | None]  # number of the content that is shown, and of the driving recording's where that matters


class References:
    """The contents of a recording, and the reference that each of them gives."""

    def __init__(self, session: Session, contents: Sequence[Content]):
        """A single content serves every motion chunk, whatever number that names."""
        self._session = session
        self._contents = {content.number: content for content in contents}
        self._only = contents[0].number if len(contents) == 1 else None

    def key(self, number: int) -> Key:
        """What frames of a motion chunk that names content `number` are decoded with; equal keys share a reference."""
        return number if self._only is None else self._only, None

    def reference(self, key: Key, frame: int) -> Reference:
        """The reference [1, ...] of frames with a key; `frame`: the first of them.

        Raises FormatError for a content that is missing or does not fit the model.
        """
        content = self._content(key[0], frame)
        return reference_of(self._session, content, True, base_of(content, self._contents.values()))

    def _content(self, number: int, frame: int) -> Content:
        if number not in self._contents:
            raise FormatError(f"frame {frame} asks for content {number}, the file has {len(self._contents)}")
        return self._contents[number]


@torch.inference_mode()
def decode_frames(
    session: Session, motions: Iterator[Motion], references: References, seed: int, steps: int | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """`(frame number, uint8 [h, w, 3])` one by one; the noise of `seed` is the same in every window.

    `steps`: sampling steps; None: the model's; 0: the reference is warped by the motion, no network draws a frame.
    Raises FormatError for a content that is missing, ModelError for 0 steps of a model whose motion is no flow.
    """
    window = session.config.window
    steps = session.config.diffusion.steps if steps is None else steps
    noise = noise_of(session, seed)
    vectors = _frames(motion_vectors(session, motions))
    for key, run in groupby(vectors, key=lambda vector: references.key(vector[1])):
        frame, _, first = next(run)
        sample = partial(_sample, session, references.reference(key, frame), noise, steps)
        overlap = window.overlap if steps else 0  # without networks no frame depends on others
        for pictures in overlapped(sample, chain([first], (m for _, _, m in run)), window.length, overlap):
            for picture in to_uint8(pictures):
                yield frame, picture
                frame += 1


def _sample(session: Session, reference: Reference, noise: Tensor, steps: int, m_hat: Tensor) -> Tensor:
    """Pictures [b, t, 3, h, w] in [-1, 1] of windows of quantised motion [b, t, m]; `reference` [1 or b, ...]."""
    b, t = m_hat.shape[:2]
    if len(reference.tokens) != b:
        reference = reference.expand(b)
    decoded = session.model.synthesise(reference, m_hat, noise.expand(b, t, -1, -1, -1), steps)
    large = None if decoded.large is None else decoded.large.flatten(0, 1)
    return session.latents.decode(decoded.latents.flatten(0, 1), large).unflatten(0, decoded.latents.shape[:2])


def noise_of(session: Session, seed: int) -> Tensor:
    """The noise of a seed: [1, 1, c, h, w] for all frames, or [1, t, c, h, w] for those of a window."""
    latent = session.config.latent
    frames = session.config.window.length if session.model.noise_per_frame else 1
    shape = (1, frames, latent.channels, latent.size, latent.size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(session.device)


def _frames(motions: Iterator[tuple[Motion, Tensor]]) -> Iterator[tuple[int, int, Tensor]]:
    """Number of each frame, number of its content, its quantised motion [m]."""
    for motion, vectors in motions:
        for i, vector in enumerate(vectors):
            yield motion.first_frame + i, motion.content, vector


def motion_vectors(session: Session, motions: Iterator[Motion]) -> Iterator[tuple[Motion, Tensor]]:
    """Each chunk with the quantised motion [t, m] of its frames; between coded frames it is interpolated linearly."""
    waiting: tuple[Motion, Tensor] | None = None  # whose last frames lie between it and the chunk that follows
    for motion in motions:
        codes = torch.from_numpy(motion.codes.astype(np.int64)).to(session.device)
        vectors = session.model.vq.lookup(codes[None])[0]  # [u, m]
        if waiting is not None:
            chunk, coded = waiting
            following = vectors[0] if chunk.content == motion.content else None
            yield chunk, between(coded, chunk.frames, chunk.stride, following)
        waiting = (motion, vectors) if motion.stride > 1 else None
        if waiting is None:
            yield motion, vectors
    if waiting is not None:
        chunk, coded = waiting
        yield chunk, between(coded, chunk.frames, chunk.stride)


@torch.inference_mode()
def decode_windows(
    session: Session, codes: np.ndarray, contents: Sequence[Content], seed: int = 0, steps: int | None = None
) -> np.ndarray:
    """Pictures uint8 [b, t, h, w, 3] of codes [b, t, g], at most a window each, under one content each.

    What decoding makes of one short recording, for many at once. Raises FormatError for a content of another shape.
    """
    parts = [dequantise(session, content) for content in contents]
    tokens = torch.cat([tokens for tokens, _ in parts])  # [b, n, d]
    motion = torch.cat([m for _, m in parts]) if session.config.content.reference_motion else None
    b, t = codes.shape[:2]
    padded = np.concatenate([codes, codes[:, -1:].repeat(session.config.window.length - t, axis=1)], axis=1)
    m_hat = session.model.vq.lookup(torch.from_numpy(padded.astype(np.int64)).to(session.device))
    reference = session.model.reference(tokens, motion, detailed=True)
    steps = session.config.diffusion.steps if steps is None else steps
    pictures = to_uint8(_sample(session, reference, noise_of(session, seed), steps, m_hat)[:, :t].flatten(0, 1))
    return pictures.reshape(b, t, *pictures.shape[1:])

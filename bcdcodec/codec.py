"""The codec as a class: load a model, encode pictures, decode recordings, as a whole or as streams."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from bcdcodec.coding import content as coded_content, decoder, encoder
from bcdcodec.coding.encoder import StreamOptions
from bcdcodec.coding.head import Geometry, check_model, make_head
from bcdcodec.coding.session import Session, open_session
from bcdcodec.container import Content, Motion, Recording
from bcdcodec.errors import FormatError
from bcdcodec.model_folder import DEFAULT_MODEL, open_model
from bcdcodec.reenactment.options import ReenactmentOptions
from bcdcodec.reenactment.retarget import references_of

if TYPE_CHECKING:
    from bcdcodec.stream.decoder import StreamDecoder
    from bcdcodec.stream.encoder import LiveOptions, StreamEncoder


def load(name_or_folder: str | os.PathLike = DEFAULT_MODEL, device: str = "cpu", vae: str | None = None) -> Codec:
    """A codec with a shipped model's weights, or those of a model folder.

    `vae`: a hub name or local folder of the image autoencoder, for models over latents.
    Raises ModelError.
    """
    return Codec(open_session(open_model(name_or_folder), device, vae))


class Codec:
    """A loaded model that encodes and decodes: the functions of `coding` and `reenactment` over one session."""

    def __init__(self, session: Session):
        self.session = session
        self.folder, self.config, self.device = session.folder, session.config, session.device
        self.model, self.latents, self.picture_size = session.model, session.latents, session.picture_size

    def encode(
        self, frames: np.ndarray, frame_rate: Fraction | int = 25, profile: str | None = None, kbps: float | None = None
    ) -> Recording:
        """Pictures uint8 [t, h, w, 3] (h = w = picture_size) at a constant rate -> Recording.

        `profile`: static or context; None: context where the model has tables for it. `kbps`: of motion, kbit/s;
        None: the model's own. Raises FormatError for another shape or no frames, ModelError for profile context of a
        model without its tables.
        """
        size = self.picture_size
        if frames.ndim != 4 or frames.shape[1:] != (size, size, 3) or frames.dtype != np.uint8 or not len(frames):
            raise FormatError(
                f"frames are {frames.dtype} {list(frames.shape)}, expected uint8 [t >= 1, {size}, {size}, 3]"
            )
        time_base = 1 / Fraction(frame_rate)
        head = make_head(self.folder, Geometry(size, size, (0, 0, size, size)), time_base, 1, profile=profile)
        options = StreamOptions(time_base=time_base, kbps=kbps, profile=profile)
        items = list(self.encode_stream(enumerate(frames), options))
        contents = tuple(item for item in items if isinstance(item, Content))
        motions = tuple(replace(item, pts=None) for item in items if isinstance(item, Motion))
        return Recording(replace(head, frame_count=len(frames)), contents, motions)

    def encode_stream(
        self, frames: Iterable[tuple[int, np.ndarray]], options: StreamOptions | None = None
    ) -> Iterator[Content | Motion]:
        """`(pts, uint8 [h, w, 3])` one by one -> each Content before the Motion chunks, with pts; memory stays flat."""
        return encoder.encode_frames(self.session, frames, options)

    def decode(
        self, recording: Recording, content: Recording | None = None, steps: int | None = None, seed: int | None = None
    ) -> np.ndarray:
        """Pictures uint8 [t, h, w, 3] of a recording; with `content`, that recording's person in this one's motion.

        `steps`, `seed`: else the model's and the recording's own; for 0 steps see `decode_frames`. Raises FormatError
        for a recording without content, ModelMismatchError for another model's, ModelError for a `content` of a model
        that shows one person's motion only.
        """
        check_model(recording.head, self.folder)
        if content is not None:
            check_model(content.head, self.folder)
        if not (recording if content is None else content).contents:
            raise FormatError("the recording holds no content, nothing can be decoded")
        frames = [picture for _, picture in self.decode_stream(recording, content, steps, seed)]
        return np.stack(frames) if frames else np.zeros((0, self.picture_size, self.picture_size, 3), np.uint8)

    def decode_stream(
        self,
        recording: Recording,
        content: Recording | None = None,
        steps: int | None = None,
        seed: int | None = None,
        options: ReenactmentOptions | None = None,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """`(frame number, uint8 [h, w, 3])` one by one, as `decode` gives them; memory stays flat."""
        other = None if content is None else content.contents[:1]
        references = references_of(self.session, recording.head, recording.contents, other, options)
        seed = recording.head.sampler_seed if seed is None else seed
        return decoder.decode_frames(self.session, iter(recording.motions), references, seed, steps)

    def stream_encoder(self, options: LiveOptions | None = None) -> StreamEncoder:
        """Frames to packets as they come, see `bcdcodec.stream`. Raises ModelError for a model without live streams."""
        from bcdcodec.stream.encoder import StreamEncoder

        return StreamEncoder(self.session, options)

    def stream_decoder(self) -> StreamDecoder:
        """Packets to frames as they come. Raises ModelError for a model without live streams."""
        from bcdcodec.stream.decoder import StreamDecoder

        return StreamDecoder(self.session)

    def decode_windows(
        self, codes: np.ndarray, contents: Sequence[Content], seed: int = 0, steps: int | None = None
    ) -> np.ndarray:
        """Pictures uint8 [b, t, h, w, 3] of many short clips at once, see `decoder.decode_windows`."""
        return decoder.decode_windows(self.session, codes, contents, seed, steps)

    def reference_image(self, recording: Recording, number: int = 0) -> np.ndarray | None:
        """The reference image of a recording's content, uint8 [h, w, 3]; None for models whose tokens hold no image."""
        content = recording.contents[number]
        return coded_content.reference_image(self.session, content, coded_content.base_of(content, recording.contents))

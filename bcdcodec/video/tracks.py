"""Which of a container's video and sound tracks are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bcdcodec.errors import VideoError

if TYPE_CHECKING:
    import av

PROBED_SECONDS = 10.0  # of each sound track, in which it is looked for sound
SILENT = 1e-3  # of full scale, -60 dB: a peak below is silence


def choose_video(name: str, streams: Sequence[av.VideoStream], track: int | None) -> tuple[av.VideoStream, str | None]:
    """Returns the track to read, and a note if there are several; `track`: its number from 1, None for the default.

    The default is what the container marks so, and among several such, or without a mark, the largest picture.
    Streams must be without cover pictures, at least one. VideoError for a track that is not there or cannot be decoded.
    """
    if track is None:
        decodable = [stream for stream in streams if stream.codec_context is not None] or streams
        marked = [stream for stream in decodable if _is_default(stream)] or decodable
        chosen = max(marked, key=_area)
    else:
        chosen = _numbered(name, streams, track, "video")
    if chosen.codec_context is None:
        raise VideoError(
            f"{name} is of a codec that this PyAV cannot decode: convert a video to H.264, a photo to JPEG or PNG"
        )
    if track is not None or len(streams) == 1:
        return chosen, None
    size = f"{chosen.codec_context.width}x{chosen.codec_context.height}"
    number = list(streams).index(chosen) + 1
    return (
        chosen,
        f"{name} has {len(streams)} video tracks: track {number} ({size}) is read; --video-track N for another",
    )


def choose_sound(
    name: str, streams: Sequence[av.AudioStream], track: int | None, peaks: Sequence[float] | None
) -> tuple[av.AudioStream | None, str | None]:
    """Returns the sound track to read, and a note if there are several; None where none can be decoded.

    `peaks`: the largest sample of each stream's beginning, 0 to 1, where known; silent ones are passed over.
    """
    if track is not None:
        chosen = _numbered(name, streams, track, "sound")
        return (chosen if chosen.codec_context is not None else None), None
    decodable = [stream for stream in streams if stream.codec_context is not None]
    if not decodable:
        return None, None
    marked = [stream for stream in decodable if _is_default(stream)]
    ordered = marked + [stream for stream in decodable if stream not in marked]
    heard = [stream for stream in ordered if peaks is None or peaks[list(streams).index(stream)] >= SILENT]
    chosen = (heard or ordered)[0]
    if len(streams) == 1:
        return chosen, None
    number = list(streams).index(chosen) + 1
    why = "" if chosen is ordered[0] else ", as the default one is silent"
    return chosen, f"{name} has {len(streams)} sound tracks: track {number} is read{why}; --audio-track N for another"


def probe_peaks(container: av.container.InputContainer) -> list[float]:
    """Returns the largest sample of the first seconds of each sound track, 0 to 1; reads the container on."""
    import av

    streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
    peaks = {stream.index: 0.0 for stream in container.streams.audio}
    heard = dict.fromkeys(peaks, 0.0)  # seconds
    done: set[int] = set()
    for packet in container.demux(streams):
        index = packet.stream.index
        if index in done:
            continue
        try:
            frames = packet.decode()
        except (av.FFmpegError, OSError):
            continue
        for frame in frames:
            peaks[index] = max(peaks[index], _peak(frame))
            heard[index] += frame.samples / frame.sample_rate
        if peaks[index] >= SILENT or heard[index] >= PROBED_SECONDS:
            done.add(index)
        if len(done) == len(streams):
            break
    return [peaks[stream.index] for stream in container.streams.audio]


def _peak(frame: av.AudioFrame) -> float:
    samples = frame.to_ndarray()
    if not samples.size:
        return 0.0
    if samples.dtype.kind == "f":
        return float(np.abs(samples).max())
    if samples.dtype.kind == "u":
        return float(np.abs(samples.astype(np.float64) - 128).max() / 128)
    return float(np.abs(samples.astype(np.float64)).max() / -float(np.iinfo(samples.dtype).min))


def _numbered(name: str, streams: Sequence, track: int, kind: str):
    if not 1 <= track <= len(streams):
        raise VideoError(f"{name} has {len(streams)} {kind} tracks, number {track} was asked for: they count from 1")
    return streams[track - 1]


def _is_default(stream: av.stream.Stream) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.default)


def _area(stream: av.VideoStream) -> int:
    codec = stream.codec_context
    return 0 if codec is None else codec.width * codec.height

"""A stream against a file at the same rate: `python -m bcdcodec.benchmarks live CLIP... --quality --networks FOLDER`.

Clips go back and forth until they are as long as is asked for. The stream is coded as `bcd call` does while somebody
speaks, over a network without loss. The file has the rate of the stream, motion and references together. Both are
measured alike, within clips, and beside each the picture of its reference, held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.live import back_and_forth
from bcdcodec.benchmarks.measure.landmarks import clip_landmarks, find_task
from bcdcodec.benchmarks.measure.pictures import psnr
from bcdcodec.benchmarks.measure.within_clip import SIGNALS, compare_signals, mean_head, signals_of
from bcdcodec.codec import Codec, load
from bcdcodec.container.payloads import pack_content
from bcdcodec.live.engine import call_options
from bcdcodec.models.latents import to_uint8
from bcdcodec.stream.packets import MediaPacket, Report
from bcdcodec.training.data.landmarker import Landmarker
from bcdcodec.video import read_pictures

TICK_MS = 40
REPORT_PACKETS = 8  # from one report to the next
SPEECH_BYTES = 61  # of a packet's sound, 4.1 kbit/s: speech without a pause


@dataclass(frozen=True)
class Coded:
    """A clip as it was coded and decoded."""

    pictures: np.ndarray  # uint8 [t, h, w, 3]
    held: np.ndarray  # likewise: at every time the reference in use
    motion_bytes: int
    reference_bytes: int
    references: int


def streamed(codec: Codec, frames: np.ndarray) -> Coded:
    """Frames uint8 [t, h, w, 3], 25 a second, through a stream without loss."""
    options = call_options(None, sound=True)
    encoder, decoder = codec.stream_encoder(replace(options, background=False)), codec.stream_decoder()
    shown, held, motion, references, packets = [], [], 0, {}, []
    for i, frame in enumerate(frames):
        if i % options.packet_frames == 0:
            encoder.add_sound(bytes(SPEECH_BYTES))
        packets = encoder.push(frame, i * TICK_MS)
        packets += encoder.flush() if i == len(frames) - 1 else []
        for packet in packets:
            found = decoder.push(packet)
            shown += [each.picture for each in found]
            if isinstance(packet, MediaPacket):
                motion += len(packet.motion.coded)
                entry = encoder.references.current
                references[entry.number] = entry.size
                held += [_picture(entry.reference)] * len(found)
                if packet.sequence % REPORT_PACKETS == 0:
                    encoder.receive(Report(packet.sequence, 0xFFFF, 0, decoder.references.have))
    return Coded(np.stack(shown), np.stack(held), motion, sum(references.values()), len(references))


def filed(codec: Codec, frames: np.ndarray, kbps: float) -> Coded:
    """Frames uint8 [t, h, w, 3], 25 a second, as a file whose motion and references take `kbps` together."""
    span, motion_kbps = len(frames) * TICK_MS / 1000, kbps
    for _ in range(2):  # how many references there are is known once it was coded
        recording = codec.encode(frames, kbps=motion_kbps)
        sizes = [len(pack_content(content, codec.folder.tables)[0]) for content in recording.contents]
        motion_kbps = max(0.5 * kbps, kbps - 8 / 1000 * sum(sizes) / span)
    held = np.broadcast_to(codec.reference_image(recording), frames.shape)
    motion = round(span * kbps * 1000 / 8) - sum(sizes)
    return Coded(codec.decode(recording), held, motion, sum(sizes), len(sizes))


def _picture(reference) -> np.ndarray:
    return to_uint8(reference.tokens)[0]


def quality_table(clips: tuple[Path, ...], seconds: float, networks: Path | None) -> Iterator[str]:
    """Lines of a Markdown table: each measure of the stream and of the file, mean over the clips in which it counts."""
    codec, landmarker = load("faces"), Landmarker(find_task(networks))
    rows: dict[str, list[tuple[float, ...]]] = {}
    for clip in clips:
        frames = back_and_forth(read_pictures(clip, None, codec.picture_size), round(seconds * 1000 / TICK_MS))
        stream = streamed(codec, frames)
        span = len(frames) * TICK_MS / 1000
        kbps = 8 / 1000 * (stream.motion_bytes + stream.reference_bytes) / span
        file = filed(codec, frames, kbps)
        landmarks = clip_landmarks(landmarker, frames)
        head = mean_head(landmarks)
        source = signals_of(landmarks, head)
        measured = []
        for pictures in (stream.pictures, stream.held, file.pictures, file.held):
            found = {"PSNR, dB": psnr(pictures, frames)}
            for name, one in compare_signals(signals_of(clip_landmarks(landmarker, pictures), head), source).items():
                if one.deviation >= SIGNALS[name].moves:
                    found |= {f"{name}, slope": one.slope, f"{name}, correlation": one.correlation}
                    if one.extreme_error is not None:
                        found[f"{name}, error at the extreme"] = one.extreme_error
            measured.append(found)
        yield (
            f"{clip.stem}: {kbps:.2f} kbit/s, {stream.motion_bytes} bytes of motion in the stream; stream: "
            f"{stream.references} references, {measured[0]['PSNR, dB']:.2f} dB; file: {file.references} references, "
            f"{measured[2]['PSNR, dB']:.2f} dB"
        )
        for name in measured[0]:
            if all(name in found for found in measured):
                rows.setdefault(name, []).append(tuple(found[name] for found in measured))
    yield "\n| measure | stream | held | file | held | stream against file | clips |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name, values in rows.items():
        stream, held, file, file_held = np.mean(values, 0)
        yield (
            f"| {name} | {stream:.3f} | {held:.3f} | {file:.3f} | {file_held:.3f} | {stream / file - 1:+.1%} | "
            f"{len(values)} |"
        )

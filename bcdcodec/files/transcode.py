"""Files to files: video to `.bcd`, `.bcd` to video, and one recording's motion under another's content."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from bcdcodec.container import BcdReader, ByteCounts, Content, Head, Motion, Recording, Surroundings, write_recording
from bcdcodec.device import pick_device
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.errors import BcdError, LimitError, MissingDetectorError, TruncatedError
from bcdcodec.files.append import write_live
from bcdcodec.files.checks import check_same_model, checked_target, playable_time_base, refuse_above
from bcdcodec.files.opening import model_of, naming, open_sound
from bcdcodec.files.pipes import is_standard, standard_input, standard_output
from bcdcodec.files.sound_track import AudioSpool, SoundFeed
from bcdcodec.model_folder import DEFAULT_MODEL, open_model
from bcdcodec.reenactment.landmarks import FLOW_ALONE, can_find_landmarks
from bcdcodec.video import (
    MAX_SIDE,
    STILL_SIDE,
    Crop,
    FrameReader,
    PasteBack,
    SoundOptions,
    constant_frame_duration,
    decode_still,
    encode_still,
    enlarge,
    face_square,
    holds_sound,
    read_frames,
    write_video,
)

if TYPE_CHECKING:
    from bcdcodec.codec import Codec

MAX_FRAMES = 1_000_000  # of one decode, eleven hours at 25 frames a second
MAX_FRAME_DURATION = 0xFFFFFFFF  # ticks, as HEAD can hold
RATE_TOLERANCE = 0.15  # of the rate asked for, beyond which `encode_file` says what was reached
MARK = "synthesised: the face and the motion come from different recordings"
AUTO_CROP = "auto"
MARK_GENERATED = "synthesised: made from generated video"

PathLike = str | os.PathLike
Progress = Callable[[int, int | None], None]  # frames done, frames in all where known


@dataclass(frozen=True)
class EncodeSummary:
    """What `encode_file` wrote."""

    frames: int
    duration_s: float  # seconds
    byte_counts: ByteCounts
    notes: tuple[str, ...]  # what the user should know, one line each


@dataclass(frozen=True)
class DecodeSummary:
    """What `decode_file` wrote."""

    frames: int
    duration_s: float  # seconds
    notes: tuple[str, ...]


def encode_file(
    source: PathLike,
    target: PathLike,
    model: PathLike = DEFAULT_MODEL,
    crop: Crop | str | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: Progress | None = None,
    vae: str | None = None,
    sound: SoundOptions | None = SoundOptions(),
    profile: str | None = None,
    kbps: float | None = None,
    surroundings: bool = False,
    scenes: bool = True,
) -> EncodeSummary:
    """Encode a video (or a folder of PNGs) into the file `target`, whole or not at all; `-` is standard input or output.

    A single picture becomes a content without motion, to be shown in the motion of others.
    Standard output gets every chunk as it is ready, with the times of all frames.

    The times between frames stay exact; the first frame is moved to 0. Frames at equal distances are stored as
    a constant frame duration, others in the coarsest ticks that hold all distances. Of clips with far more frames a
    second than the model's, every second or fewer are coded and the others put between them on decoding. Pictures never
    accumulate; codes do (one byte a group and frame), because only the last frame tells whether the rate was constant.
    `crop`: a square, "auto" for one around the face, None for the largest in the middle. `surroundings`: keep a still of
    the whole first picture, for `decode_file` to paste faces back into.
    `scenes`: whether another content begins where the picture jumps, or where the present one no longer reaches what is seen.
    `vae`: hub name or folder of the image autoencoder, for models over latents. `sound`: None leaves it out.
    `profile`: static or context; None: context where the model has tables for it. `kbps`: of motion, in kbit/s, by which contents grow; None: the model's own.
    Raises VideoError for a source that is no video, ModelError, BcdError for a target that cannot be written.
    """
    live = is_standard(target)
    target = checked_target(target, source)
    if not live and target.suffix.lower() != ".bcd":
        raise BcdError(f"cannot encode into {target}: its suffix is {target.suffix or 'missing'!r}, expected .bcd")
    folder = open_model(model)
    folder.tables.motion_profile(profile)  # raises before any work if the model has no tables for it
    size = folder.config.latent.picture_size
    notes = []
    if crop == AUTO_CROP and is_standard(source):
        raise BcdError(
            "--crop auto reads its source twice and cannot with standard input: give a file, or --crop x,y,w,h"
        )
    if crop == AUTO_CROP:
        crop, note = _face_or_centre(source)
        notes.append(note)
    with (
        read_frames(standard_input() if is_standard(source) else source, crop, size, sound) as video,
        AudioSpool() as audio,
    ):
        from bcdcodec.codec import Codec, Geometry  # after the cheap checks: torch takes seconds
        from bcdcodec.coding.encoder import StreamOptions

        codec = Codec(folder, pick_device(device), vae)
        square = (video.crop.x, video.crop.y, video.crop.w, video.crop.h)
        geometry = Geometry(video.info.width, video.info.height, square)
        head = codec.head(geometry, video.time_base, 0, seed, profile)
        info = video.info
        total = round(info.duration_s * info.frame_rate) if info.duration_s and info.frame_rate else None
        stills = (Surroundings(0, encode_still(video.first_picture(STILL_SIDE))),) if surroundings else ()
        if video.is_photo:
            return _encode_photo(codec, video, kbps, head, stills, standard_output() if live else target, notes)
        options = StreamOptions(time_base=video.time_base, kbps=kbps, profile=profile, scenes=scenes)
        items = codec.encode_stream(_counted(video, progress, total), options)
        if live:
            written = write_live(standard_output(), head, items, video, stills, folder.tables)
            notes += _source_notes(video, sound, source)
            return EncodeSummary(
                written.frames, float(written.ticks * video.time_base), written.byte_counts, tuple(notes)
            )
        contents, motions = [], []
        for item in items:
            if isinstance(item, Content):
                contents.append(item)
                continue
            motions.append(item)
            if video.sound:
                audio.add(video.sound.take(int(item.pts[-1] - motions[0].pts[0]) * video.time_base))
        pts = np.concatenate([motion.pts for motion in motions])
        step = constant_frame_duration(pts.tolist()) if len(pts) > 1 else video.last_duration
        time_base = video.time_base
        if step is not None and step <= MAX_FRAME_DURATION:
            head = replace(head, frame_duration=int(step))
            motions = [replace(motion, pts=None) for motion in motions]
            ticks = len(pts) * step
        else:
            unit = int(np.gcd.reduce(np.diff(pts)))  # counted in these, most distances take one byte instead of two
            time_base *= unit
            head = replace(head, time_base_num=time_base.numerator, time_base_den=time_base.denominator)
            motions = [replace(motion, pts=(motion.pts - pts[0]) // unit) for motion in motions]
            ticks = int(2 * pts[-1] - pts[-2] - pts[0]) // unit
        if video.sound:
            audio.add(video.sound.take(ticks * time_base))
        notes += _source_notes(video, sound, source)
        recording = Recording(head, tuple(contents), tuple(motions), audio=audio, surroundings=stills)
        counts = write_recording(target, recording, folder.tables)
        seconds = float(ticks * time_base)
        if (
            kbps
            and seconds
            and not 1 - RATE_TOLERANCE <= (got := counts.motion * 8 / seconds / 1000) / kbps <= 1 + RATE_TOLERANCE
        ):
            why = "the nearest codes need no more" if got < kbps else "this clip cannot be coded in less"
            notes.append(f"motion takes {got:.2f} kbit/s of the {kbps:g} asked for: {why}")
        return EncodeSummary(len(pts), seconds, counts, tuple(notes))


def decode_file(
    source: PathLike,
    target: PathLike,
    content: PathLike | None = None,
    steps: int | None = None,
    seed: int | None = None,
    model: PathLike | None = None,
    device: str = "auto",
    max_frames: int = MAX_FRAMES,
    progress: Progress | None = None,
    vae: str | None = None,
    scale: int = 1,
    audio: bool = True,
    paste_back: bool = False,
    relative: bool = False,
    landmarks: bool = True,
) -> DecodeSummary:
    """Decode a `.bcd` file into a video or a folder of PNGs, as `write_video` takes them, whole or not at all.

    `-` is standard input, which is read to its end before decoding begins, or standard output, which gets Matroska.

    `content`: a `.bcd` file of the same model whose first content is shown in the motion of `source`; the
    result carries a tag that says so. Into a `.bcd` target goes the recording that has this motion and that
    content, without any network. Of a file that ends early, the frames before the cut are decoded, with a note.
    `model`: a name or folder, else the shipped model that `source` names; `steps`, `seed`: else the model's
    and the file's own. `scale`: each pixel becomes a square of so many, of the pictures alone; a `.bcd` target has none.
    `audio`: whether the sound of `source` goes into the output. `paste_back`: show the face in the still of what was
    around it, which the file of the face must hold. `relative`: with `content`, begin in that face's own pose and add to it
    what changes in `source` from its first frame on. `landmarks`: join both faces by them where they can be found.
    Raises FormatError and its kinds for a damaged file, LimitError for more than `max_frames` frames,
    ModelMismatchError, BcdError for a target that cannot be written.
    """
    target = checked_target(target, source, content)
    with ExitStack() as stack:
        reader = stack.enter_context(open_sound(source))
        refuse_above(max_frames, reader.frames, source)
        if reader.complete and not reader.frames:
            raise BcdError(f"{source} holds a face without motion: give it with --content to the recording of a motion")
        head = reader.head
        other = None
        if content is not None:
            other = stack.enter_context(open_sound(content))
            check_same_model(source, head, content, other.head)
        with naming(source):
            folder = model_of(head, model)
            tables = reader.checked_tables(folder.tables)
            contents = drivers = tuple(reader.contents(tables))
        if other is not None:
            with naming(content):
                contents = (replace(other.content(0, folder.tables), number=0, first_frame=0),)
        clock = _Clock(head.frame_duration)
        motions = _motions(source, reader, tables, max_frames, clock)
        if relative:
            motions, contents = _relative(motions, contents, head.model_name)
        has_sound = audio and reader.audio_format is not None
        notes = []
        if target.suffix.lower() == ".bcd" and not target.is_dir():
            if other is None:
                raise BcdError(f"{target} would be a copy of {source}: give --content, or a video as the output")
            if paste_back:
                raise BcdError(
                    f"--paste-back makes pictures, {target} holds codes: leave it out, and give it when "
                    f"{target} is decoded"
                )
            if scale != 1:
                raise BcdError(
                    f"--scale {scale} enlarges pictures, {target} holds codes: leave it out, and give it when "
                    f"{target} is decoded"
                )
            head = replace(head, reenacted=True, generated=head.generated or other.head.generated, frame_count=0)
            driven = (replace(motion, content=0) for motion in motions)
            sound = reader.audio() if has_sound else ()
            recording = Recording(head, contents, driven, {"synthesised": True}, sound)
            write_recording(target, recording, tables, reader.has_own_tables)
        else:
            marks = [MARK] * (other is not None or head.reenacted) + [MARK_GENERATED] * head.generated
            metadata = {"comment": "; ".join(marks)} if marks else None
            size = folder.config.latent.picture_size * scale
            paste = _paste_back(content or source, other or reader, scale) if paste_back else None
            width, height = paste.size if paste else (size, size)
            if size > MAX_SIDE:
                raise LimitError(
                    f"--scale {scale} makes pictures of {size} x {size} pixels, the limit is {MAX_SIDE} a side"
                )
            if has_sound and not is_standard(target) and not holds_sound(target):
                notes.append(f"the sound of {source} is left out: {target} cannot hold it")
                has_sound = False
            time_base = playable_time_base(source, head)
            out = standard_output() if is_standard(target) else target
            with write_video(
                out, width, height, time_base, metadata, reader.audio_format if has_sound else None
            ) as video:
                from bcdcodec.codec import Codec  # after the cheap checks: torch takes seconds
                from bcdcodec.coding.decoder import driving_of

                codec = Codec(folder, pick_device(device), vae)
                feed = SoundFeed(reader, video) if has_sound else None
                seed = head.sampler_seed if seed is None else seed
                for number, picture in codec.decode_stream(
                    motions, contents, seed, steps, driving_of(head, drivers, other is not None, relative, landmarks)
                ):
                    tick = clock.waiting.popleft()
                    if feed:
                        feed.write_until(tick * time_base)
                    video.write(paste(picture) if paste else enlarge(picture, scale), tick, head.frame_duration or None)
                    if progress:
                        progress(number + 1, reader.frames or None)
                if feed:
                    feed.write_until(clock.end * time_base)
        if not reader.complete:
            stated = f" of {reader.head.frame_count}" if reader.head.frame_count else ""
            notes.append(f"{source} ends early: {clock.frames}{stated} frames were there and are decoded")
        if other is not None:
            notes.append(f"{target} is marked as synthesised: the motion of {source} with the face of {content}")
            if (
                folder.config.content.appearance
                and landmarks
                and not (reader.head.reenacted or reader.head.generated or can_find_landmarks())
            ):
                notes.append(FLOW_ALONE)
        elif head.reenacted:
            notes.append(f"{source} is reenacted: its face and its motion come from different recordings")
        return DecodeSummary(clock.frames, clock.end * head.time_base_num / head.time_base_den, tuple(notes))


@dataclass
class _Clock:
    """When frames are shown, in ticks from the first one's start, noted as motion is read."""

    frame_duration: int  # ticks; 0 = variable
    frames: int = 0  # read so far
    end: int = 0  # where the last of them ends
    waiting: deque[int] = field(default_factory=deque)  # starts of the frames that are read and not yet shown
    _first_pts: int = 0
    _last: int = 0  # start of the last frame read

    def add(self, motion: Motion) -> None:
        if motion.pts is None:
            starts = [i * self.frame_duration for i in range(self.frames, self.frames + motion.frames)]
            step = self.frame_duration
        else:
            if not self.frames:
                self._first_pts = int(motion.pts[0])
            starts = [int(p) - self._first_pts for p in motion.pts]
            step = starts[-1] - (starts[-2] if len(starts) > 1 else self._last) or 1
        self.frames += len(starts)
        self.end, self._last = starts[-1] + step, starts[-1]
        self.waiting.extend(starts)


def _motions(
    path: PathLike, reader: BcdReader, tables: ModelTables, max_frames: int, clock: _Clock
) -> Iterator[Motion]:
    """The motion of a file, noted in `clock`. Raises TruncatedError for a file without a frame."""
    with naming(path):
        for motion in reader.motion(tables):
            refuse_above(max_frames, motion.first_frame + motion.frames, path)
            clock.add(motion)
            yield motion
        if not clock.frames:
            raise TruncatedError("it ends before its first frame, nothing can be decoded")


def _relative(
    motions: Iterator[Motion], contents: tuple[Content, ...], model: str
) -> tuple[Iterator[Motion], tuple[Content, ...]]:
    """The same motions, and contents that stand for the pose with which these begin, whatever pose they show.

    The decoder moves a content by how a frame's motion differs from the content's own.
    """
    if any(content.reference_codes is None for content in contents):
        raise BcdError(
            f"--relative needs a model that codes the motion of the content's picture, {model} does not: leave it out"
        )
    first = next(motions)
    return chain([first], motions), tuple(replace(content, reference_codes=first.codes[0]) for content in contents)


def _encode_photo(
    codec: Codec,
    video: FrameReader,
    kbps: float | None,
    head: Head,
    stills: tuple[Surroundings, ...],
    target: Path | BinaryIO,
    notes: list[str],
) -> EncodeSummary:
    """Write the content of one picture, as it would be beside motion of `kbps`, without motion."""
    pictures = np.stack([picture for _, picture in video])
    content = codec.content_of(pictures, codec.motion_features(pictures), kbps)
    recording = Recording(replace(head, frame_duration=1), (content,), (), surroundings=stills)
    notes.append("a single picture: the file holds a face without motion, to be given with decode --content")
    return EncodeSummary(0, 0.0, write_recording(target, recording, codec.folder.tables), tuple(notes))


def _source_notes(video: FrameReader, sound: SoundOptions | None, source: PathLike) -> list[str]:
    """What was wrong with a source that is read to its end."""
    notes = [f"the sound of {source} is left out: this PyAV cannot decode it"]
    return notes * bool(video.info.has_audio and sound and not video.sound) + [video.damage] * bool(video.damage)


def _face_or_centre(source: PathLike) -> tuple[Crop | None, str]:
    """The square around the face, else None for the centre; and what the user should know of it."""
    try:
        square = face_square(source)
    except MissingDetectorError as error:
        return None, f"{error}; the centre square of {source} is coded"
    if square is None:
        return None, f"no face is found in {source}: the centre square is coded"
    return square, f"the face in {source} lies in {square} (x, y, width, height), which is coded"


def _paste_back(path: PathLike, reader: BcdReader, scale: int) -> PasteBack:
    """What puts decoded pictures back into the still of a file. Raises BcdError for a file without one."""
    if scale != 1:
        raise BcdError(f"--scale {scale} does not go with --paste-back, whose pictures have the size of the still")
    with naming(path):
        still = next(iter(reader.surroundings()), None)
        if still is None:
            raise BcdError(f"{path} holds no surroundings to paste the face into: encode with --surroundings")
        head = reader.head
        return PasteBack(decode_still(still.webp), head.crop, head.source_width, head.source_height)


def _counted(frames: Iterable, progress: Progress | None, total: int | None) -> Iterator:
    for i, frame in enumerate(frames):
        yield frame
        if progress:
            progress(i + 1, total)

"""A video file into a `.bcd` file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from bcdcodec.container import ByteCounts, Content, Head, Motion, Recording, Surroundings, write_recording
from bcdcodec.device import pick_device
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.errors import BcdError
from bcdcodec.files import PathLike, Progress
from bcdcodec.files.append import Written, write_live
from bcdcodec.files.checks import checked_target
from bcdcodec.files.pipes import is_standard, standard_input, standard_output
from bcdcodec.files.sound_track import AudioSpool
from bcdcodec.files.square import AUTO_CROP, face_or_centre
from bcdcodec.model_folder import DEFAULT_MODEL, open_model
from bcdcodec.video import (
    STILL_SIDE,
    Crop,
    FaceChoice,
    FrameReader,
    SoundOptions,
    Tracks,
    constant_frame_duration,
    encode_still,
    is_pipe,
    read_frames,
)

if TYPE_CHECKING:
    from bcdcodec.coding.session import Session

MAX_FRAME_DURATION = 0xFFFFFFFF  # ticks, as HEAD can hold
RATE_TOLERANCE = 0.15  # of the rate asked for, beyond which a note says what was reached
COPIED_RATIO = 2.0  # times the rate of encoded sound, beyond which a note says what copied sound takes
DAMAGE_NOTE = "none of them is a reference"
PHOTO_NOTE = "a single picture: the file holds a reference image without motion, for decode --content"


@dataclass(frozen=True)
class EncodeOptions:
    """How a video is encoded."""

    model: PathLike = DEFAULT_MODEL  # name of a shipped model, or a model folder
    device: str = "auto"  # auto, cpu, cuda or cuda:N
    vae: str | None = None  # hub name or folder of the image autoencoder, for models over latents
    crop: Crop | str | None = None  # square in pixels of the upright picture, or AUTO_CROP; None: the centre
    face: int | None = None  # which one AUTO_CROP is around, from 1 at the left; None: the largest
    tracks: Tracks = Tracks()  # of video and sound that are read
    surroundings: bool = False  # keep a still of the whole first picture, for DecodeOptions.paste_back
    kbps: float | None = None  # kbit/s of motion, contents grow with it; None: the model's own
    profile: str | None = None  # static or context; None: context where the model has tables for it
    scenes: bool = True  # whether another reference follows at a scene cut, or where the warp error is too large
    seed: int = 0  # of the decoder's noise, kept in the file
    sound: SoundOptions | None = SoundOptions()  # None leaves the sound out


@dataclass(frozen=True)
class EncodeSummary:
    """What `encode_file` wrote."""

    frames: int
    duration_s: float  # seconds
    byte_counts: ByteCounts
    notes: tuple[str, ...]  # what the user should know, one line each


def encode_file(
    source: PathLike,
    target: PathLike,
    options: EncodeOptions | None = None,
    progress: Progress | None = None,
    session: Session | None = None,
) -> EncodeSummary:
    """Encode a video, photo or folder of pictures as the file `target`, whole or not at all; `-` is standard in or out.

    A single picture becomes a content without motion, for reenactment. Standard output gets every chunk as it is
    ready, with the times of all frames. The first frame is moved to time 0; distances between frames stay exact. Of
    clips with far more frames a second than the model's, every second or fewer are coded and the motion of the others
    is interpolated. Pictures never accumulate; codes do (one byte a group and frame), because only the last frame
    tells whether the rate was constant. `session`: the options' model where it is loaded already.
    Raises VideoError for a source that is no video, ModelError, BcdError for a target that cannot be written.
    """
    options = options or EncodeOptions()
    live = is_standard(target) or is_pipe(target)
    target = checked_target(target, source)
    if not live and target.suffix.lower() != ".bcd":
        raise BcdError(f"cannot encode into {target}: its suffix is {target.suffix or 'missing'!r}, expected .bcd")
    folder = open_model(options.model)
    folder.tables.motion_profile(options.profile)  # raises before any work if the model has no tables for it
    choice, size = FaceChoice(options.crop), folder.config.latent.picture_size
    if options.crop == AUTO_CROP:
        choice = face_or_centre(source, options.face, size, options.tracks.video)
    notes = list(choice.notes)
    file = standard_input() if is_standard(source) else source
    opened = read_frames(file, choice.crop, size, options.sound, options.tracks, choice.turn)
    with opened as video, AudioSpool() as audio:
        from bcdcodec.coding.encoder import StreamOptions, encode_frames  # after the cheap checks: torch takes seconds
        from bcdcodec.coding.head import Geometry, make_head
        from bcdcodec.coding.session import open_session

        session = session or open_session(folder, pick_device(options.device), options.vae)
        info, square = video.info, video.crop
        geometry = Geometry(info.width, info.height, (square.x, square.y, square.w, square.h))
        head = make_head(folder, geometry, video.time_base, 0, options.seed, options.profile)
        stills = (Surroundings(0, encode_still(video.first_picture(STILL_SIDE))),) if options.surroundings else ()
        if video.is_photo:
            from bcdcodec.coding.content import make_content
            from bcdcodec.coding.motion import motion_of

            pictures = np.stack([picture for _, picture in video])
            content = make_content(session, pictures, motion_of(session, pictures), options.kbps)
            recording = Recording(replace(head, frame_duration=1), (content,), (), surroundings=stills)
            with _opened(target) if live else nullcontext(target) as out:
                counts = write_recording(out, recording, folder.tables)
            return EncodeSummary(0, 0.0, counts, (*notes, *video.notes, PHOTO_NOTE))
        total = round(info.duration_s * info.frame_rate) if info.duration_s and info.frame_rate else None
        stream = StreamOptions(
            time_base=video.time_base,
            kbps=options.kbps,
            profile=options.profile,
            scenes=options.scenes,
            damaged=video.suspects,
        )
        items = encode_frames(session, _counted(video, progress, total), stream)
        if live:
            with _opened(target) as out:
                written = write_live(out, head, items, video, stills, folder.tables)
        else:
            written = _write_whole(target, head, items, video, stills, folder.tables, audio)
        if info.has_audio and options.sound and not video.sound:
            notes.append(f"the sound of {source} is left out: this PyAV cannot decode it")
        notes += video.notes
        if video.damage:
            notes.append(f"{video.damage}; {DAMAGE_NOTE}" if video.suspects else video.damage)
        notes += _sound_notes(written, video, options.sound)
        if options.kbps and not live:
            notes += _rate_notes(written, options.kbps)
        return EncodeSummary(written.frames, written.seconds, written.byte_counts, tuple(notes))


def _opened(target: Path) -> AbstractContextManager[BinaryIO]:
    """Standard output, or a named pipe."""
    if is_standard(target):
        return nullcontext(standard_output())
    try:
        return open(target, "wb")
    except OSError as error:
        raise BcdError(f"cannot write {target}: {error.strerror}") from None


def _write_whole(
    target: Path | BinaryIO,
    head: Head,
    items: Iterable[Content | Motion],
    video: FrameReader,
    stills: tuple[Surroundings, ...],
    tables: ModelTables,
    audio: AudioSpool,
) -> Written:
    """Write a recording once all of it is encoded, with a constant frame duration where its frames have one."""
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
    recording = Recording(head, tuple(contents), tuple(motions), audio=audio, surroundings=stills)
    return Written(len(pts), float(ticks * time_base), write_recording(target, recording, tables))


def _sound_notes(written: Written, video: FrameReader, options: SoundOptions | None) -> list[str]:
    """A note if copied sound takes far more than it would if it was encoded."""
    if not video.sound or not video.sound.copied or not written.seconds:
        return []
    kbps, motion = video.sound.kbps, written.byte_counts.motion * 8 / written.seconds / 1000
    if kbps <= COPIED_RATIO * options.kbps:
        return []
    return [
        f"the sound is Opus and is copied at {kbps:.0f} kbit/s, beside {motion:.1f} kbit/s of motion: "
        f"--audio-kbps {options.kbps:g} encodes it at that rate"
    ]


def _rate_notes(written: Written, kbps: float) -> list[str]:
    """A note if the motion's rate is not near the one asked for."""
    if not written.seconds:
        return []
    got = written.byte_counts.motion * 8 / written.seconds / 1000
    if abs(got / kbps - 1) <= RATE_TOLERANCE:
        return []
    why = "the nearest codes need no more" if got < kbps else "this clip cannot be coded in less"
    return [f"motion takes {got:.2f} kbit/s of the {kbps:g} asked for: {why}"]


def _counted(frames: Iterable, progress: Progress | None, total: int | None) -> Iterator:
    for i, frame in enumerate(frames):
        yield frame
        if progress:
            progress(i + 1, total)

"""A `.bcd` file into a video, or, as a reenactment, into another `.bcd` file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from bcdcodec.container import BcdReader, Content, Motion, Recording, write_recording
from bcdcodec.container.limits import MAX_FRAMES
from bcdcodec.device import pick_device
from bcdcodec.errors import BcdError, LimitError
from bcdcodec.files import PathLike, Progress
from bcdcodec.files.checks import check_same_model, checked_target, playable_time_base, refuse_above
from bcdcodec.files.clock import Clock, timed_motions
from bcdcodec.files.opening import model_of, naming, open_sound
from bcdcodec.files.photo_content import content_file
from bcdcodec.files.pipes import is_standard, standard_output
from bcdcodec.files.repair_file import open_repaired
from bcdcodec.files.sound_track import SoundFeed
from bcdcodec.model_folder import ModelFolder
from bcdcodec.reenactment.options import ReenactmentOptions, check_reenactment
from bcdcodec.video import MAX_SIDE, PasteBack, decode_still, enlarge, holds_sound, write_video

MARK = "synthesised: the face and the motion come from different recordings"
MARK_GENERATED = "synthesised: made from generated video"


@dataclass(frozen=True)
class DecodeOptions:
    """How a file is decoded."""

    model: PathLike | None = None  # name or folder; None: the shipped model that the file names
    device: str = "auto"  # auto, cpu, cuda or cuda:N
    vae: str | None = None  # hub name or folder of the image autoencoder, for models over latents
    steps: int | None = None  # of the sampler; 0: warp the reference image, no network; None: the model's
    seed: int | None = None  # of the noise; None: the file's
    max_frames: int = MAX_FRAMES  # more are refused
    scale: int = 1  # every pixel becomes a square of so many a side
    sound: bool = True  # whether the file's sound goes into the output
    keep_going: bool = False  # decode what is whole in a damaged file; else it is refused
    paste_back: bool = False  # show the face in the still of its surroundings, which its file must hold
    reenactment: ReenactmentOptions = field(default_factory=ReenactmentOptions)  # used with a content


@dataclass(frozen=True)
class DecodeSummary:
    """What `decode_file` wrote."""

    frames: int
    duration_s: float  # seconds
    notes: tuple[str, ...]  # what the user should know, one line each


@dataclass(frozen=True, eq=False)
class _Source:
    """The open files of a decode, and what they hold."""

    path: PathLike
    reader: BcdReader
    other: BcdReader | None  # of the content, in a reenactment
    folder: ModelFolder
    own: tuple[Content, ...]
    contents: tuple[Content, ...] | None  # to show instead of its own, in a reenactment
    motions: Iterator[Motion]
    clock: Clock
    notes: tuple[str, ...]  # of what is lost of a damaged file, and of a photo that is the content


def decode_file(
    source: PathLike,
    target: PathLike,
    content: PathLike | None = None,
    options: DecodeOptions | None = None,
    progress: Progress | None = None,
) -> DecodeSummary:
    """Decode a `.bcd` file into a video or a folder of PNGs, as `write_video` takes them, whole or not at all.

    `-` is standard input, which is read to its end before decoding begins, or standard output, which gets Matroska.
    `content`: a `.bcd` file of the same model whose first content is shown in the motion of `source` (reenactment),
    or a photo; the result carries a tag that says so. A `.bcd` target gets that motion with that content, and no
    network is run, but for a photo.
    Of a file that ends early, the frames before the cut are decoded, with a note; of a damaged one, with
    `keep_going`, what is whole, with a note for everything that is lost.
    Raises FormatError and its kinds for a damaged file, LimitError for too many frames, ModelMismatchError, ModelError
    for a content of a model that shows one person's motion only, BcdError for a target that cannot be written.
    """
    options = options or DecodeOptions()
    target = checked_target(target, source, content)
    with ExitStack() as stack:
        opened = _open(stack, source, content, options)
        head, notes = opened.reader.head, [*opened.notes]
        if target.suffix.lower() == ".bcd" and not target.is_dir():
            _write_reenacted(target, opened, options)
        else:
            notes += _write_pictures(target, opened, content, options, progress)
        clock = opened.clock
        if not opened.reader.complete:
            stated = f" of {head.frame_count}" if head.frame_count else ""
            notes.append(f"{source} ends early: {clock.frames}{stated} frames were there and are decoded")
        if content is not None:
            notes.append(f"{target} is marked as synthesised: the motion of {source} with the face of {content}")
        elif head.reenacted:
            notes.append(f"{source} is reenacted: its face and its motion come from different recordings")
        return DecodeSummary(clock.frames, clock.end * head.time_base_num / head.time_base_den, tuple(notes))


def _open(stack: ExitStack, source: PathLike, content: PathLike | None, options: DecodeOptions) -> _Source:
    lost: tuple[str, ...] = ()
    if options.keep_going:
        reader, report = stack.enter_context(open_repaired(source, options.model, options.max_frames))
        lost = report.lines
    else:
        reader = stack.enter_context(open_sound(source))
    refuse_above(options.max_frames, reader.frames, source, reader.content_values)
    if reader.complete and not reader.frames:
        raise BcdError(f"{source} holds a reference image without motion: give it with --content to another file")
    with naming(source):
        folder = model_of(reader.head, options.model)
        if content is not None:
            check_reenactment(folder.config, options.reenactment)
        tables = reader.checked_tables(folder.tables)
        own = tuple(reader.contents(tables))
    other, contents, notes = None, None, []
    if content is not None:
        path, notes = stack.enter_context(content_file(content, folder.path, options.device, options.vae))
        other = stack.enter_context(open_sound(path))
        check_same_model(source, reader.head, content, other.head)
        with naming(content):
            contents = (replace(other.content(0, folder.tables), number=0, first_frame=0),)
    clock = Clock(reader.head.frame_duration)
    motions = timed_motions(source, reader, tables, options.max_frames, clock)
    return _Source(source, reader, other, folder, own, contents, motions, clock, (*lost, *notes))


def _write_reenacted(target: Path, source: _Source, options: DecodeOptions) -> None:
    """Write the motion of one file with the content of another; no network is needed."""
    if source.other is None:
        raise BcdError(f"{target} would be a copy of {source.path}: give --content, or a video as the output")
    for given, option in (
        (not options.reenactment.plain, "--relative, --drive or --strength changes"),
        (options.paste_back, "--paste-back makes"),
        (options.scale != 1, f"--scale {options.scale} enlarges"),
    ):
        if given:
            raise BcdError(
                f"{option} pictures, {target} holds codes: leave it out, and give it when {target} is decoded"
            )
    reader = source.reader
    generated = reader.head.generated or source.other.head.generated
    head = replace(reader.head, reenacted=True, generated=generated, frame_count=0)
    motions = (replace(motion, content=0) for motion in source.motions)
    sound = reader.audio() if options.sound else ()
    recording = Recording(head, source.contents, motions, {"synthesised": True}, sound)
    write_recording(target, recording, reader.checked_tables(source.folder.tables), reader.has_own_tables)


def _write_pictures(
    target: Path, source: _Source, content: PathLike | None, options: DecodeOptions, progress: Progress | None
) -> list[str]:
    """Decode into a video or a folder of PNGs; returns notes."""
    reader, head, clock, notes = source.reader, source.reader.head, source.clock, []
    marks = [MARK] * (source.other is not None or head.reenacted) + [MARK_GENERATED] * head.generated
    metadata = {"comment": "; ".join(marks)} if marks else None
    size = source.folder.config.latent.picture_size * options.scale
    finish, width, height = partial(enlarge, factor=options.scale), size, size
    if options.paste_back:
        finish = _paste_back(content or source.path, source.other or reader, options.scale)
        width, height = finish.size
    if size > MAX_SIDE:
        raise LimitError(
            f"--scale {options.scale} makes pictures of {size} x {size} pixels, the limit is {MAX_SIDE} a side"
        )
    sound = reader.audio_format if options.sound else None
    if sound is not None and not is_standard(target) and not holds_sound(target):
        notes.append(f"the sound of {source.path} is left out: {target} cannot hold it")
        sound = None
    time_base = playable_time_base(source.path, head)
    out = standard_output() if is_standard(target) else target
    with write_video(out, width, height, time_base, metadata, sound) as video:
        from bcdcodec.coding.decoder import decode_frames  # after the cheap checks: torch takes seconds
        from bcdcodec.coding.session import open_session
        from bcdcodec.reenactment.retarget import references_of

        session = open_session(source.folder, pick_device(options.device), options.vae)
        references = references_of(session, head, source.own, source.contents, options.reenactment)
        feed = SoundFeed(reader, video) if sound else None
        seed = head.sampler_seed if options.seed is None else options.seed
        for number, picture in decode_frames(session, source.motions, references, seed, options.steps):
            tick = clock.waiting.popleft()
            if feed:
                feed.write_until(tick * time_base)
            video.write(finish(picture), tick, head.frame_duration or None)
            if progress:
                progress(number + 1, reader.frames or None)
        if feed:
            feed.write_until(clock.end * time_base)
    return notes


def _paste_back(path: PathLike, reader: BcdReader, scale: int) -> PasteBack:
    """What puts decoded pictures back into the still of a file. Raises BcdError for a file without one."""
    if scale != 1:
        raise BcdError(f"--scale {scale} does not go with --paste-back, whose pictures have the size of the source")
    with naming(path):
        still = next(iter(reader.surroundings()), None)
        if still is None:
            raise BcdError(f"{path} holds no surroundings to paste the face into: encode with --surroundings")
        head = reader.head
        return PasteBack(decode_still(still.webp), head.crop, head.source_width, head.source_height)

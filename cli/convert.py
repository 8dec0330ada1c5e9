"""`bcd encode`, `bcd decode` and `bcd demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bcdcodec.reenactment.options import PARTS

if TYPE_CHECKING:
    from bcdcodec.files.encode_file import EncodeOptions, EncodeSummary

SEED = click.IntRange(0, 2**64 - 1)
VAE = click.option("--vae", help="Hub name or folder of the image autoencoder, for models over latents.")
DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps (Apple).")


@click.command()
@click.argument("paths", metavar="IN OUT.bcd | IN... --out DIR", nargs=-1, required=True)
@click.option(
    "--out", "folder", metavar="DIR", help="Encode every IN into this folder; one that fails does not stop the others."
)
@click.option("--model", default="faces", show_default=True, help="A shipped model, or the folder of one.")
@click.option(
    "--crop",
    metavar="X,Y,W,H|auto",
    help="The square to code, in pixels of the upright picture; auto: around the face. [default: the centre]",
)
@click.option(
    "--face",
    type=click.IntRange(min=1),
    help="With --crop auto: which face, from 1 at the left. [default: the largest]",
)
@click.option(
    "--video-track",
    type=click.IntRange(min=1),
    help="Which video track, from 1. [default: the one marked so, else the largest]",
)
@click.option(
    "--audio-track",
    type=click.IntRange(min=1),
    help="Which sound track, from 1. [default: the one marked so, unless it is silent]",
)
@click.option("--surroundings", is_flag=True, help="Keep a still of the whole first picture, for decode --paste-back.")
@VAE
@DEVICE
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the decoder's noise, kept in the file.")
@click.option("--no-audio", is_flag=True, help="Leave the sound out.")
@click.option(
    "--audio-kbps",
    type=click.FloatRange(6, 64),
    help="Encode the sound at this rate, Opus too. [default: 7, and Opus is copied]",
)
@click.option(
    "--kbps",
    type=click.FloatRange(0.01, 100),
    help="Rate of the motion; from 3 on the reference image gets more bytes too. [default: the model's own]",
)
@click.option(
    "--scenes",
    type=click.Choice(["auto", "off"]),
    default="auto",
    show_default=True,
    help="auto: a new reference at a scene cut, or where the warp error is too large; off: one for all.",
)
@click.option(
    "--profile",
    type=click.Choice(["static", "context"]),
    help="Entropy coding of the motion, context is adaptive. [default: context, if the model has tables for it]",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="With --out: encode in so many processes, or on a Ray cluster; extra `distributed`.",
)
@click.option("--report", metavar="FILE", help="With --workers: a row a video, as .parquet or .csv.")
def encode(
    paths: tuple[str, ...],
    folder: str | None,
    workers: int | None,
    report: str | None,
    crop: str | None,
    video_track: int | None,
    audio_track: int | None,
    no_audio: bool,
    audio_kbps: float | None,
    scenes: str,
    **options,
) -> None:
    """Encode a video into a .bcd file.

    IN is a video, an animation, a photo or a folder of pictures, of any size and frame rate; docs/inputs.md lists what
    is read, and how. Transparent pixels are coded on black. Sound becomes Opus, mono voice; Opus is copied. A photo
    becomes a reference image for decode --content. - is standard input or output.
    """
    from bcdcodec.cli.progress import progress_bar, show_notes
    from bcdcodec.files.encode_file import EncodeOptions, encode_file
    from bcdcodec.files.square import AUTO_CROP
    from bcdcodec.video import SoundOptions, Tracks, parse_crop

    if folder is None and len(paths) != 2:
        raise click.UsageError(
            f"one IN and one OUT.bcd are wanted, {len(paths)} paths are given; for several use --out DIR"
        )
    if options["face"] is not None and crop != AUTO_CROP:
        raise click.UsageError("--face goes with --crop auto")
    if (workers is not None and folder is None) or (report is not None and workers is None):
        raise click.UsageError("--workers goes with --out, --report with --workers")
    square = parse_crop(crop) if crop and crop != AUTO_CROP else crop
    sound = None if no_audio else SoundOptions() if audio_kbps is None else SoundOptions(audio_kbps, copy=False)
    tracks = Tracks(video_track, audio_track)
    given = EncodeOptions(crop=square, tracks=tracks, sound=sound, scenes=scenes == "auto", **options)
    if workers is not None:
        _encode_in_parallel(paths, folder, given, workers, report)
        return
    if folder is not None:
        _encode_all(paths, folder, given)
        return
    source, target = paths
    with progress_bar("encode") as progress:
        done = encode_file(source, target, given, progress)
    show_notes(done.notes)
    click.echo(_encoded(target, done), err=target == "-")


def _encode_all(paths: tuple[str, ...], folder: str, options: EncodeOptions) -> None:
    """Encode several sources, and exit with 1 if one failed."""
    from bcdcodec.cli.progress import progress_bar, show_notes
    from bcdcodec.errors import BcdError
    from bcdcodec.files.encode_batch import encode_batch

    failed, count = [], 0
    with progress_bar("encode") as progress:
        for item in encode_batch(paths, folder, options, progress):
            count += 1
            if isinstance(item.result, BcdError):
                failed.append(str(item.source))
                click.echo(f"bcd: error: {' '.join(str(item.result).split())}", err=True)
            else:
                show_notes(item.result.notes)
                click.echo(_encoded(item.target, item.result))
    _show_count(count, failed)


def _encode_in_parallel(
    paths: tuple[str, ...], folder: str, options: EncodeOptions, workers: int, report: str | None
) -> None:
    """Encode several sources by workers, and exit with 1 if one failed."""
    from bcdcodec.cli.progress import show_notes
    from bcdcodec.distributed import encode_all, write_report
    from bcdcodec.distributed.worker import FAILED

    failed, count = [], 0
    results = encode_all(paths, folder, options, workers)
    for result in results if report is None else write_report(report, results):
        count += 1
        if result.status == FAILED:
            failed.append(result.source)
            click.echo(f"bcd: error: {' '.join(result.message.split())}", err=True)
            continue
        show_notes((result.message,) if result.message else ())
        click.echo(
            f"{result.target}: {result.status}, {result.frames} frames, {result.duration_s:.3f} s, "
            f"{result.bytes_total} bytes (motion {result.bytes_motion}, content {result.bytes_content}, "
            f"audio {result.bytes_audio}, container {result.bytes_container})"
        )
    _show_count(count, failed)


def _show_count(count: int, failed: list[str]) -> None:
    click.echo(f"{count - len(failed)} of {count} encoded" + (f"; failed: {', '.join(failed)}" if failed else ""))
    if failed:
        raise click.exceptions.Exit(1)


def _encoded(target: str | Path, done: EncodeSummary) -> str:
    counts = done.byte_counts
    return (
        f"{target}: {done.frames} frames, {done.duration_s:.3f} s, {counts.total} bytes "
        f"(motion {counts.motion}, content {counts.content}, audio {counts.audio}, container {counts.container})"
    )


@click.command()
@click.argument("source", metavar="IN.bcd")
@click.argument("target", metavar="OUT")
@click.option(
    "--content",
    metavar="OTHER.bcd|PHOTO",
    help="Reenactment: show the face of OTHER, or of a photo, in the motion of IN.",
)
@click.option("--relative", is_flag=True, help="With --content: keep that face's own pose, add the changes of IN.")
@click.option(
    "--drive",
    metavar="PARTS",
    default=",".join(PARTS),
    show_default=True,
    help="With --content: what moves as in IN; the rest stays as that face has it.",
)
@click.option(
    "--strength",
    type=click.FloatRange(0, 1.5),
    default=1.0,
    show_default=True,
    help="With --content: share of the motion of IN that is shown; above 1 exaggerates it.",
)
@click.option(
    "--no-landmarks", is_flag=True, hidden=True, expose_value=False, help="Of earlier versions: no landmarks are used."
)
@click.option(
    "--paste-back", is_flag=True, help="Show the face in the still of its surroundings, if its file holds one."
)
@click.option(
    "--steps",
    type=click.IntRange(0, 1000),
    help="Sampling steps; 0: warp the reference image, run no network. [default: the model's]",
)
@click.option(
    "--scale",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Enlarge the pictures: every pixel becomes a square of so many.",
)
@click.option("--seed", type=SEED, help="Of the noise. [default: the file's]")
@click.option("--model", help="Name or folder of the model. [default: the shipped one that IN names]")
@VAE
@DEVICE
@click.option(
    "--max-frames",
    type=click.IntRange(min=1),
    default=1_000_000,
    show_default=True,
    help="Refuse files with more frames.",
)
@click.option("--keep-going", is_flag=True, help="Decode what is whole in a damaged file, as repair keeps it.")
@click.option("--no-audio", is_flag=True, help="Leave the sound out.")
def decode(
    source: str,
    target: str,
    content: str | None,
    relative: bool,
    drive: str,
    strength: float,
    no_audio: bool,
    **options,
) -> None:
    """Decode a .bcd file into a video.

    OUT ends in .mp4, .mkv, .webm, .gif or .apng, or is a folder for PNGs; with --content also .bcd. A
    reenactment (--content) is marked as synthesised; files of the model heads make none. - is standard input or
    output; the output is Matroska.
    """
    from bcdcodec.cli.progress import progress_bar, show_notes
    from bcdcodec.files.decode_file import DecodeOptions, decode_file
    from bcdcodec.reenactment.options import ReenactmentOptions

    parts = tuple(part for part in PARTS if part in [name.strip() for name in drive.split(",")])
    if len(parts) != len(drive.split(",")):
        raise click.UsageError(f"--drive is {drive!r}, expected some of {','.join(PARTS)}")
    for given, option in ((relative, "--relative"), (parts != PARTS, "--drive"), (strength != 1, "--strength")):
        if given and content is None:
            raise click.UsageError(f"{option} goes with --content")
    reenactment = ReenactmentOptions(relative, parts, strength)
    with progress_bar("decode") as progress:
        given = DecodeOptions(sound=not no_audio, reenactment=reenactment, **options)
        done = decode_file(source, target, content, given, progress)
    show_notes(done.notes)
    click.echo(f"{target}: {done.frames} frames, {done.duration_s:.3f} s", err=target == "-")


@click.command()
@click.argument("folder", metavar="OUT_DIR")
@click.option("--model", default="faces", show_default=True, help="A shipped model, or the folder of one.")
@DEVICE
def demo(folder: str, model: str, device: str) -> None:
    """Render two people, code them, and reenact one by the other.

    Writes the videos, the .bcd files and demo.png, and prints their measures.
    """
    from bcdcodec.cli.demo import run_demo
    from bcdcodec.cli.progress import progress_bar

    with progress_bar("demo", "step") as progress:
        report = run_demo(folder, model, device, progress)
    for person, facts in report.facts.items():
        kbps, size = facts["kbps"], facts["bytes"]
        click.echo(
            f"{person}.bcd: {facts['frames']} frames, {facts['duration_s']:.2f} s; motion {kbps['motion']:.2f} kbit/s, "
            f"with container {kbps['motion_container']:.2f}; content {size['content']} bytes; total {kbps['total']:.2f}"
        )
        click.echo(f"{person}, decoded: {report.decoded_db[person]:.1f} dB against its original")
    click.echo(
        f"b in a's motion: {report.reenacted_db:.1f} dB against its exact rendering "
        f"(b's first frame {report.still_db:.1f} dB, a's own video {report.unchanged_db:.1f} dB)"
    )
    click.echo(f"videos and .bcd files are in {folder}; {report.picture} shows, from above:")
    for row in report.rows:
        click.echo(f"  {row}")

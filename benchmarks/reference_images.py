"""Reference images by AV1 at several sizes, beside the model's own coder and WebP, all within the same bytes.

`python -m bcdcodec.benchmarks reference-images FOLDER`; needs the extra `eval`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import click
import numpy as np

from bcdcodec.errors import BcdError
from bcdcodec.training.data.clips import split_of
from bcdcodec.video import read_pictures
from bcdcodec.video.av1 import decode_picture, encode_inter, encode_key
from bcdcodec.video.reference_image import ellipse_weights, soften
from bcdcodec.video.scaling import resize

SIDE = 256  # pixels of the pictures compared
SIDES = (256, 192, 160, 128)  # pixels at which they are coded
BLURS = (1.5, 4.0)  # pixels, of what surrounds the face
BUDGET = 1470  # bytes

# An image uint8 [SIDE, SIDE, 3] and its landmarks [68, 2] -> an image of the same size and the bytes it took.
Coder = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, int]]


@dataclass(frozen=True)
class Measured:
    """One picture by one coder."""

    bytes: int
    psnr: float  # dB, RGB, of the whole picture
    face_psnr: float  # dB, RGB, of the box around the landmarks
    identity: float | None  # distance of dlib's descriptors; None where no face is found any more
    sharpness: float  # mean gradient of the face's luma over that of the source


@dataclass(frozen=True)
class Second:
    """A second picture of the same person, as an inter frame and as a key frame."""

    inter_bytes: int
    key_bytes: int  # of a key frame of the same PSNR, between those measured


def clips(folder: Path, most: int) -> list[Path]:
    """Return a held-out clip of each person, at most `most`; a person is a file's name up to its last underscore."""
    people: dict[str, Path] = {}
    for path in split_of(folder)["val"]:
        people.setdefault(path.stem.rpartition("_")[0] or path.stem, path)
    return list(people.values())[:most]


def by_av1(side: int, budget: int, blur: float = 0.0) -> Coder:
    """Return AV1 at a side in pixels; `blur`: pixels, of what surrounds the face."""

    def code(image: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, int]:
        if blur:
            image = soften(image, face_weights(landmarks), blur)
        picture = encode_key(resize(image, side), budget)
        return resize(decode_picture(picture), SIDE), len(picture.unit)

    return code


def by_webp(side: int, budget: int) -> Coder:
    """Return WebP at a side in pixels, at the finest quality that keeps the budget."""

    def code(image: np.ndarray, _: np.ndarray) -> tuple[np.ndarray, int]:
        from PIL import Image

        small = Image.fromarray(resize(image, side))

        def file(quality: int) -> bytes:
            out = io.BytesIO()
            small.save(out, "WEBP", quality=quality, method=6)
            return out.getvalue()

        low, high = 0, 100
        while low < high:
            quality = (low + high + 1) // 2
            low, high = (quality, high) if len(file(quality)) <= budget else (low, quality - 1)
        with Image.open(io.BytesIO(file(low))) as decoded:
            return resize(np.array(decoded.convert("RGB")), SIDE), len(file(low))

    return code


def by_model(name: str) -> Coder:
    """Return the coder of a model's own reference images, at its default rate."""
    from bcdcodec.codec import load
    from bcdcodec.coding.content import reference_image
    from bcdcodec.container.payloads import pack_content

    codec = load(name)

    def code(image: np.ndarray, _: np.ndarray) -> tuple[np.ndarray, int]:
        content = codec.encode(resize(image, codec.picture_size)[None]).contents[0]
        size = len(pack_content(content, codec.folder.tables, codec.folder.tables.content_profile)[0])
        return resize(reference_image(codec.session, content), SIDE), size

    return code


def face_weights(landmarks: np.ndarray) -> np.ndarray:
    """Return weights [SIDE, SIDE] of the ellipse around a head whose landmarks [68, 2] are fractions of the picture."""
    low, high = SIDE * landmarks.min(0), SIDE * landmarks.max(0)
    (x, y), (w, h) = (low + high) / 2, (high - low) / 2
    return ellipse_weights(SIDE, SIDE, (x, y - 0.3 * h), (1.4 * w, 1.55 * h))


def measure(image: np.ndarray, face, decoded: np.ndarray, size: int, meter) -> Measured:
    """Compare a decoded picture with its source, whose `face` the meter found."""
    low = np.clip(SIDE * face.landmarks.min(0), 0, SIDE - 2).astype(int)
    high = np.clip(SIDE * face.landmarks.max(0), 2, SIDE).astype(int)
    box = slice(low[1], high[1]), slice(low[0], high[0])
    found = meter.face(decoded)
    distance = None if found is None else float(np.linalg.norm(found.descriptor - face.descriptor))
    return Measured(
        size,
        _psnr(decoded, image),
        _psnr(decoded[box], image[box]),
        distance,
        float(_gradient(decoded[box]).mean() / _gradient(image[box]).mean()),
    )


def second_picture(frames: np.ndarray, budget: int) -> Second | None:
    """Code the frame that differs most from the first as an inter frame of half the budget, and as key frames.

    None where no other frame differs, or where a key frame of 4 times the bytes is still worse.
    """
    difference = [np.abs(frame.astype(int) - frames[0]).mean() for frame in frames]
    other = frames[int(np.argmax(difference))]
    if not max(difference):
        return None
    base = encode_key(frames[0], budget)
    inter = encode_inter(other, frames[0], base, 0, budget // 2)
    wanted, sizes, quality = _psnr(decode_picture(inter, base), other), [], []
    for factor in (1, 2, 4):
        key = encode_key(other, factor * len(inter.unit))
        sizes.append(len(key.unit))
        quality.append(_psnr(decode_picture(key), other))
    if wanted > quality[-1]:
        return None
    return Second(len(inter.unit), round(float(np.exp(np.interp(wanted, quality, np.log(sizes))))))


def table(rows: dict[str, list[Measured]]) -> str:
    """Return the figures as Markdown: means, and medians of the identity distance."""
    lines = [
        "| coder | bytes | PSNR, dB | PSNR of the face, dB | identity distance, mean (median) | sharpness | faces |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, measured in rows.items():
        found = [m.identity for m in measured if m.identity is not None]
        identity = f"{mean(found):.3f} ({median(found):.3f})" if found else "-"
        means = [mean(getattr(m, key) for m in measured) for key in ("bytes", "psnr", "face_psnr", "sharpness")]
        lines.append(
            f"| {name} | {means[0]:.0f} | {means[1]:.2f} | {means[2]:.2f} | {identity} | {means[3]:.3f} "
            f"| {len(found)}/{len(measured)} |"
        )
    return "\n".join(lines)


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-9)))


def _gradient(image: np.ndarray) -> np.ndarray:
    return np.hypot(*np.gradient(image @ np.array([0.299, 0.587, 0.114])))


@click.command("reference-images")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--people", type=click.IntRange(min=1), default=20, show_default=True, help="Pictures, one a person.")
@click.option("--budget", type=click.IntRange(min=100), default=BUDGET, show_default=True, help="Bytes of a picture.")
@click.option("--model", default="heads", show_default=True, help="Whose own coder is compared; empty: none.")
@click.option("--second", is_flag=True, help="Also second pictures, as inter frames.")
def reference_images(folder: Path, people: int, budget: int, model: str, second: bool) -> None:
    """Code pictures of held-out people of FOLDER as reference images, and print what AV1, WebP and the model lose."""
    from bcdcodec.benchmarks.measure.faces import FaceMeter

    coders = {f"AV1, {side}": by_av1(side, budget) for side in SIDES}
    coders |= {f"AV1, {SIDE}, surroundings blurred by {blur:g}": by_av1(SIDE, budget, blur) for blur in BLURS}
    coders |= {f"WebP, {side}": by_webp(side, budget) for side in (SIDES[0], SIDES[-1])}
    if model:
        coders[f"{model}, own coder"] = by_model(model)
    meter, rows, seconds = FaceMeter(), {name: [] for name in coders}, []
    for path in clips(folder, people):
        frames = read_pictures(path, None, SIDE)
        image = frames[len(frames) // 2]
        face = meter.face(image)
        if face is None:
            continue
        for name, code in coders.items():
            rows[name].append(measure(image, face, *code(image, face.landmarks), meter))
        if second and (pair := second_picture(frames, budget)):
            seconds.append(pair)
        click.echo(".", nl=False, err=True)
    click.echo(err=True)
    if not rows[next(iter(rows))]:
        raise BcdError(f"no face in the held-out clips of {folder}")
    click.echo(table(rows))
    if seconds:
        share = median(pair.inter_bytes / pair.key_bytes for pair in seconds)
        click.echo(
            f"\nSecond pictures as inter frames: {median(p.inter_bytes for p in seconds):.0f} bytes, as key frames of "
            f"the same PSNR {median(p.key_bytes for p in seconds):.0f}; share {share:.2f} (medians of {len(seconds)})"
        )


if __name__ == "__main__":
    reference_images()

"""Reference images by AV1 at several sizes, beside the model's own coder and WebP, all within the same bytes.

`python -m bcdcodec.benchmarks reference-images FOLDER`; needs the extra `eval`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import numpy as np

from bcdcodec.benchmarks.measure.faces import face_meter, identity_distance
from bcdcodec.benchmarks.measure.pictures import psnr
from bcdcodec.benchmarks.measure.temporal import luma
from bcdcodec.benchmarks.report.render import as_markdown
from bcdcodec.benchmarks.report.tables import frame
from bcdcodec.benchmarks.statistics import number
from bcdcodec.errors import BcdError
from bcdcodec.training.data.clips import split_of
from bcdcodec.video import read_pictures
from bcdcodec.video.av1 import decode_picture, encode_inter, encode_key
from bcdcodec.video.reference_image import ellipse_weights, soften
from bcdcodec.video.scaling import resize

SIDE = 256  # pixels of the pictures compared
SIDES = (256, 192, 160, 128)  # pixels at which they are coded
BLURS = (1.5, 4.0)  # pixels, of what surrounds the face

Progress = Callable[[Iterable, str], Iterable]
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
    return Measured(
        size,
        psnr(decoded, image),
        psnr(decoded[box], image[box]),
        None if found is None else identity_distance([found], [face]),
        float(np.divide(*(np.hypot(*np.gradient(luma(x[box]))).mean() for x in (decoded, image)))),
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
    wanted, sizes, quality = psnr(decode_picture(inter, base), other), [], []
    for factor in (1, 2, 4):
        key = encode_key(other, factor * len(inter.unit))
        sizes.append(len(key.unit))
        quality.append(psnr(decode_picture(key), other))
    if wanted > quality[-1]:
        return None
    return Second(len(inter.unit), round(float(np.exp(np.interp(wanted, quality, np.log(sizes))))))


def table(rows: dict[str, list[Measured]]) -> str:
    """Return the figures as Markdown: means, and medians of the identity distance."""
    columns = (
        "coder",
        "bytes",
        "PSNR, dB",
        "PSNR of the face, dB",
        "identity distance, mean (median)",
        "sharpness",
        "faces",
    )
    lines = []
    for name, measured in rows.items():
        found = [m.identity for m in measured if m.identity is not None]
        identity = f"{mean(found):.3f} ({median(found):.3f})" if found else "-"
        size, whole, inside, sharpness = (
            number(mean(getattr(m, key) for m in measured), digits)
            for key, digits in (("bytes", 0), ("psnr", 2), ("face_psnr", 2), ("sharpness", 3))
        )
        lines.append((name, size, whole, inside, identity, sharpness, f"{len(found)}/{len(measured)}"))
    return as_markdown(frame(columns, lines))


def compare_coders(folder: Path, people: int, budget: int, model: str, second: bool, progress: Progress) -> str:
    """Code a picture of each of at most `people` held-out people of a folder within `budget` bytes; a table of losses.

    `model`: whose own coder is compared; empty: none. `second`: also second pictures, as inter frames.
    Raises BcdError where no face is found.
    """
    coders = {f"AV1, {side}": by_av1(side, budget) for side in SIDES}
    coders |= {f"AV1, {SIDE}, surroundings blurred by {blur:g}": by_av1(SIDE, budget, blur) for blur in BLURS}
    coders |= {f"WebP, {side}": by_webp(side, budget) for side in (SIDES[0], SIDES[-1])}
    if model:
        coders[f"{model}, own coder"] = by_model(model)
    meter, rows, seconds = face_meter(), {name: [] for name in coders}, []
    for path in progress(clips(folder, people), "pictures"):
        frames = read_pictures(path, None, SIDE)
        image = frames[len(frames) // 2]
        face = meter.face(image)
        if face is None:
            continue
        for name, code in coders.items():
            rows[name].append(measure(image, face, *code(image, face.landmarks), meter))
        if second and (pair := second_picture(frames, budget)):
            seconds.append(pair)
    if not rows[next(iter(rows))]:
        raise BcdError(f"no face in the held-out clips of {folder}")
    text = table(rows)
    if seconds:
        inter, key, share = (
            median(of) for of in zip(*((p.inter_bytes, p.key_bytes, p.inter_bytes / p.key_bytes) for p in seconds))
        )
        text += (
            f"\n\nSecond pictures as inter frames: {inter:.0f} bytes, as key frames of the same PSNR {key:.0f}; "
            f"share {share:.2f} (medians of {len(seconds)})"
        )
    return text

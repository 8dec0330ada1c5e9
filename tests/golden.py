"""SHA-256 of what the `bcd` command makes of drawn clips: files, decoded pictures, short training runs.

`python tests/golden.py --record` writes golden.json, which test_golden.py compares with. Only the command line and
`bcdcodec.read` and `write` are used, so that the hashes hold while modules move. Floating point is pinned: float32, one
thread, AVX2 instructions.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

import bcdcodec

if TYPE_CHECKING:
    from av import AudioFrame

HERE = Path(__file__).resolve().parent
RECORD = HERE / "golden.json"
VECTORS = HERE / "vectors"
# The same kernels on every x86 processor with AVX2, where the libraries let themselves be told.
PINNED = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
    "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2", "OPENBLAS_CORETYPE": "Haswell",
}  # fmt: skip
JOB_SECONDS = 1800  # for one process, however busy the machine

Hashes = dict[str, str]


# ---- inputs


def face(seed: int, frames: int, height: int, width: int) -> np.ndarray:
    """Frames of a drawn face that moves, looks and speaks, uint8 [t, h, w, 3]; `seed`: its colours."""
    rng = np.random.default_rng(seed)
    back, skin, hair, cloth = rng.uniform(20, 235, (4, 3))
    scenery = rng.uniform(-25, 25, (8, 8, 3)).repeat(height // 8, 0).repeat(width // 8, 1)
    y, x = np.mgrid[0:height, 0:width] / height
    x -= (width / height - 1) / 2  # the face in the middle

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        inside = 1 - ((x - cx) / rx) ** 2 - ((y - cy) / ry) ** 2
        return np.clip(inside * min(rx, ry) * 25 + 0.5, 0, 1)[..., None]

    clip = []
    for t in range(frames):
        angle = 2 * np.pi * t / 12
        cx, cy = 0.5 + 0.04 * np.sin(angle), 0.48 + 0.02 * np.sin(2 * angle)
        gaze, mouth = np.cos(angle), np.sin(1.5 * angle)
        layers = [
            (ellipse(0.5, 1.05, 0.45, 0.3), cloth),
            (ellipse(cx, cy - 0.06, 0.25, 0.32), hair),
            (ellipse(cx, cy, 0.2, 0.27), skin),
            (ellipse(cx, cy + 0.13, 0.07, 0.012 + 0.025 * abs(mouth)), np.array([120.0, 30.0, 40.0])),
        ]
        for side in (-0.08, 0.08):
            layers.append((ellipse(cx + side, cy - 0.06, 0.035, 0.02), np.full(3, 240.0)))
            layers.append((ellipse(cx + side + 0.01 * gaze, cy - 0.06, 0.015, 0.018), 0.3 * hair))
        picture = back + scenery
        for mask, colour in layers:
            picture = picture + mask * (colour - picture)
        clip.append(np.clip(picture, 0, 255).round().astype(np.uint8))
    return np.stack(clip)


def tone(seconds: float, rate: int = 48000) -> np.ndarray:
    """A tone that rises from 200 Hz, int16 [samples]."""
    t = np.arange(round(seconds * rate)) / rate
    return (12000 * np.sin(2 * np.pi * (200 + 300 * t) * t)).astype(np.int16)


def sound_frames(sound: np.ndarray) -> Iterator[AudioFrame]:
    """Mono sound of 48 kHz, int16 [samples], in frames of 20 ms as PyAV encodes them."""
    import av

    for start in range(0, len(sound), 960):
        block = np.ascontiguousarray(sound[None, start : start + 960])
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        yield frame


def write_pngs(folder: Path, frames: np.ndarray) -> str:
    """A folder of PNGs, which the commands take for a clip of 25 frames a second."""
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:04d}.png")
    return str(folder)


def write_mkv(path: Path, frames: np.ndarray, pts: list[int], sound: np.ndarray | None = None) -> str:
    """A lossless clip, FFV1 and PCM of 48 kHz; `pts` in ticks of 1/50 s."""
    import av

    tick = Fraction(1, 50)
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        video.height, video.width, video.pix_fmt = *frames.shape[1:3], "bgr0"
        video.time_base = video.codec_context.time_base = tick
        audio = None if sound is None else container.add_stream("pcm_s16le", rate=48000, layout="mono")
        packets = []
        for picture, at in zip(frames, pts, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="bgr0")
            frame.pts, frame.time_base = at, tick
            packets += video.encode(frame)
        packets += video.encode(None)
        if audio is not None:
            for block in sound_frames(sound):
                packets += audio.encode(block)
            packets += audio.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return str(path)


def write_sheets(folder: Path) -> str:
    """Sprite sheets, laid out as the Sprites dataset, of coloured boxes that move with the cell's row and column."""
    boxes = [
        ("body", 20, 20, 32, 24), ("bottomwear", 40, 22, 10, 20), ("topwear", 28, 20, 12, 12), ("hair", 12, 26, 8, 12)
    ]  # fmt: skip
    for number, (layer, top, left, height, width) in enumerate(boxes):
        (folder / layer).mkdir(parents=True)
        for choice in range(6):
            colour = (40 * choice + 40, 255 - 40 * choice, 60 * number, 255)
            sheet = np.zeros((21, 64, 13, 64, 4), np.uint8)
            for row in range(21):
                for column in range(13):
                    y, x = top + row % 5 - 2, left + column - 6
                    sheet[row, y : y + height, column, x : x + width] = colour
            Image.fromarray(sheet.reshape(21 * 64, 13 * 64, 4)).save(folder / layer / f"{choice}.png")
    (folder / "shoes").mkdir()
    Image.fromarray(np.zeros((21 * 64, 13 * 64, 4), np.uint8)).save(folder / "shoes" / "1.png")
    return str(folder)


# ---- running the command


def bcd(*arguments: object) -> bytes:
    """Run `bcd` in this process; what it wrote to standard output. Raises RuntimeError when it fails."""
    (command,) = entry_points(group="console_scripts", name="bcd")
    sys.argv = ["bcd", *map(str, arguments)]
    code: object = 0
    with tempfile.TemporaryFile() as out, _standard_output_into(out.fileno()):
        try:
            command.load()()
        except SystemExit as stop:
            code = stop.code
        sys.stdout.flush()
        out.seek(0)
        printed = out.read()
    if code:
        raise RuntimeError(f"bcd {' '.join(sys.argv[1:])} ended with {code}")
    return printed


@contextlib.contextmanager
def _standard_output_into(descriptor: int) -> Iterator[None]:
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(descriptor, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def pin_float32() -> None:
    """Make torch compute in float32 and in one thread, in decoding and in training."""
    import torch

    class NoAutocast(torch.autocast):
        def __init__(self, device_type: str, *_: object, **__: object):
            super().__init__(device_type, enabled=False)

    torch.autocast = NoAutocast
    torch.cpu._is_avx512_bf16_supported = lambda: False
    torch.set_num_threads(1)


# ---- hashes


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file_hash(path: Path) -> str:
    return sha256(path.read_bytes())


def pictures_hash(folder: Path) -> str:
    """Of the pixel values of a folder of PNGs, not of how they are packed."""
    paths = sorted(folder.glob("*.png"))
    digest = hashlib.sha256(f"{len(paths)} pictures".encode())
    for path in paths:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        digest.update(f"{pixels.shape}".encode() + pixels.tobytes())
    return digest.hexdigest()


def log_hash(path: Path) -> str:
    """Of all numbers in a training log, in their order, without the minutes; names may change.

    The last record is a measurement; earlier ones of its kind, which a run has on a busy machine, are left out.
    """

    def numbers(value: object) -> Iterator[object]:
        if isinstance(value, dict):
            for name, part in value.items():
                if name != "minutes":
                    yield from numbers(part)
        else:
            yield value

    records = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [record for record in records[:-1] if record.keys() != records[-1].keys()] + records[-1:]
    return sha256(json.dumps([list(numbers(record)) for record in kept]).encode())


def weights_hash(checkpoint: Path) -> str:
    """Of the values of all trained tensors; their names and order may change."""
    from safetensors.numpy import load_file

    tensors = {}
    for path in checkpoint.glob("model-*.safetensors"):
        tensors |= load_file(path)
    return sha256("".join(sorted(sha256(tensor.tobytes()) for tensor in tensors.values())).encode())


def vector_hashes() -> Hashes:
    """Of every file of the format's test vectors."""
    return {str(path.relative_to(VECTORS)): file_hash(path) for path in sorted(VECTORS.rglob("*")) if path.is_file()}


# ---- jobs, each in a process and an empty folder of its own


def probe(folder: Path) -> Hashes:
    """What else the hashes of the other jobs depend on: libraries, and the arithmetic of the processor."""
    import av
    import torch
    from torch.nn import functional

    random = torch.Generator().manual_seed(0)
    x, w, m = (torch.randn(shape, generator=random) for shape in ((2, 16, 40, 40), (24, 16, 3, 3), (24, 200)))
    w.requires_grad_()
    y = functional.conv2d(x, w, padding=1)  # [2, 24, 40, 40]
    tokens = functional.layer_norm(y.flatten(2).transpose(1, 2), (24,))  # [2, 1600, 24]
    z = functional.gelu(tokens @ m).exp().softmax(-1)
    attended = functional.scaled_dot_product_attention(*tokens[:, None, :100].expand(3, 2, 2, 100, 24))
    grid = torch.rand((2, 40, 40, 2), generator=random) * 2 - 1
    larger = functional.interpolate(y, scale_factor=2, mode="bilinear")
    sampled = functional.grid_sample(larger, grid, align_corners=False)
    square = z[0, :200].T @ z[0, :200] + torch.eye(200)
    solved = torch.linalg.solve(square, m.T)
    (z.square().sum() + sampled.sin().sum()).backward()
    with torch.no_grad():
        results = [y, z, attended, sampled, solved, torch.linalg.eigvalsh(square), w.grad]
    arithmetic = [result.detach().numpy() for result in results]
    matrix = np.random.default_rng(0).normal(size=(200, 60))
    arithmetic += [np.linalg.svd(matrix, compute_uv=False), matrix.T @ matrix, np.exp(matrix)]

    frame = av.VideoFrame.from_ndarray(face(0, 1, 96, 128)[0], format="rgb24")
    scaled = frame.reformat(64, 64, interpolation="BICUBIC").to_ndarray()
    opus = av.CodecContext.create("libopus", "w")
    opus.sample_rate, opus.layout, opus.format, opus.bit_rate = 48000, "mono", "s16", 7000
    opus.options = {"application": "voip"}
    packets = [bytes(packet) for frame in sound_frames(tone(0.2)) for packet in opus.encode(frame)]
    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "av": av.__version__,
        "arithmetic": sha256(b"".join(np.ascontiguousarray(result).tobytes() for result in arithmetic)),
        "drawing": sha256(face(0, 3, 64, 64).tobytes()),
        "scaling": sha256(np.ascontiguousarray(scaled).tobytes()),
        "opus": sha256(b"".join(packets)),
    }


def coding(folder: Path) -> Hashes:
    """Encode and decode with the shipped models."""
    hashes: Hashes = {}

    def encode(name: str, source: str, *options: object) -> Path:
        path = folder / f"{name}.bcd"
        bcd("encode", source, path, *(options if "--model" in options else (*options, "--model", "heads")))
        hashes[f"encode {name}"] = file_hash(path)
        return path

    def decode(name: str, recording: Path, *options: object) -> None:
        out = folder / f"{name} decoded"
        bcd("decode", recording, out, *options)
        hashes[f"decode {name}"] = pictures_hash(out)

    ours, theirs = (face(seed, 14, 256, 256) for seed in (1, 2))
    one = write_pngs(folder / "one", ours[:12])
    heads = {}
    for rate in ("own rate", "1 kbps", "4 kbps"):
        kbps = () if rate == "own rate" else ("--kbps", rate.split()[0])
        for profile in ("context", "static"):
            heads[rate, profile] = encode(f"heads, {rate}, {profile}", one, *kbps, "--profile", profile)
    decode("heads", heads["own rate", "static"])
    decode("heads, no steps", heads["own rate", "context"], "--steps", 0)
    decode("heads, 1 kbps", heads["1 kbps", "context"])

    scenes = encode("heads, two scenes", write_pngs(folder / "two", np.concatenate([ours, theirs[:8]])), "--seed", 7)
    decode("heads, two scenes", scenes, "--steps", 0)
    other = encode("heads, another face", write_pngs(folder / "other", theirs[:2]))
    # A file that an earlier version made, which let heads show one person in another's motion.
    reenacted = folder / "reenacted.bcd"
    motion, another = bcdcodec.read(heads["own rate", "context"]), bcdcodec.read(other)
    head = replace(motion.head, reenacted=True, frame_count=0)
    bcdcodec.write(reenacted, replace(motion, head=head, contents=another.contents, metadata={"synthesised": True}))
    hashes["encode heads, reenacted"] = file_hash(reenacted)
    decode("heads, reenacted file", reenacted, "--steps", 0)

    # Not square, not at equal distances, with sound; the face is pasted into a still of what is around it.
    wide = face(3, 10, 240, 320)
    pts = [0, 2, 4, 6, 9, 11, 13, 15, 17, 20]
    source = write_mkv(folder / "wide.mkv", wide, pts, tone(22 / 50))
    sound = encode("heads, sound", source, "--surroundings")
    decode("heads, pasted back", sound, "--paste-back", "--steps", 0)

    sprite = write_pngs(folder / "sprite", face(4, 12, 64, 64))
    for profile in ("static", "context"):
        recording = encode(f"sprites, {profile}", sprite, "--model", "sprites", "--profile", profile)
        decode(f"sprites, {profile}", recording)
    # Standard output gets chunks as they are ready, in another order than a file.
    hashes["encode sprites, standard output"] = sha256(bcd("encode", sprite, "-", "--model", "sprites"))
    other = encode("sprites, another", write_pngs(folder / "other sprite", face(5, 2, 64, 64)), "--model", "sprites")
    decode("sprites, reenacted", recording, "--content", other)
    return hashes


def coding_faces(folder: Path) -> Hashes:
    """Encode and decode with the default model, whose reference is a picture in AV1."""
    hashes: Hashes = {}
    recordings = {}
    for name, seed, frames in (("faces", 1, 12), ("faces, another face", 2, 2)):
        recordings[name] = folder / f"{name}.bcd"
        bcd("encode", write_pngs(folder / name, face(seed, frames, 256, 256)), recordings[name])
        hashes[f"encode {name}"] = file_hash(recordings[name])
    first, other = recordings.values()
    for name, options in (("faces", ()), ("faces, reenacted", ("--content", other))):
        out = folder / f"{name} decoded"
        bcd("decode", first, out, *options)
        hashes[f"decode {name}"] = pictures_hash(out)
    return hashes


def training_tiny(folder: Path) -> Hashes:
    """Twenty steps of preset tiny on drawn clips and procedural heads."""
    data = folder / "data"
    data.mkdir()
    rows = ["file,split"]
    for seed in range(4):
        write_mkv(data / f"{seed}.mkv", face(seed, 16, 48, 64), list(range(0, 32, 2)))
        rows.append(f"{seed}.mkv,{'train' if seed < 3 else 'val'}")
    (data / "manifest.csv").write_text("\n".join(rows) + "\n")
    return _trained("tiny", folder, 20, "--data", data, "--procedural-groups", 4)


def training_sprites(folder: Path) -> Hashes:
    """Five steps of preset sprites-small; the command cannot make it smaller, and a step takes seconds.

    The log has no step's losses then, only what is measured at the end; the weights hold the steps.
    """
    return _trained("sprites-small", folder, 5, "--data", write_sheets(folder / "sheets"))


def _trained(preset: str, folder: Path, steps: int, *options: object) -> Hashes:
    run = folder / "run"
    bcd("train", preset, "--out", run, "--steps", steps, "--seed", 3, "--device", "cpu", *options)
    return {f"log of {preset}": log_hash(run / "log.jsonl"), f"weights of {preset}": weights_hash(run / "checkpoint")}


JOBS: dict[str, Callable[[Path], Hashes]] = {
    job.__name__: job for job in (probe, training_sprites, coding, training_tiny, coding_faces)
}  # the longest first


def run_jobs(*jobs: str) -> dict[str, Hashes]:
    """The hashes that jobs make, by job, run two at a time. Raises RuntimeError with the output of one that fails."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(jobs, pool.map(_run_job, jobs), strict=True))


def _run_job(name: str) -> Hashes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__).resolve()), "--job", name]
        done = subprocess.run(
            command, cwd=folder, env=os.environ | PINNED, capture_output=True, text=True, timeout=JOB_SECONDS
        )
    if done.returncode:
        raise RuntimeError(f"golden job {name} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout)


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--job"]:
        pin_float32()
        hashes = JOBS[arguments[1]](Path.cwd())
        print(json.dumps(hashes))
    elif arguments == ["--record"]:
        hashes = run_jobs(*JOBS) | {"vectors": vector_hashes()}
        RECORD.write_text(json.dumps(hashes, indent=1) + "\n")
        print(f"{RECORD}: {sum(map(len, hashes.values()))} entries")
    else:
        sys.exit("usage: python tests/golden.py --record")


if __name__ == "__main__":
    main(sys.argv[1:])

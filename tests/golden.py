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
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
from golden_inputs import face, sound_frames, tone, write_mkv, write_pngs, write_sheets
from PIL import Image

import bcdcodec

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

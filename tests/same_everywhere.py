"""Whether codes and pictures are the same on other processors: `python tests/same_everywhere.py [CLIP] [--model NAME]`.

One machine stands for many: the libraries are told to use fewer threads and older instructions, and not to use
bfloat16. Each setting encodes the clip, and decodes the file that the first setting made. Printed are, against the
first setting: codes that another encoder chooses, whether the reference has the same bytes, codes that another decoder
reads differently, and the difference of its pictures in levels of 0..255.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}
OLD = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "OPENBLAS_CORETYPE": "Nehalem"}
# Name: environment, threads, whether bfloat16 may be used.
SETTINGS = {
    "as it is, 1 thread": ({}, 1, True),
    "2 threads": ({}, 2, True),
    "float32": ({}, 1, False),
    "float32, 2 threads": ({}, 2, False),
    "float32, AVX2": (AVX2, 1, False),
    "float32, SSE4.1": (OLD, 1, False),
}


def run_one(model: str, clip: str, folder: Path, first: Path, threads: int, bfloat16: bool) -> None:
    """Encode the clip and decode the file `first`, in this process; the results go into `folder`."""
    import torch

    from bcdcodec.container import read_recording
    from bcdcodec.files.decode_file import DecodeOptions, decode_file
    from bcdcodec.files.encode_file import EncodeOptions, encode_file
    from bcdcodec.model_folder import open_model

    torch.set_num_threads(threads)
    if not bfloat16:
        sys.path.insert(0, str(HERE))
        from golden import pin_float32

        pin_float32()
        torch.set_num_threads(threads)
    own = folder / "own.bcd"
    encode_file(clip, own, EncodeOptions(model, "cpu", sound=None))
    decode_file(first if first.exists() else own, folder / "pictures", options=DecodeOptions(device="cpu"))
    tables = open_model(model).tables
    for name, path in (("own", own), ("first", first if first.exists() else own)):
        found = read_recording(path, tables)
        np.save(folder / f"{name}-codes.npy", np.concatenate([motion.codes for motion in found.motions]))
        parts = [c.picture.unit if c.picture else c.values.tobytes() for c in found.contents]
        (folder / f"{name}-reference").write_bytes(b"".join(parts))


def pictures(folder: Path) -> np.ndarray:
    from PIL import Image

    return np.stack([np.asarray(Image.open(path)) for path in sorted((folder / "pictures").glob("*.png"))]).astype(int)


def compare(model: str, clip: str, root: Path) -> None:
    first = root / model / next(iter(SETTINGS))
    for name, (environment, threads, bfloat16) in SETTINGS.items():
        folder = root / model / name
        folder.mkdir(parents=True)
        command = [sys.executable, __file__, clip, "--model", model, "--folder", str(folder)]
        command += ["--first", str(first / "own.bcd"), "--threads", str(threads), *(["--bfloat16"] if bfloat16 else [])]
        subprocess.run(command, check=True, env=os.environ | environment | {"OMP_NUM_THREADS": str(threads)})
        chosen, expected = (np.load(f / "own-codes.npy") for f in (folder, first))
        read = np.load(folder / "first-codes.npy")
        difference = np.abs(pictures(folder) - pictures(first))
        same = (folder / "own-reference").read_bytes() == (first / "own-reference").read_bytes()
        others = int((chosen != expected).sum()) if chosen.shape == expected.shape else -1
        error = float((difference.astype(float) ** 2).mean())
        db = "same" if error == 0 else f"{10 * np.log10(255**2 / error):.1f} dB"
        print(
            f"{model:8} {name:20} encoder: {others} of {expected.size} codes differ, reference "
            f"{'the same' if same else 'differs'}; decoder: {int((read != expected).sum())} codes differ, pictures "
            f"{db}, at most {difference.max()} levels",
            flush=True,
        )


def main() -> None:
    """Compare all settings, or run one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", nargs="?")
    parser.add_argument("--model", action="append")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--first", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--bfloat16", action="store_true")
    given = parser.parse_args()
    if given.folder:
        run_one(given.model[0], given.clip, given.folder, given.first, given.threads, given.bfloat16)
        return
    with tempfile.TemporaryDirectory() as folder:
        clip = given.clip
        if clip is None:
            sys.path.insert(0, str(HERE))
            from golden_inputs import face, write_pngs

            clip = write_pngs(Path(folder) / "clip", face(1, 12, 256, 256))
        for model in given.model or ("faces", "heads", "sprites"):
            compare(model, clip, Path(folder))


if __name__ == "__main__":
    main()

"""Fixtures of the smallest real things: a tiny model trained for a few steps, and clips of procedural heads."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from head_clips import head_frames, write_clip, write_lossless_clip
from sprite_sheets import write_sheets


def encoded(source: Path, name: str, model: Path) -> Path:
    """A video, encoded into a file beside it."""
    from bcdcodec.files.encode_file import EncodeOptions, encode_file

    path = source.with_name(name)
    encode_file(source, path, EncodeOptions(model, "cpu"))
    return path


@pytest.fixture
def bcd(monkeypatch, capfd):
    """Run `bcd` in this process, where torch is loaded already; returns its exit code and what it printed."""
    from bcdcodec.cli import main as command

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["bcd", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        try:
            command.main()
        except SystemExit as exit:
            code = exit.code or 0
        out, err = capfd.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return run


@pytest.fixture
def tiny(bcd, tiny_model):
    """Run `bcd` with the tiny model."""
    return lambda *arguments: bcd(*arguments, "--model", tiny_model)


@pytest.fixture(scope="session")
def footage(tmp_path_factory) -> Path:
    """A folder of four short clips of different procedural heads, to train on."""
    folder = tmp_path_factory.mktemp("footage")
    for i in range(4):
        write_lossless_clip(folder / f"head-{i}.mkv", head_frames(i, 24, 32))
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """A folder of rendered training data that training runs share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def sheets(tmp_path_factory) -> Path:
    """A folder of made-up sprite sheets."""
    return write_sheets(tmp_path_factory.mktemp("sheets"))


@pytest.fixture(scope="session")
def tiny_run(footage, tmp_path_factory) -> Path:
    """A folder as `bcd train tiny` leaves it after a few steps."""
    from bcdcodec.training.data.run_data import RunOptions
    from bcdcodec.training.presets import open_recipe
    from bcdcodec.training.trainer import Trainer

    out = tmp_path_factory.mktemp("run")
    options = RunOptions(footage, out, 6, None, False, "cpu", 0, procedural_groups=4)
    Trainer(open_recipe("tiny"), options).run()
    return out


@pytest.fixture(scope="session")
def tiny_model(tiny_run, footage, tmp_path_factory) -> Path:
    """The folder of a tiny model that codes and decodes, if poorly."""
    from bcdcodec.training.export import export_run

    folder = tmp_path_factory.mktemp("models") / "tiny"
    export_run(tiny_run, folder, footage, "# tiny\n\nFor tests.\n")
    return folder


@pytest.fixture(scope="session")
def other_model(tiny_run, footage, tmp_path_factory) -> Path:
    """Another tiny model: the same network with one weight changed."""
    from safetensors.numpy import load_file, save_file

    from bcdcodec.training.export import export_run

    folder = tmp_path_factory.mktemp("models") / "other"
    export_run(tiny_run, folder, footage, "# other\n")
    (path,) = folder.glob("weights-*.safetensors")
    tensors = load_file(path)
    name = next(name for name, value in tensors.items() if value.dtype.kind == "f" and value.ndim > 1)
    tensors[name] = tensors[name] + np.float16(0.5)
    save_file(tensors, path)
    return folder


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    """Two and a half seconds of one head, 64 x 48 pixels, 25 frames a second.

    One on which no model of the tests is undecided about another reference: on another machine it is coded the same.
    """
    frames = head_frames(15, 62, 64)[:, 8:56]
    return write_lossless_clip(tmp_path_factory.mktemp("clips") / "clip.mkv", frames)


@pytest.fixture(scope="session")
def recording(clip, tiny_model) -> Path:
    """`clip`, encoded with the tiny model."""
    return encoded(clip, "clip.bcd", tiny_model)


@pytest.fixture(scope="session")
def faces_model(tmp_path_factory) -> Path:
    """The folder of a small `faces` model, which shows one person in another's motion."""
    from small_faces import write_small_faces

    return write_small_faces(tmp_path_factory.mktemp("models") / "faces")


@pytest.fixture
def faces(bcd, faces_model):
    """Run `bcd` with the small `faces` model."""
    return lambda *arguments: bcd(*arguments, "--model", faces_model)


@pytest.fixture(scope="session")
def faces_recording(clip, faces_model) -> Path:
    """`clip`, encoded with the small `faces` model."""
    return encoded(clip, "faces.bcd", faces_model)


@pytest.fixture(scope="session")
def other_person(tmp_path_factory, faces_model) -> Path:
    """Another head, encoded with the small `faces` model."""
    source = write_clip(tmp_path_factory.mktemp("others") / "other.mp4", head_frames(12, 30))
    return encoded(source, "other.bcd", faces_model)

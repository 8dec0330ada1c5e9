"""When rows that were measured before serve again: by the clip's bytes and the codec's sources."""

import os
from types import SimpleNamespace

import pytest

pytest.importorskip("matplotlib", reason="the report's plots need matplotlib")

from bcdcodec.benchmarks.baseline import short_run
from bcdcodec.benchmarks.rows import code_of_codec, digest_of


def test_a_clip_is_known_by_its_bytes_wherever_and_whenever_they_were_written(tmp_path):
    first, copy, other = (tmp_path / name for name in ("a.mp4", "b.mp4", "c.mp4"))
    first.write_bytes(b"clip")
    copy.write_bytes(b"clip")
    other.write_bytes(b"clap")
    os.utime(copy, (1, 1))
    assert digest_of(first) == digest_of(copy) != digest_of(other)
    for folder, second in (("x", b"2"), ("y", b"2"), ("z", b"3")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.png").write_bytes(b"1")
        (tmp_path / folder / "2.png").write_bytes(second)
    assert digest_of(tmp_path / "x") == digest_of(tmp_path / "y") != digest_of(tmp_path / "z")


def test_rows_depend_on_the_codecs_sources_and_on_no_others(tmp_path):
    def written(name, files):
        for file, text in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(text)
        return code_of_codec(tmp_path / name)

    codec = {"codec.py": "a = 1", "models/warp.py": "b = 1"}
    known = written("first", codec)
    assert known == written(
        "beside", codec | {"cli/main.py": "c = 1", "benchmarks/rows.py": "d = 1", "models/notes.md": "e"}
    )
    assert known not in (
        written("changed", codec | {"models/warp.py": "b = 2"}),
        written("more", codec | {"models/new.py": ""}),
    )


def test_a_short_run_measures_anew_what_an_earlier_one_has_measured(tmp_path, tiny_model, monkeypatch):
    for old in ("clips/head-0/rows.json", "procedural/probes.json", "speed.json"):
        (tmp_path / old).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / old).write_text("{}")
    found = []

    def bench(clips, options, progress):
        found.extend(
            sorted(path.relative_to(options.out).parts[0] for path in options.out.rglob("*") if path.is_file())
        )
        return SimpleNamespace(report={"clips": len(clips)})

    monkeypatch.setattr("bcdcodec.benchmarks.baseline.bench", bench)
    assert short_run(tmp_path, str(tiny_model)) == {"clips": 4} and found == ["rendered"] * 4

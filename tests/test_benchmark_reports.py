"""Accepted figures, the README's table made from them, and errors of one person in another's motion."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from head_clips import head_frames, write_clip

pytest.importorskip("matplotlib", reason="the report's plots need matplotlib")

from bcdcodec.benchmarks.baseline import (
    FULL,
    SHORT,
    accept,
    load_baseline,
    load_report,
    ratios,
    render_clips,
    short_run,
)
from bcdcodec.benchmarks.faces import Face
from bcdcodec.benchmarks.heads import targets_table
from bcdcodec.benchmarks.plots import plots
from bcdcodec.benchmarks.readme import BEGIN, END, block, block_of, update_readme
from bcdcodec.benchmarks.rows import ClipRows, code_of_codec, depends_on
from bcdcodec.benchmarks.sections import sections
from bcdcodec.benchmarks.transfer import medians, pairs_of, transfer_errors
from bcdcodec.errors import BcdError
from bcdcodec.reenactment.head_pose import MEAN_HEAD

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_model):
    """The report of a small benchmark, with figures of speed and disentanglement put in."""
    from bcdcodec.benchmarks.bench import bench
    from bcdcodec.benchmarks.run import Options

    folder = tmp_path_factory.mktemp("full")
    clips = [write_clip(folder / f"head-{i}.mp4", head_frames(40 + i, 10, 32)) for i in range(3)]
    report = bench(clips, Options(str(tiny_model), folder / "out", faces=False, procedural=False, speed=False)).report
    stages = {"encode_stages": {"read": 0.1}, "decode_stages": {"sample": 0.2}}
    numbers = (
        "seconds",
        "encode_fps",
        "decode_fps",
        "encode_times_real_time",
        "decode_times_real_time",
        "first_frame_warm",
        "first_frame_cold",
        "encode_command",
        "decode_command",
        "encode_peak_mib",
        "decode_peak_mib",
    )
    report["speed"] = (
        stages
        | dict.fromkeys(numbers, 2.5)
        | {"machine": report["machine"], "clip": "head-0", "frames": 10, "source_size": [32, 32], "repeats": 3}
    )
    names = ("yaw", "pitch", "mouth_open")
    errors = {
        "identity_distance": 0.3,
        "identity_error": 0.01,
        "motion_error": 0.02,
        "cross_error": 0.03,
        "pose_error": 4.0,
        "turn_error": 2.0,
        "turn_still": 7.0,
        "mouth": 0.75,
        "nearer": 0.9,
        "faces": 1.0,
        "pairs": 12,
    }
    driven = {"decoded": 19.0, "still": 17.0, "own": 11.0, "pairs": 12, "transfer": {"decoded": errors, "own": errors}}
    report["procedural"] = {
        "cross_driven": driven,
        "cross_driven 2 kbit/s": driven | {"transfer": {"decoded": errors | {"motion_error": 0.05}}},
        "probes": {"motion_r2": dict.fromkeys(names, 0.5), "identity_accuracy": 0.1, "identity_chance": 0.06},
    }
    return report


@pytest.fixture(scope="module")
def full(whole, tmp_path_factory):
    """That report as accepted."""
    path = tmp_path_factory.mktemp("accepted") / "baseline.json"
    accept(whole, FULL, path)
    return load_baseline(path)[FULL]


def test_the_table_of_the_readme_is_that_of_the_accepted_figures():
    accepted = load_baseline().get(FULL)
    if accepted is None:
        pytest.skip("no figures are accepted yet: bcd bench, then python -m bcdcodec.benchmarks accept and readme")
    assert block_of(README) == block(accepted)


def test_every_section_of_a_report_is_written(full):
    usage = {"used_per_group": 1, "perplexity": 1, "groups_of_one_code": 0}
    parts = sections(full | {"failed": [{"clip": "a", "error": "b"}], "code_usage": usage})
    assert [part.title for part in parts] == [
        "What was measured",
        "Quality of decoded files",
        "Where the bytes go",
        "Speed",
        "Motion and content apart, on rendered heads",
        "One person in another's motion",
        "Not measured",
        "Clips that failed",
    ]
    (table, published) = parts[5].tables
    assert table.rows[0][1:] == ("0.300", "1.00", "2.00", "3.00", "4.0", "2.0 (7.0)", "0.75", "100", "90")
    assert table.rows[2][0].endswith("at 2 kbit/s") and table.rows[2][3] == "5.00"
    assert all("(published, other data)" in row[0] for row in published.rows)


def test_the_table_follows_the_report(full, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert update_readme(readme, full) and not update_readme(readme, full)
    assert readme.read_text().startswith(f"before\n{BEGIN}\nModel ") and readme.read_text().endswith(f"{END}\nafter\n")
    changed = json.loads(json.dumps(full))
    changed["headlines"]["psnr"]["value"] += 1
    assert update_readme(readme, changed)
    assert block_of(readme) == block(changed) != block(full)


def test_the_table_has_a_column_for_every_rate(full):
    slower = json.loads(json.dumps(full["headlines"]))
    slower["bits_per_frame"]["value"] = 12.34
    lines = block(full | {"rates": [{"setting": "1 kbit/s, context", "headlines": slower}]}).splitlines()
    header, bits = (
        next(line for line in lines if line.startswith(start)) for start in ("| measure |", "| coded motion |")
    )
    assert header.split("|")[2:4] == [f" {full['setting']} ", " 1 kbit/s "] and bits.split("|")[3] == " 12.3 "
    assert all(line.count("|") == header.count("|") for line in lines if line.startswith("|"))


@pytest.mark.parametrize("text", ["no markers", f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"])
def test_a_readme_without_its_markers_is_left_alone(full, tmp_path, text):
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(BcdError, match="has not one line"):
        update_readme(readme, full)
    assert readme.read_text() == text


def test_accepting_one_report_keeps_the_other(full, tmp_path):
    path = tmp_path / "baseline.json"
    accept(full | {"rows": [1, 2, 3]}, FULL, path)
    accept(full | {"clips": 7}, SHORT, path)
    kept = load_baseline(path)
    assert kept[FULL] == full and kept[SHORT]["clips"] == 7
    with pytest.raises(BcdError, match="version 0"):
        accept(full | {"report": 0}, FULL, path)


def test_ratios_are_now_over_then(full):
    doubled = json.loads(json.dumps(full))
    doubled["headlines"]["bits_per_frame"]["value"] *= 2
    lines = ratios(doubled, full).splitlines()
    (line,) = [text for text in lines if text.startswith("| coded motion, bits a frame")]
    assert line.split("|")[-2].strip() == "2.000"
    assert sum("| 1.000 |" in text for text in lines) > 15


def test_what_is_no_report_is_refused(tmp_path):
    (tmp_path / "report.json").write_text("[]")
    with pytest.raises(BcdError, match="is no report.json"):
        load_report(tmp_path / "report.json")


def test_plots_have_a_line_for_every_codec():
    point = {
        "side": 128,
        "clips": 3,
        **{m: {"value": 1.0, "low": 0.5, "high": 2.0} for m in ("kbps", "psnr", "ssim", "ms_ssim", "vmaf")},
        "lpips": {"value": None, "low": None, "high": None},
        "identity_distance": {"value": None, "low": None, "high": None},
    }
    points = [
        point | {"codec": codec, "setting": f"crf {q}", "kbps": {"value": 4.0 + q, "low": 4.0, "high": 9.0}}
        for codec in ("bcd", "still", "x265")
        for q in (1, 2)
    ]
    made = plots(
        {"curves": points, "code_usage": {"counts": [[3, 1], [2, 2]]}}, [ClipRows("a", [], [3.0, 4.0], [], [])]
    )
    assert set(made) == {"curves", "frame_bits", "code_usage"}
    assert all(text in made["curves"] for text in ("bcd", "x265", "PSNR, dB", "currentColor"))
    assert "identity" not in made["curves"]  # not measured


def test_rendered_clips_are_the_same_every_time(tmp_path):
    from bcdcodec.video import read_frames

    first, again = (render_clips(tmp_path / name, 32, clips=1, frames=4) for name in "ab")
    one, two = (np.stack([picture for _, picture in read_frames(paths[0], None, 32)]) for paths in (first, again))
    # The video encoder's threads may differ by a step or two; another person differs by tens.
    assert one.shape == (4, 32, 32, 3) and np.abs(one.astype(int) - two).mean() < 1
    stamp = first[0].stat().st_mtime_ns
    assert render_clips(tmp_path / "a", 32, clips=1, frames=4)[0].stat().st_mtime_ns == stamp


def faces(shift=0.0, size=1.0, look=0.0, count=6):
    """A schematic face in motion: its mouth opens from frame to frame."""
    rng = np.random.default_rng(3)
    marks = rng.uniform(0.3, 0.7, (68, 2))
    marks[36], marks[45] = (0.35, 0.4), (0.65, 0.4)
    marks[17:27, 1] += look  # another person's brows
    found = []
    for i in range(count):
        moved = marks.copy()
        moved[48:68, 1] += 0.02 * i
        found.append(Face(np.full(128, look), 0.5 + size * (moved - 0.5) + shift))
    return found


def test_a_perfect_transfer_has_no_error():
    errors = transfer_errors(faces(), faces(), faces(), faces())
    assert (errors.identity_distance, errors.identity_error, errors.motion_error, errors.cross_error) == pytest.approx(
        (0, 0, 0, 0)
    )
    assert errors.pose_error == pytest.approx(0, abs=1e-4) and errors.faces == 1


def test_place_is_a_cross_error_but_none_of_motion_or_identity():
    errors = transfer_errors(faces(shift=0.03), faces(), faces(), faces())
    assert errors.cross_error == pytest.approx(2 * (0.03 / 0.3) ** 2)
    assert (errors.identity_error, errors.motion_error) == pytest.approx((0, 0), abs=1e-12)


def test_another_look_is_an_identity_error_and_a_still_mouth_one_of_motion():
    other = transfer_errors(faces(look=0.05), faces(), faces(), faces())
    assert (
        other.identity_error > 1e-4
        and other.identity_distance > 0.4
        and other.motion_error == pytest.approx(0, abs=1e-12)
    )
    still = transfer_errors([faces()[2]] * 6, faces(), faces(), faces())
    way = 0.02 * (np.arange(6) - 2.5) / 0.3
    assert still.motion_error == pytest.approx(20 / 68 * np.square(way).mean())


def test_without_truth_motion_is_that_of_the_driving_clip():
    errors = transfer_errors(faces(look=0.05, size=0.8), faces(look=0.05), faces(), None)
    assert errors.cross_error is None
    assert (errors.motion_error, errors.identity_error) == pytest.approx((0, 0), abs=1e-9)
    assert transfer_errors([None] * 6, faces(), faces(), None).motion_error is None


def test_what_is_shown_is_told_from_the_person_of_the_motion():
    like_b = transfer_errors(faces(look=0.05), faces(look=0.05), faces(), None)
    like_a = transfer_errors(faces(), faces(look=0.05), faces(), None)
    assert like_b.identity_distance == pytest.approx(0) and like_b.driver_distance > 0.4
    assert like_a.driver_distance == pytest.approx(0)
    talking, resting = faces(), faces()
    for i in range(6):
        for clip, opens in ((talking, 0.1), (resting, 0.01)):  # the inner lips' distance grows by so much of itself
            clip[i].landmarks[66] += opens * i * (clip[i].landmarks[66] - clip[i].landmarks[62])
    assert transfer_errors(talking, faces(), talking, None).mouth == pytest.approx(1)
    assert transfer_errors(faces(), faces(), talking, None).mouth is None, "a mouth that does not open"
    assert transfer_errors(talking, faces(), resting, None).mouth is None, (
        "what correlates with a mouth at rest is noise"
    )
    assert medians([like_a, like_b, like_b])["nearer"] == pytest.approx(2 / 3)
    assert medians([transfer_errors([None] * 6, faces(), faces(), None)])["nearer"] is None


def turned(yaws, build=0.0):
    """Faces turned to the side by `yaws` degrees, whose landmarks look as if they were tilted by `build` degrees always."""

    def turn(axis, degrees):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        i, j = [k for k in range(3) if k != axis]
        r = np.eye(3)
        r[i, i], r[i, j], r[j, i], r[j, j] = c, -s, s, c
        return r

    found = []
    for yaw in yaws:
        marks = 0.5 + 0.1 * (MEAN_HEAD @ (turn(1, yaw) @ turn(0, build)).T)[:, :2]
        found.append(Face(np.zeros(128), marks))
    return found


def test_the_build_of_a_face_is_a_pose_error_but_no_turn():
    yaws = [-10, -5, 0, 5, 10]
    errors = transfer_errors(turned(yaws, build=12), turned([0] * 5, build=12), turned(yaws), None)
    assert errors.pose_error == pytest.approx(12, abs=0.1) and errors.turn_error == pytest.approx(0, abs=0.2)
    still = transfer_errors(turned([0] * 5, build=12), turned([0] * 5, build=12), turned(yaws), None)
    assert still.turn_error == pytest.approx(still.turn_still) == pytest.approx(6, abs=0.2)
    exact = transfer_errors(turned(yaws), turned([0] * 5), turned(yaws), turned(yaws, build=12))
    assert exact.pose_error == pytest.approx(12, abs=0.1), "where there is truth, it is the measure"


def test_targets_stand_beside_what_was_found(whole):
    rows = {line[0]: line for line in targets_table(whole).rows if line[1] == "own"}
    assert rows["encode, times real time"][4] in ("reached", "missed")
    at_four = targets_table(whole | {"rows": [row | {"setting": "4 kbit/s, context"} for row in whole["rows"]]})
    rows = {line[0]: line for line in at_four.rows if line[1] == "4 kbit/s"}
    assert rows["identity distance (dlib), median"][3:] == ("-", "not measured")
    rates = [line for line in at_four.rows if line[0] == "coded motion, bits a frame"]
    assert [line[2:] for line in rates] == [
        ("at most 176", rates[0][3], "reached"),
        ("at least 144", rates[0][3], "missed"),
    ]
    transfer = {"nearer": 0.9, "pose_error": 5.0, "mouth": None}
    rows = {line[0]: line[3:] for line in targets_table(whole | {"transfer": transfer}).rows}
    assert rows["another's motion: nearer to the content's person, % of pairs"] == ("90", "missed")
    assert rows["another's motion: pose error, degrees, median"] == ("5.0", "reached")
    assert all(line[4] == "not measured" for line in targets_table(whole).rows if line[1] == "4 kbit/s")


def test_medians_and_pairs():
    errors = [transfer_errors(faces(shift=s), faces(), faces(), faces()) for s in (0.0, 0.03, 0.3)] + [
        transfer_errors([None] * 6, faces(), faces(), faces())
    ]
    found = medians(errors)
    assert found["pairs"] == 4 and found["cross_error"] == pytest.approx(errors[1].cross_error) and found["faces"] == 1
    clips = [Path(str(i)) for i in range(10)]
    assert list(pairs_of(clips, 3)) == [(clips[0], clips[5]), (clips[1], clips[6]), (clips[3], clips[8])]
    assert list(pairs_of(clips[:1], 3)) == []


def test_a_clip_is_known_by_its_bytes_wherever_and_whenever_they_were_written(tmp_path):
    def depends(path):
        return depends_on(path, "model", [], False, [])

    first, copy, other = (tmp_path / name for name in ("a.mp4", "b.mp4", "c.mp4"))
    first.write_bytes(b"clip")
    copy.write_bytes(b"clip")
    other.write_bytes(b"clap")
    os.utime(copy, (1, 1))
    assert depends(first) == depends(copy) != depends(other)
    for folder, second in (("x", b"2"), ("y", b"2"), ("z", b"3")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.png").write_bytes(b"1")
        (tmp_path / folder / "2.png").write_bytes(second)
    assert depends(tmp_path / "x") == depends(tmp_path / "y") != depends(tmp_path / "z")


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
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"clip")
    assert depends_on(clip, "model", [], False, [])["code"] == code_of_codec()


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

"""Accepted figures, tables in documents, rendered heads, and errors of one person in another's motion."""

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
from bcdcodec.benchmarks.measure.faces import SAMPLES, Face
from bcdcodec.benchmarks.measure.head_pose import MEAN_HEAD
from bcdcodec.benchmarks.measure.reenactment import (
    cross_driven,
    medians,
    pairs_of,
    probe_codes,
    reenactment_errors,
    ridge,
)
from bcdcodec.benchmarks.report.documents import BEGIN as BEGIN_OF, END as END_OF, WHOLE, block, update
from bcdcodec.benchmarks.report.plots import plots
from bcdcodec.benchmarks.report.tables import sections
from bcdcodec.benchmarks.rows import ClipRows, code_of_codec, digest_of
from bcdcodec.errors import BcdError

BEGIN, END = BEGIN_OF.format(WHOLE), END_OF.format(WHOLE)
DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_model):
    """The report of a small benchmark with ablation, and with figures of speed and rendered heads put in."""
    from bcdcodec.benchmarks.run import Options, bench

    folder = tmp_path_factory.mktemp("full")
    clips = [write_clip(folder / f"head-{i}.mp4", head_frames(40 + i, 10, 32)) for i in range(3)]
    options = Options(str(tiny_model), folder / "out", faces=False, procedural=False, speed=False, ablate=3)
    report = bench(clips, options).report
    numbers = ("seconds", "encode_fps", "decode_fps", "encode_times_real_time", "decode_times_real_time")
    numbers += ("first_frame_warm", "first_frame_cold", "encode_command", "decode_command")
    numbers += ("encode_peak_mib", "decode_peak_mib")
    report["speed"] = dict.fromkeys(numbers, 2.5) | {
        "encode_stages": {"read": 0.1},
        "decode_stages": {"pictures": 0.2},
        "machine": report["machine"],
        "clip": "head-0",
        "frames": 10,
        "source_size": [32, 32],
        "repeats": 3,
    }
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
    report["procedural"] = {
        "cross_driven": {"decoded": 19.0, "still": 17.0, "own": 11.0, "pairs": 12},
        "probes": {"motion_r2": {"yaw": 0.5}, "identity_accuracy": 0.1, "identity_chance": 0.06},
    }
    report["reenactment"] = {"rendered heads": errors, "clips": errors | {"cross_error": None}}
    return report


@pytest.fixture(scope="module")
def full(whole, tmp_path_factory):
    """That report as accepted."""
    path = tmp_path_factory.mktemp("accepted") / "baseline.json"
    accept(whole, FULL, path)
    return load_baseline(path)[FULL]


def test_every_section_of_a_report_is_written(whole):
    parts = sections(whole | {"failed": [{"clip": "a", "error": "b"}]})
    assert [part.title for part in parts] == [
        "What was measured",
        "Pictures and identity",
        "Facial motion within clips",
        "Where the bytes go",
        "What each part brings",
        "Speed",
        "Rendered heads: motion and identity apart",
        "Reenactment: one person in another's motion",
        "Not measured",
        "Clips that failed (in no figure above)",
    ]
    table, published = parts[7].tables
    assert tuple(table.iloc[0])[1:] == ("0.300", "1.00", "2.00", "3.00", "4.0", "2.0 (7.0)", "0.75", "100", "90")
    assert tuple(table.iloc[1])[4] == "-" and len(published) > 5


def test_a_model_that_shows_no_other_person_has_probes_of_rendered_heads_alone(whole):
    alone = {"probes": whole["procedural"]["probes"]}
    part = next(p for p in sections(whole | {"procedural": alone}) if p.title.startswith("Rendered heads"))
    assert len(part.tables) == 1 and "A's motion" not in part.paragraphs[0]


def test_the_held_reference_stands_beside_every_measure(whole):
    for section in sections(whole):
        if section.title in ("Pictures and identity", "Facial motion within clips"):
            assert all(any("held" in column for column in table.columns) for table in section.tables)
    (quality,) = sections(whole)[1].tables
    assert all(cell != "-" for cell in quality["held"][quality["measure"] != "faces found"])


def test_ablation_lists_every_network_and_names_those_that_do_nothing(whole):
    parts = [a["part"] for a in whole["ablation"]]
    assert parts and all(a["clips"] == 3 for a in whole["ablation"])
    (section,) = [s for s in sections(whole) if s.title == "What each part brings"]
    (table,) = section.tables
    assert list(table.columns) == ["measure", *parts]
    gains, verdict = whole["ablation"][0]["gains"].values(), table.iloc[-1][parts[0]]
    assert (
        verdict
        == f"better in {sum(g['low'] > 0 for g in gains)}, worse in {sum(g['high'] < 0 for g in gains)} of "
        + str(len(gains))
    )
    _, found, named = section.paragraphs[0].rstrip(".").partition("No interval lies above 0 for: ")
    assert (named.partition(". ")[0].split(", ") if found else []) == [
        a["part"] for a in whole["ablation"] if not a["brings"]
    ]


def test_tables_of_a_document_follow_the_report(whole, tmp_path):
    document = tmp_path / "benchmarks.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert update(document, whole) and not update(document, whole)
    text = document.read_text()
    assert text.startswith(f"before\n{BEGIN}\n### What was measured") and text.endswith(f"{END}\nafter\n")
    changed = json.loads(json.dumps(whole))
    changed["rates"][0]["headlines"]["psnr"]["value"] += 1
    assert update(document, changed) and block(changed) in document.read_text()
    document.write_text(f"{BEGIN_OF.format('parts')}\n{END_OF.format('parts')}\n")
    assert update(document, whole, "parts")
    assert "| measure | decoder and refiner |" in document.read_text() and "PSNR | dB" not in document.read_text()
    assert all(line.count("|") > 2 for line in text.splitlines() if line.startswith("|"))


@pytest.mark.parametrize("text", ["no markers", f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"])
def test_a_document_without_its_markers_is_left_alone(whole, tmp_path, text):
    document = tmp_path / "README.md"
    document.write_text(text)
    with pytest.raises(BcdError, match="has not one line"):
        update(document, whole)
    assert document.read_text() == text


def test_the_documents_figures_are_the_accepted_ones():
    accepted, text = load_baseline().get(FULL), DOCUMENT.read_text()
    if accepted is None:
        pytest.skip("no figures are accepted yet: bcd bench, then python -m bcdcodec.benchmarks accept and tables")
    first = next(iter(accepted["rates"].values()))
    for name, digits, label in (("psnr", 2, "PSNR"), ("mouth.slope", 2, "mouth")):
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {label} |")][:1]
        assert f"{first[name][0]:.{digits}f}"[:-1] in row  # rounded twice, the last digit may differ by one


def test_accepting_one_report_keeps_the_other_and_no_rows(full, whole, tmp_path):
    path = tmp_path / "baseline.json"
    accept(whole, FULL, path)
    accept(whole | {"clips": 7}, SHORT, path)
    kept = load_baseline(path)
    assert kept[FULL] == full and kept[SHORT]["clips"] == 7
    assert path.stat().st_size < 8000 and "rows" not in full
    value, low, high, held, clips = full["rates"][whole["rates"][0]["setting"]]["psnr"]
    assert low <= value <= high and held is not None and clips == 3
    with pytest.raises(BcdError, match="version 0"):
        accept(whole | {"report": 0}, FULL, path)


def test_ratios_are_now_over_then(full, whole):
    doubled = json.loads(json.dumps(whole))
    kept = full["rates"][whole["rates"][0]["setting"]]["motion_bits"][0]  # rounded, as accepted figures are
    doubled["rates"][0]["headlines"]["motion_bits"]["value"] = 2 * kept
    lines = ratios(doubled, full).splitlines()
    (line,) = [text for text in lines if text.startswith("| coded motion |")][:1]
    assert line.split("|")[-2].strip() == "2.000"
    assert sum("| 1.000 |" in text for text in lines) > 8


def test_what_is_no_report_is_refused(tmp_path):
    (tmp_path / "report.json").write_text("[]")
    with pytest.raises(BcdError, match="is no report.json"):
        load_report(tmp_path / "report.json")


def test_plots_have_a_line_for_every_codec():
    points = [
        {"codec": codec, "side": 128, "clips": 3, "setting": f"crf {q}", "kbps": 4.0 + q}
        | {m: {"value": 1.0 + q, "held": 0.5} for m in ("psnr", "ms_ssim")}
        for codec in ("bcd", "x265")
        for q in (1, 2)
    ]
    usage = {"counts": [[3, 1], [2, 2]]}
    made = plots({"curves": points, "code_usage": usage}, [ClipRows("a", [], [3.0, 4.0], [], [])])
    assert set(made) == {"curves", "frame_bits", "code_usage"}
    assert all(text in made["curves"] for text in ("bcd", "x265", "held reference", "PSNR dB", "currentColor"))
    assert "dlib" not in made["curves"]  # not measured


def test_rendered_clips_are_the_same_every_time(tmp_path):
    from bcdcodec.video import read_frames

    first, again = (render_clips(tmp_path / name, 32, clips=1, frames=4) for name in "ab")
    one, two = (np.stack([picture for _, picture in read_frames(paths[0], None, 32)]) for paths in (first, again))
    # The video encoder's threads may differ by a step or two; another person differs by tens.
    assert one.shape == (4, 32, 32, 3) and np.abs(one.astype(int) - two).mean() < 1
    stamp = first[0].stat().st_mtime_ns
    assert render_clips(tmp_path / "a", 32, clips=1, frames=4)[0].stat().st_mtime_ns == stamp


# ---- rendered heads


def test_a_ridge_regression_recovers_a_linear_map_in_both_of_its_forms():
    rng = np.random.default_rng(0)
    for rows, inputs in ((400, 5), (40, 60)):
        x = rng.normal(size=(rows, inputs))
        y = x[:, :1] * 2 + 3
        weights = ridge(x, y, penalty=1e-6)
        assert np.allclose(x @ weights[:-1] + weights[-1], y, atol=1e-2)


class SchematicFaces:
    """Stands in for dlib: a face whose mouth is as open as the picture is bright."""

    def face(self, picture):
        marks = np.random.default_rng(0).uniform(0.3, 0.7, (68, 2))
        marks[48:68, 1] += picture.mean() / 1000
        return Face(np.full(128, picture.mean()), marks)

    def faces(self, clip):
        return [self.face(clip[i]) for i in np.linspace(0, len(clip) - 1, SAMPLES).astype(int)]


def test_rendered_heads_are_measured_with_a_small_model(faces_model, tiny_model):
    cross = cross_driven(str(faces_model), pairs=1, frames=8)
    assert cross.pairs == 1 and 5 < cross.own < 40 and 5 < cross.decoded < 60 and cross.errors is None
    probes = probe_codes(str(tiny_model), people=4, frames=8)
    assert set(probes.motion_r2) >= {"yaw", "mouth_open"} and 0 <= probes.identity_accuracy <= 1


def test_reenactment_errors_are_measured_beside_psnr_at_a_given_rate(faces_model):
    cross = cross_driven(str(faces_model), pairs=2, frames=8, meter=SchematicFaces(), kbps=0.1)
    assert set(cross.errors) == {"decoded", "still", "own"}
    assert all(found["pairs"] == 2 and found["faces"] == 1 for found in cross.errors.values())
    assert cross.errors["own"]["identity_distance"] > 0  # A's own video shows A
    assert cross.errors["still"]["motion_error"] > 0


# ---- errors of one person in another's motion


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


def test_a_perfect_reenactment_has_no_error():
    errors = reenactment_errors(faces(), faces(), faces(), faces())
    assert (errors.identity_distance, errors.identity_error, errors.motion_error, errors.cross_error) == pytest.approx(
        (0, 0, 0, 0)
    )
    assert errors.pose_error == pytest.approx(0, abs=1e-4) and errors.faces == 1


def test_place_is_a_cross_error_but_none_of_motion_or_identity():
    errors = reenactment_errors(faces(shift=0.03), faces(), faces(), faces())
    assert errors.cross_error == pytest.approx(2 * (0.03 / 0.3) ** 2)
    assert (errors.identity_error, errors.motion_error) == pytest.approx((0, 0), abs=1e-12)


def test_another_look_is_an_identity_error_and_a_still_mouth_one_of_motion():
    other = reenactment_errors(faces(look=0.05), faces(), faces(), faces())
    assert (
        other.identity_error > 1e-4
        and other.identity_distance > 0.4
        and other.motion_error == pytest.approx(0, abs=1e-12)
    )
    still = reenactment_errors([faces()[2]] * 6, faces(), faces(), faces())
    way = 0.02 * (np.arange(6) - 2.5) / 0.3
    assert still.motion_error == pytest.approx(20 / 68 * np.square(way).mean())


def test_without_truth_motion_is_that_of_the_driving_clip():
    errors = reenactment_errors(faces(look=0.05, size=0.8), faces(look=0.05), faces(), None)
    assert errors.cross_error is None
    assert (errors.motion_error, errors.identity_error) == pytest.approx((0, 0), abs=1e-9)
    assert reenactment_errors([None] * 6, faces(), faces(), None).motion_error is None


def test_what_is_shown_is_told_from_the_person_of_the_motion():
    like_b = reenactment_errors(faces(look=0.05), faces(look=0.05), faces(), None)
    like_a = reenactment_errors(faces(), faces(look=0.05), faces(), None)
    assert like_b.identity_distance == pytest.approx(0) and like_b.driver_distance > 0.4
    assert like_a.driver_distance == pytest.approx(0)
    talking, resting = faces(), faces()
    for i in range(6):
        for clip, opens in ((talking, 0.1), (resting, 0.01)):  # the inner lips' distance grows by so much of itself
            clip[i].landmarks[66] += opens * i * (clip[i].landmarks[66] - clip[i].landmarks[62])
    assert reenactment_errors(talking, faces(), talking, None).mouth == pytest.approx(1)
    assert reenactment_errors(faces(), faces(), talking, None).mouth == 0, "a mouth that does not open"
    assert reenactment_errors(talking, faces(), resting, None).mouth is None, (
        "what correlates with a mouth at rest is noise"
    )
    assert medians([like_a, like_b, like_b])["nearer"] == pytest.approx(2 / 3)
    assert medians([reenactment_errors([None] * 6, faces(), faces(), None)])["nearer"] is None


def turned(yaws, build=0.0):
    """Faces turned to the side by `yaws` degrees, whose landmarks always look tilted by `build` degrees."""

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
    errors = reenactment_errors(turned(yaws, build=12), turned([0] * 5, build=12), turned(yaws), None)
    assert errors.pose_error == pytest.approx(12, abs=0.1) and errors.turn_error == pytest.approx(0, abs=0.2)
    still = reenactment_errors(turned([0] * 5, build=12), turned([0] * 5, build=12), turned(yaws), None)
    assert still.turn_error == pytest.approx(still.turn_still) == pytest.approx(6, abs=0.2)
    exact = reenactment_errors(turned(yaws), turned([0] * 5), turned(yaws), turned(yaws, build=12))
    assert exact.pose_error == pytest.approx(12, abs=0.1), "where there is truth, it is the measure"


def test_medians_and_pairs():
    errors = [reenactment_errors(faces(shift=s), faces(), faces(), faces()) for s in (0.0, 0.03, 0.3)] + [
        reenactment_errors([None] * 6, faces(), faces(), faces())
    ]
    found = medians(errors)
    assert found["pairs"] == 4 and found["cross_error"] == pytest.approx(errors[1].cross_error) and found["faces"] == 1
    clips = [Path(str(i)) for i in range(10)]
    assert list(pairs_of(clips, 3)) == [(clips[0], clips[5]), (clips[1], clips[6]), (clips[3], clips[8])]
    assert list(pairs_of(clips[:1], 3)) == []


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

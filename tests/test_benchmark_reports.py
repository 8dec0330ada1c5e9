"""A benchmark's report: its sections, the tables in documents, the accepted figures and the plots."""

import json
from pathlib import Path

import pytest
from head_clips import head_frames, write_clip

pytest.importorskip("matplotlib", reason="the report's plots need matplotlib")

from bcdcodec.benchmarks.baseline import FULL, SHORT, accept, load_baseline, load_report, ratios
from bcdcodec.benchmarks.report.documents import BEGIN as BEGIN_OF, END as END_OF, WHOLE, block, update
from bcdcodec.benchmarks.report.plots import plots
from bcdcodec.benchmarks.report.tables import sections
from bcdcodec.benchmarks.rows import ClipRows
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

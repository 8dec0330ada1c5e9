"""Tables of a report between two markers of a document, so that no figure is copied by hand."""

from __future__ import annotations

import textwrap
from pathlib import Path

from bcdcodec.benchmarks.report.render import as_markdown
from bcdcodec.benchmarks.report.tables import sections
from bcdcodec.benchmarks.rows import write_whole
from bcdcodec.errors import BcdError

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
LEFT_OUT = ("Not measured", "Clips that failed (in no figure above)")
COLUMNS = 118


def block(report: dict) -> str:
    """What stands between the markers: every section of the report, its text wrapped."""
    parts = []
    for section in sections(report):
        if section.title not in LEFT_OUT:
            parts.append(f"### {section.title}")
            wrap = {"width": COLUMNS, "break_long_words": False, "break_on_hyphens": False}
            parts += [textwrap.fill(text, **wrap) for text in section.paragraphs]
            parts += [as_markdown(table) for table in section.tables]
    return "\n\n".join(parts)


def update(path: Path, report: dict) -> bool:
    """Put the tables of a report between the markers of a document; whether that changed it.

    Raises BcdError when the file cannot be read or written, or has not each marker once.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise BcdError(f"cannot read {path}: {error.strerror}") from error
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise BcdError(f"{path} has not one line {BEGIN} and after it one line {END}")
    before, after = text[: text.index(BEGIN)], text[text.index(END) + len(END) :]
    new = f"{before}{BEGIN}\n{block(report)}\n{END}{after}"
    if new != text:
        write_whole(path, new)
    return new != text

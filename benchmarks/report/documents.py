"""Tables of a report between two markers of a document, so that no figure is copied by hand."""

from __future__ import annotations

import textwrap
from pathlib import Path

from bcdcodec.benchmarks.report.render import as_markdown
from bcdcodec.benchmarks.report.tables import sections
from bcdcodec.benchmarks.rows import write_whole
from bcdcodec.errors import BcdError

BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"
# What stands between the markers of a name: titles of sections, or all of a report.
WHOLE = "figures"
BLOCKS = {
    WHOLE: None,
    "ahg16": ("What was measured", "Beside the anchors"),
    "parts": ("What was measured", "What each part brings"),
}
LEFT_OUT = ("Not measured", "Clips that failed (in no figure above)")
COLUMNS = 118


def block(report: dict, name: str = WHOLE) -> str:
    """What stands between the markers of a name in BLOCKS: sections of the report, their text wrapped.

    A whole report has its headings; of a part the document has one.
    """
    parts, titles = [], BLOCKS[name]
    for section in sections(report):
        if section.title in titles if titles else section.title not in LEFT_OUT:
            parts += [] if titles else [f"### {section.title}"]
            wrap = {"width": COLUMNS, "break_long_words": False, "break_on_hyphens": False}
            parts += [textwrap.fill(text, **wrap) for text in section.paragraphs]
            parts += [as_markdown(table) for table in section.tables]
    return "\n\n".join(parts)


def update(path: Path, report: dict, name: str = WHOLE) -> bool:
    """Put tables of a report between the markers of that name of a document; whether that changed it.

    `name`: in BLOCKS. Raises BcdError when the file cannot be read or written, or has not each marker once.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise BcdError(f"cannot read {path}: {error.strerror}") from error
    begin, end = BEGIN.format(name), END.format(name)
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise BcdError(f"{path} has not one line {begin} and after it one line {end}")
    before, after = text[: text.index(begin)], text[text.index(end) + len(end) :]
    new = f"{before}{begin}\n{block(report, name)}\n{end}{after}"
    if new != text:
        write_whole(path, new)
    return new != text

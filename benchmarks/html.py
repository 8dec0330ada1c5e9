"""report.html: one file that opens by a double click, without a script or anything from elsewhere."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

from bcdcodec.benchmarks.rows import ClipRows
from bcdcodec.benchmarks.run import evenly
from bcdcodec.benchmarks.sections import Section, Table

SHEETS = 12  # clips shown, evenly picked
JPEG_QUALITY = 92
CAPTIONS = {
    "curves": "Rate against quality, medians over clips, rate in logarithmic steps; up is better. Crosses: 95 % intervals. "
    "Dashed: coded at half the size and scaled up.",
    "frame_bits": "Information of each frame's codes, of the longest clips.",
    "code_usage": "How often each code is used, one column a group.",
}
STYLE = """
:root { color-scheme: light dark; --ink: #1d1d1f; --page: #ffffff; --soft: #f3f3f5; --line: #d4d4d8; --dim: #5c5c66; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ec; --page: #17171a; --soft: #222227; --line: #3c3c44; --dim: #a2a2ad; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 75rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
p { max-width: 50rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 1rem 0; border: 1px solid var(--line); border-radius: .4rem; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; min-width: 100%; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
th { background: var(--soft); font-weight: 600; } tr:last-child td { border-bottom: 0; }
th:first-child, td:first-child, .text td, .text th { text-align: left; }
td:first-child { min-width: 10rem; }
.text td { overflow-wrap: anywhere; min-width: 9rem; }
figure { margin: 1rem 0; } figcaption { color: var(--dim); font-size: .875rem; }
figure svg { display: block; width: 100%; max-width: 60rem; height: auto; color: var(--ink); }
.plot { overflow-x: auto; } .plot svg { min-width: 36rem; }
.sheet { display: grid; gap: .6rem 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); }
.sheet figure { margin: 0; } .sheet img { display: block; width: 100%; height: auto; }
"""


def html(title: str, sections: list[Section], plots: dict[str, str], clips: list[ClipRows], folders: list[Path]) -> str:
    """The page. `folders` hold the strips of `clips`."""
    body = [f"<h1>{escape(title)}</h1>"]
    for section in sections:
        body.append(f"<h2>{escape(section.title)}</h2>")
        body += [f"<p>{escape(text)}</p>" for text in section.paragraphs]
        body += [
            f'<figure><div class="plot">{plots[name]}</div><figcaption>{escape(CAPTIONS[name])}</figcaption></figure>'
            for name in section.plots
            if name in plots
        ]
        body += [_table(table) for table in section.tables if table.rows]
    body += _sheets(clips, folders)
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def _table(table: Table) -> str:
    words = any(len(cell) > 40 for row in table.rows for cell in row[1:])
    head = "".join(f"<th>{escape(c)}</th>" for c in table.columns)
    rows = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in table.rows)
    return (
        f'<div class="scroll" tabindex="0"><table{" class=text" if words else ""}><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _sheets(clips: list[ClipRows], folders: list[Path]) -> list[str]:
    """Contact sheets: the same moments of the source and of every codec, one strip a codec."""
    contested = [i for i, clip in enumerate(clips) if len(clip.strips) > max(3, min(len(c.strips) for c in clips))]
    chosen = evenly(contested or list(range(len(clips))), SHEETS)
    parts = [
        "<h2>Contact sheets</h2>",
        (
            "<p>The same moments of a clip in every row. The setting of a classical codec is the one "
            "whose rate is nearest to that of the BCD file.</p>"
        ),
    ]
    for i in chosen:
        parts.append(f"<h3>{escape(clips[i].clip)}</h3>")
        figures = (
            f'<figure><img alt="{escape(strip.label)}" src="{_jpeg(folders[i] / strip.file)}">'
            f"<figcaption>{escape(strip.label)}</figcaption></figure>"
            for strip in clips[i].strips
        )
        parts.append(f'<div class="sheet">{"".join(figures)}</div>')
    return parts


def _jpeg(path: Path) -> str:
    """A PNG as the address of a JPEG inside the page."""
    from PIL import Image

    out = io.BytesIO()
    Image.open(path).convert("RGB").save(out, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()

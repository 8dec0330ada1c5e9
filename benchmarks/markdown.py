"""Sections as Markdown."""

from __future__ import annotations

from bcdcodec.benchmarks.sections import Section, Table


def markdown(title: str, sections: list[Section]) -> str:
    """The text of report.md."""
    parts = [f"# {title}"]
    for section in sections:
        parts += [f"## {section.title}", *section.paragraphs, *(table_as_markdown(t) for t in section.tables if t.rows)]
    return "\n\n".join(parts) + "\n"


def table_as_markdown(table: Table) -> str:
    """One table; columns after the first are right-aligned."""
    lines = [table.columns, ("---", *("---:" for _ in table.columns[1:])), *table.rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

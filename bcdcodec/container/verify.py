"""Checks a `.bcd` file as far as possible, past the first fault, and says what it found."""

from dataclasses import dataclass
from pathlib import Path

from bcdcodec.container.accounting import ByteCounts
from bcdcodec.container.chunks import INDX, SIGNATURE, read_chunks
from bcdcodec.container.head import Head
from bcdcodec.container.index import unpack_index
from bcdcodec.container.limits import excess
from bcdcodec.container.opening import open_bcd
from bcdcodec.container.reader import BcdReader
from bcdcodec.container.strict import strict_findings
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.errors import BcdError


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or worth knowing."""

    severity: str  # "error": the file is damaged; "warning": it is usable but not all there
    message: str


@dataclass(frozen=True)
class VerifyReport:
    """What a check found; a file is good when `findings` is empty."""

    findings: tuple[Finding, ...]
    head: Head
    frames: int  # decoded with tables, stated by the chunks without
    contents: int
    byte_counts: ByteCounts
    codes_checked: bool  # decoded with tables and compared with TAIL's hash

    @property
    def ok(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)


def verify_file(
    path: str | Path, tables: ModelTables | None = None, strict: bool = False, everything: bool = False
) -> VerifyReport:
    """Check every chunk's CRC, order and counts of frames; with `tables` also decode all and compare TAIL's hash.

    `strict`: what a reader must accept and a writer of this version does not write is a warning.
    `everything`: decode however much the file states; else the codes of one that states more than `container.limits`
    allows are not checked, and a warning says so.
    Raises BcdError only where there is nothing to check: no such file, no signature, no readable HEAD,
    or ModelMismatchError for tables of another model.
    """
    findings: list[Finding] = []
    with open_bcd(path) as reader:
        _check_chunks(path, reader, findings)
        if reader.fault is not None and str(reader.fault) not in [f.message for f in findings]:
            findings.append(Finding("error", str(reader.fault)))
        elif not reader.complete and not findings:
            stated = reader.head.frame_count or "unknown"
            text = f"the file ends early, without TAIL: {reader.frames} frames in whole chunks, HEAD states {stated}"
            findings.append(Finding("warning", text))
        try:
            reader.metadata  # noqa: B018 - parsed for its errors
        except BcdError as error:
            findings.append(Finding("warning", str(error)))
        frames = reader.frames
        if tables is not None:
            tables = reader.checked_tables(tables)
            if not everything and (text := excess(reader.frames, reader.content_values)):
                findings.append(Finding("warning", f"codes not checked: {text}; check them with --all"))
                tables = None
        if tables is not None:
            frames = _check_codes(reader, tables, findings)
        if strict:
            findings += [Finding("warning", text) for text in strict_findings(reader, tables)]
        return VerifyReport(
            findings=tuple(findings),
            head=reader.head,
            frames=frames,
            contents=reader.content_count,
            byte_counts=reader.byte_counts,
            codes_checked=tables is not None and reader.complete,
        )


def _check_chunks(path: str | Path, reader: BcdReader, findings: list[Finding]) -> None:
    with open(path, "rb") as file:
        file.seek(len(SIGNATURE))
        try:
            for chunk in read_chunks(file):
                if chunk.whole and not chunk.intact:
                    text = f"chunk {chunk.name} at byte {chunk.offset} is damaged: its CRC-32 does not agree"
                    findings.append(Finding("error", text))
                elif chunk.type == INDX and chunk.intact and unpack_index(chunk.payload) != reader.index:
                    text = f"iNDX at byte {chunk.offset} does not name the chunks where they are"
                    findings.append(Finding("warning", text))
        except BcdError as error:
            findings.append(Finding("error", str(error)))


def _check_codes(reader: BcdReader, tables: ModelTables, findings: list[Finding]) -> int:
    """Decode everything; return how many frames came out."""
    frames = 0
    try:
        if reader.content_count:
            for _ in reader.contents(tables):
                pass
        for motion in reader.motion(tables):
            frames += motion.frames
    except BcdError as error:
        if str(error) not in [finding.message for finding in findings]:
            findings.append(Finding("error", str(error)))
    return frames

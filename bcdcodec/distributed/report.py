"""The report of a bulk encoding: a row a video, as Parquet or CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path

from bcdcodec.distributed.worker import Result
from bcdcodec.errors import BcdError
from bcdcodec.files import PathLike

ROW_GROUP = 1000  # rows in memory at most
COLUMNS = [field.name for field in fields(Result)]


def write_report(path: PathLike, results: Iterable[Result]) -> Iterator[Result]:
    """Pass results on, and write them to a `.parquet` or `.csv` file, which appears under its name when all are there.

    Raises BcdError for another suffix, or for Parquet without pyarrow.
    """
    path = Path(path)
    writers = {".parquet": _parquet, ".csv": _csv}
    if path.suffix not in writers:
        raise BcdError(f"cannot write the report {path}: its suffix is {path.suffix!r}, expected .parquet or .csv")
    if path.suffix == ".parquet":
        _pyarrow()
    return _written(path, writers[path.suffix], results)


def _written(path: Path, writer, results: Iterable[Result]) -> Iterator[Result]:
    part = path.with_name(f".{path.name}.part")
    try:
        yield from writer(part, results)
        part.replace(path)
    except OSError as error:
        raise BcdError(f"cannot write the report {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _pyarrow():
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise BcdError(
            "a Parquet report needs pyarrow: pip install 'bcdcodec[distributed]', or name it .csv"
        ) from error
    return pyarrow


def _parquet(path: Path, results: Iterable[Result]) -> Iterator[Result]:
    pyarrow = _pyarrow()
    types = {"str": pyarrow.string(), "int": pyarrow.int64(), "float": pyarrow.float64()}
    schema = pyarrow.schema([(field.name, types[field.type]) for field in fields(Result)])
    rows: list[dict] = []
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for result in results:
            rows.append(asdict(result))
            if len(rows) == ROW_GROUP:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema))
                rows = []
            yield result
        writer.write_table(pyarrow.Table.from_pylist(rows, schema))


def _csv(path: Path, results: Iterable[Result]) -> Iterator[Result]:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        for result in results:
            writer.writerow(asdict(result))
            yield result

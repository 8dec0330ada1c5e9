"""Several videos into a folder of `.bcd` files, with one load of the model."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bcdcodec.device import pick_device
from bcdcodec.errors import BcdError
from bcdcodec.files import PathLike, Progress
from bcdcodec.files.encode_file import EncodeOptions, EncodeSummary, encode_file
from bcdcodec.model_folder import open_model
from bcdcodec.video import is_picture_name


@dataclass(frozen=True)
class BatchItem:
    """What became of one source."""

    source: Path
    target: Path
    result: EncodeSummary | BcdError  # the error of one that failed


def encode_batch(
    sources: Sequence[PathLike],
    folder: PathLike,
    options: EncodeOptions | None = None,
    progress: Progress | None = None,
) -> Iterator[BatchItem]:
    """Encode each source into `folder`, which is made if it is missing, and yield it when it is done.

    A folder among the sources is one clip if more than half of its files are pictures, else each file is a source. One
    that fails does not stop the others. Raises ModelError, and BcdError for a folder that cannot be written.
    """
    from bcdcodec.coding.session import open_session

    options, folder = options or EncodeOptions(), Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BcdError(f"cannot make folder {folder}: {error.strerror}") from None
    found = [path for source in sources for path in _expanded(Path(source))]
    stems = Counter(path.stem for path in found)
    session = open_session(open_model(options.model), pick_device(options.device), options.vae)
    for path in found:
        target = folder / f"{path.stem if stems[path.stem] == 1 else path.name}.bcd"
        try:
            yield BatchItem(path, target, encode_file(path, target, options, progress, session))
        except BcdError as error:
            yield BatchItem(path, target, error)


def _expanded(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    try:
        names = sorted(name for name in os.listdir(path) if not name.startswith("."))
    except OSError as error:
        raise BcdError(f"cannot read {path}: {error.strerror}") from None
    files = [path / name for name in names if (path / name).is_file()]
    return [path] if sum(is_picture_name(file.name) for file in files) > len(files) / 2 else files

"""Integer arrays that a model brings beside its frequency tables: checked, kept from changes, hashed."""

from collections.abc import Iterable, Mapping

import numpy as np

from bcdcodec.errors import ModelError

Layout = Mapping[str, tuple[type, tuple[int, ...]]]  # type and shape by name


def keep_arrays(owner: object, layout: Layout, whose: str, limits: Mapping[type, int]) -> None:
    """Put a read-only copy in place of every array of a frozen `owner`.

    Raises ModelError that names `whose`, for another type or shape than in `layout`, or values of a type in `limits`
    beyond plus or minus its limit.
    """
    for name, (dtype, shape) in layout.items():
        given = np.asarray(getattr(owner, name))
        if given.dtype != dtype or given.shape != shape:
            found = f"{given.dtype} {list(given.shape)}"
            raise ModelError(f"{whose}: {name} is {found}, expected {np.dtype(dtype)} {list(shape)}")
        given = np.array(given, order="C")  # a copy, so that the caller cannot change it
        given.setflags(write=False)
        object.__setattr__(owner, name, given)
        limit = limits.get(dtype)
        if limit is not None and np.abs(given.astype(np.int64)).max() > limit:
            raise ModelError(f"{whose}: {name} spans {given.min()} to {given.max()}, the limit is +-{limit}")


def little_endian(owner: object, layout: Layout) -> Iterable[bytes]:
    """Yield the bytes of every array, in the order of the layout, row by row."""
    for name, (dtype, _) in layout.items():
        yield getattr(owner, name).astype(np.dtype(dtype).newbyteorder("<")).tobytes()

"""The mETa chunk: free metadata in a strict subset of msgpack, never needed to decode."""

from bcdcodec.errors import FormatError, LimitError

META_BYTES = 1 << 20
META_DEPTH = 8  # levels, counting the outer map and the innermost values


def pack_metadata(metadata: dict) -> bytes:
    """Return the payload of mETa; FormatError for values it cannot hold, LimitError above 1 MiB."""
    import msgpack

    _check_metadata(metadata)
    try:
        payload = msgpack.packb(metadata, use_bin_type=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise FormatError(f"metadata cannot be stored: {error}") from error
    if len(payload) > META_BYTES:
        raise LimitError(f"metadata has {len(payload)} bytes, the limit is {META_BYTES}")
    return payload


def unpack_metadata(payload: bytes) -> dict:
    """Return the metadata in mETa: a map from strings to nil, booleans, numbers, strings, bytes, lists, such maps."""
    import msgpack

    if len(payload) > META_BYTES:
        raise LimitError(f"metadata has {len(payload)} bytes, the limit is {META_BYTES}")
    try:
        metadata = msgpack.unpackb(payload, raw=False, strict_map_key=True, ext_hook=_refuse_extension)
    except FormatError:
        raise
    except Exception as error:  # msgpack raises ValueError, its own classes and more; none of them may reach the user
        raise FormatError(f"metadata is not valid msgpack: {error}") from error
    _check_metadata(metadata)
    return metadata


def _refuse_extension(code: int, data: bytes):
    raise FormatError(f"metadata holds msgpack extension type {code}, expected plain values only")


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict):
        raise FormatError(f"metadata is a {type(metadata).__name__}, expected a map")
    level = [metadata]
    for _ in range(META_DEPTH):
        below = []
        for item in level:
            if isinstance(item, dict):
                for key in item:
                    if not isinstance(key, str):
                        raise FormatError(f"metadata has the key {key!r}, expected strings")
                below.extend(item.values())
            elif isinstance(item, list | tuple):
                below.extend(item)
            elif item is not None and not isinstance(item, bool | int | float | str | bytes):
                raise FormatError(f"metadata holds a {type(item).__name__}, expected plain values only")
        level = below
    if level:
        raise LimitError(f"metadata is nested deeper than the limit of {META_DEPTH}")

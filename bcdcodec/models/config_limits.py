"""Types and ranges of a config's fields: a config.json comes with files from anywhere, and sizes networks."""

from __future__ import annotations

import dataclasses
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from bcdcodec.config import WindowConfig
from bcdcodec.errors import ModelError

_MOST = 1 << 20  # of any integer
_MOST_FLOAT = 1e9
_MOST_ITEMS = 256  # of a list
_LIMITS = {  # fields that size networks, and those that are divided by
    "picture_size": (1, 4096),
    "size": (1, 4096),
    "channels": (1, 4096),
    "groups": (1, 1024),
    "codes": (2, 256),
    "dim": (1, 8192),
    "width": (1, 8192),
    "ff": (1, 65536),
    "layers": (1, 256),
    "depth": (1, 256),
    "blocks": (1, 256),
    "heads": (1, 256),
    "patch": (1, 256),
    "rows": (1, 1024),
    "columns": (1, 1024),
    "frames": (1, 256),
    "length": (1, 1024),
    "steps": (1, 1000),
    "frame": (1, 4096),
    "cell": (1, 256),
    "crop": (1, 4096),
    "picture": (1, 4096),
    "side": (1, 4096),
    "grid": (1, 1024),
}
_LEAST = 1e-9  # of what is divided by
_FLOATS = {
    "frame_rate": (1.0, 1000.0),
    "step_ratio": (1.0, 16.0),
    **dict.fromkeys(("deviation", "step", "alpha", "context", "sigma_data", "sigma_min", "sigma_max"), (_LEAST, 1e9)),
}


def check_limits(config: Any, where: str = "") -> None:
    """Raise ModelError for a field of a config dataclass, or of one in it, that has another type or is out of range."""
    kinds = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{where}{field.name}"
        if dataclasses.is_dataclass(value):
            check_limits(value, f"{name}.")
        else:
            _check(name, field.name, value, kinds[field.name])
    width, heads = getattr(config, "width", 0), getattr(config, "heads", 1)
    if width % heads:
        raise ModelError(f"model config: {where}width is {width}, which {heads} heads do not divide")
    if isinstance(config, WindowConfig) and config.overlap >= config.length:
        raise ModelError(f"model config: windows of {config.length} frames cannot overlap by {config.overlap}")


def _check(name: str, field: str, value: Any, kind: Any) -> None:
    if isinstance(kind, UnionType):
        if value is None:
            return
        kind = next(part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        count = None if parts[-1] is Ellipsis else len(parts)
        if not isinstance(value, tuple) or len(value) > _MOST_ITEMS or count not in (None, len(value)):
            expected = f"{count} values" if count else f"a list of at most {_MOST_ITEMS} values"
            raise ModelError(f"model config: {name} is {str(value)[:60]}, expected {expected}")
        for item in value:
            _check(name, "", item, parts[0])
        return
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise ModelError(f"model config: {name} is {str(value)[:60]!r}, expected {kind.__name__}")
    if kind is int:
        low, high = _LIMITS.get(field, (0, _MOST))
        if not low <= value <= high:
            raise ModelError(f"model config: {name} is {value}, expected {low} to {high}")
    elif kind is float:
        low, high = _FLOATS.get(field, (-_MOST_FLOAT, _MOST_FLOAT))
        if not low <= value <= high:  # nor is any comparison with nan true
            raise ModelError(f"model config: {name} is {value}, expected {low:g} to {high:g}")

"""The config.json of version 0.1, one flat set of fields for all models, read as that of the model it describes.

The bytes of such a file are part of its model's fingerprint, so shipped models keep theirs.
"""

from __future__ import annotations

from bcdcodec.errors import ModelError

# What the code of a model has built in: a config that asks for anything else is none of that model.
_BUILT_IN = {
    "heads": {
        "encoder": {"frames_see_frames": True, "frames_see_queries": False, "queries_see_queries": True},
        "content": {"reference_motion": True},
        "decoder": {"flow_basis": True, "motion_in_patches": True, "mask_rate": 0.0, "guidance": 1.0},
    },
    "sprites": {
        "encoder": {
            "frames_see_frames": False,
            "frames_see_queries": False,
            "queries_see_queries": False,
            "stem": "conv",
        },
        "content": {
            "reference_motion": False,
            "still_dim": 0,
            "still_filter": None,
            "detail": [],
            "appearance": 0,
            "appearance_dim": 0,
            "predicted_channels": 0,
        },
        "decoder": {
            "flow_basis": False,
            "motion_in_patches": True,
            "mask_rate": 0.0,
            "guidance": 1.0,
            "temporal_indices": [],
            "motion_patch_rank": 0,
            "warp_grid": 0,
            "klt_output": 0,
            "painter": [],
        },
    },
}
_RENAMED = {
    "content": {
        "still_dim": "transform_dim",
        "still_filter": "denoiser",
        "detail": "super_resolution",
        "appearance": "residual_components",
        "appearance_dim": "residual_dim",
    },
    "decoder": {"warp_grid": "flow_grid", "klt_output": "transform_output", "painter": "refiner"},
}
_RETIRED = {"encoder": {"refine_steps"}, "quantiser": {"rank"}}  # nothing reads them any more


def upgrade(raw: dict) -> dict:
    """Fields as of today, with "model", from those of version 0.1.

    Raises ModelError for a config that is of neither model, TypeError or KeyError for one that is no config.
    """
    raw = {key: dict(value) if isinstance(value, dict) else value for key, value in raw.items()}
    model = "heads" if raw["decoder"].get("flow_basis") else "sprites"
    for part, fields in _BUILT_IN[model].items():
        for field, expected in fields.items():
            found = raw[part].pop(field, expected)
            if expected is not None and found != expected:
                raise ModelError(
                    f"config of {raw.get('name')!r}: {part}.{field} is {found}, a {model} model has {expected}; "
                    "train the model anew with this version"
                )
    for part, fields in _RETIRED.items():
        for field in fields:
            raw[part].pop(field, None)
    for part, fields in _RENAMED.items():
        for old, new in fields.items():
            if old in raw[part]:
                raw[part][new] = raw[part].pop(old)
    raw["content"]["frames"] = raw.pop("training")["content_frames"]  # the rest of it concerns training alone
    return raw | {"model": model}

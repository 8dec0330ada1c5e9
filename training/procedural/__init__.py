"""Synthetic talking heads whose cross-driven truth is exact: any motion can be rendered with any identity."""

from .flow import flow_between
from .identity import Identity
from .motion import MOTION_PARAMETERS, sample_motion
from .render import render

__all__ = ["Identity", "MOTION_PARAMETERS", "sample_motion", "render", "flow_between"]

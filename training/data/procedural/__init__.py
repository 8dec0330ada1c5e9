"""Synthetic talking heads whose cross-driven truth is exact: any motion can be rendered with any identity."""

from bcdcodec.training.data.procedural.flow import flow_between
from bcdcodec.training.data.procedural.identity import Identity
from bcdcodec.training.data.procedural.motion import MOTION_PARAMETERS, sample_motion
from bcdcodec.training.data.procedural.render import render

__all__ = ["Identity", "MOTION_PARAMETERS", "sample_motion", "render", "flow_between"]

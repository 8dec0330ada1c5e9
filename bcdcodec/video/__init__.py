"""Video in and out: files and folders to square upright images, and back.

PyAV is imported when a video is opened, not with this package.
"""

from bcdcodec.errors import VideoError
from bcdcodec.video.face import FaceChoice, choose_face
from bcdcodec.video.folder import is_picture_name
from bcdcodec.video.geometry import MAX_SIDE, Crop, centre_crop, parse_crop
from bcdcodec.video.paste import STILL_SIDE, PasteBack, decode_still, encode_still
from bcdcodec.video.pipes import is_pipe
from bcdcodec.video.read import FrameReader, Tracks, VideoInfo, probe_video, read_frames, read_pictures
from bcdcodec.video.scaling import enlarge
from bcdcodec.video.sinks import encode_png
from bcdcodec.video.sound import SoundOptions, SoundTrack
from bcdcodec.video.timing import constant_frame_duration
from bcdcodec.video.write import VideoWriter, holds_sound, write_video

__all__ = [
    "MAX_SIDE",
    "STILL_SIDE",
    "Crop",
    "FaceChoice",
    "FrameReader",
    "PasteBack",
    "SoundOptions",
    "SoundTrack",
    "Tracks",
    "VideoError",
    "VideoInfo",
    "VideoWriter",
    "centre_crop",
    "choose_face",
    "constant_frame_duration",
    "decode_still",
    "encode_png",
    "encode_still",
    "enlarge",
    "holds_sound",
    "is_picture_name",
    "is_pipe",
    "parse_crop",
    "probe_video",
    "read_frames",
    "read_pictures",
    "write_video",
]

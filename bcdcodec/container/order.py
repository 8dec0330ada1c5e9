"""The rules that tie chunks together, the same for writing and reading."""

from bcdcodec.container.audio import Audio, AudioFormat
from bcdcodec.container.av1 import KeyUnit
from bcdcodec.container.picture import Picture, check_picture
from bcdcodec.container.pts import FrameTimes
from bcdcodec.errors import FormatError


class RecordingOrder:
    """Follows contents and motion in file order and raises FormatError where one does not fit what came before."""

    def __init__(self, variable_rate: bool):
        self.variable_rate = variable_rate
        self.frames = 0  # so far; the number of the next frame
        self.content_starts: list[int] = []  # first frame of content i
        self.key_units: dict[int, KeyUnit] = {}  # of the contents whose picture is a key frame
        self.first_pts: int | None = None
        self.last_pts: int | None = None
        self.last_step: int | None = None  # ticks between the last two frames
        self.audio_format: AudioFormat | None = None
        self.audio_end = 0  # samples from the start of the first packet to the end of the last

    def add_content(self, number: int, first_frame: int, picture: Picture | None = None) -> None:
        if number != len(self.content_starts):
            raise FormatError(f"content number is {number}, expected {len(self.content_starts)}: they count from 0")
        if first_frame < self.frames:
            raise FormatError(
                f"content {number} begins at frame {first_frame}, but {self.frames} frames came before it"
            )
        if picture is not None:
            key = check_picture(number, picture, self.key_units)
            if key is not None:
                self.key_units[number] = key
        self.content_starts.append(first_frame)

    def add_motion(self, first_frame: int, frames: int, content: int, times: FrameTimes | None) -> None:
        if first_frame != self.frames:
            raise FormatError(f"motion begins at frame {first_frame}, expected frame {self.frames}")
        if content >= len(self.content_starts):
            raise FormatError(
                f"frame {first_frame} uses content {content}, the file has {len(self.content_starts)} before it"
            )
        if self.content_starts[content] > first_frame:
            start = self.content_starts[content]
            raise FormatError(f"frame {first_frame} uses content {content}, which begins at frame {start}")
        if (times is not None) != self.variable_rate:
            found, rate = ("pts", "constant") if times is not None else ("no pts", "variable")
            raise FormatError(f"motion from frame {first_frame} has {found}, but HEAD states a {rate} frame rate")
        if times is not None:
            self._add_times(first_frame, times)
        self.frames += frames

    def add_audio(self, audio: Audio) -> None:
        if (audio.format is None) == (self.audio_format is None):
            found, place = ("no format", "first") if audio.format is None else ("a format", "later")
            raise FormatError(f"the sound from sample {audio.first_sample} has {found}, but is the {place} of the file")
        if audio.format is not None and audio.first_sample:
            raise FormatError(f"the first sound begins at sample {audio.first_sample}, expected 0")
        if audio.first_sample < self.audio_end:
            raise FormatError(
                f"sound begins at sample {audio.first_sample}, but {self.audio_end} samples came before it"
            )
        self.audio_format = self.audio_format or audio.format
        self.audio_end = audio.first_sample + audio.samples

    def _add_times(self, first_frame: int, times: FrameTimes) -> None:
        if self.last_pts is None:
            self.first_pts, last_step = times.first, times.last_step
        elif times.first <= self.last_pts:
            raise FormatError(
                f"frame {first_frame} has pts {times.first}, expected more than {self.last_pts} of the frame before"
            )
        else:
            last_step = times.last_step or times.first - self.last_pts
        self.last_pts, self.last_step = times.last, last_step

    def duration_ticks(self, frame_duration: int) -> int:
        """Return how long all frames last; at a variable rate the last lasts as long as the one before, or 1 tick."""
        if not self.variable_rate:
            return self.frames * frame_duration
        if self.first_pts is None:
            return 0
        return self.last_pts - self.first_pts + (self.last_step or 1)

"""Sound of a damaged file: what is left of it, at its time."""

from dataclasses import replace

from bcdcodec.container.audio import OPUS_RATE, Audio, AudioFormat, unpack_audio
from bcdcodec.container.order import RecordingOrder
from bcdcodec.container.varint import read_varint

_STEREO = 4  # bit of an Opus packet's first byte (RFC 6716, section 3.1)


class SoundRepair:
    """Goes through the AUDI chunks that are left, in order.

    Silence lies where chunks were lost. If the first one is lost the next one begins the sound, later by as much; the
    format is lost with it: channels are taken from the packets, gain and delay as 0.
    """

    def __init__(self):
        self.losses: list[str] = []
        self.lost_samples = 0  # between chunks that are left, and before the first
        self._format: AudioFormat | None = None  # in place of one that is lost
        self._shift = 0  # samples that all chunks begin earlier

    def add(self, payload: bytes, order: RecordingOrder, damaged: bool) -> None:
        """Take note of the payload of an AUDI, and add it to the order of the repaired file.

        `damaged`: something before it, after the AUDI before it, is lost. Raises FormatError for one that does not fit.
        """
        begins = order.audio_format is None
        audio = unpack_audio(payload, first=begins and _has_format(payload))
        if begins and audio.format is None:
            channels = 2 if any(packet[0] & _STEREO for packet in audio.packets) else 1
            self._format, self._shift = AudioFormat(channels, pre_skip=0, delay=audio.first_sample), audio.first_sample
        before = 0 if begins else order.audio_end + self._shift
        order.add_audio(self._moved(audio, begins))
        if damaged and audio.first_sample > before:
            self.lost_samples += audio.first_sample - before
            self.losses.append(
                f"sound is lost: {(audio.first_sample - before) / OPUS_RATE:.3f} s from {before / OPUS_RATE:.3f} s to "
                f"{audio.first_sample / OPUS_RATE:.3f} s"
            )

    def repaired(self, payload: bytes, begins: bool) -> Audio:
        """The sound of a payload that was added, as it stands in the repaired file; `begins`: it is the first."""
        return self._moved(unpack_audio(payload, first=begins and self._format is None), begins)

    def _moved(self, audio: Audio, begins: bool) -> Audio:
        own = audio.format or (self._format if begins else None)
        return replace(audio, first_sample=audio.first_sample - self._shift, format=own)


def _has_format(payload: bytes) -> bool:
    """Whether a payload is that of a file's first AUDI, the only one that begins at sample 0."""
    return read_varint(payload, 0)[0] == 0

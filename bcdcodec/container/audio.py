"""The AUDI chunk: Opus packets and when they are heard."""

from dataclasses import dataclass

from bcdcodec.container.varint import pack_varint, read_varint
from bcdcodec.errors import FormatError, LimitError, TruncatedError

OPUS_RATE = 48000  # samples a second; all times of sound are counted in these
MAX_PACKETS = 4096  # of one AUDI
MAX_PACKET_BYTES = 65535
MAX_PACKET_SAMPLES = 5760  # 120 ms
MAX_CHANNELS = 2
MAX_SKIP = MAX_DELAY = 0xFFFFFFFF
MAX_SAMPLE = 1 << 48
MAX_GAIN = 0x7FFF

# Samples of one Opus frame by the five highest bits of a packet's first byte (RFC 6716, table 2).
_SILK, _HYBRID, _CELT = (480, 960, 1920, 2880), (480, 960), (120, 240, 480, 960)
_FRAME_SAMPLES = _SILK * 3 + _HYBRID * 2 + _CELT * 4


@dataclass(frozen=True)
class AudioFormat:
    """How the packets are played; a sample is 1/48000 s."""

    channels: int  # 1 or 2
    pre_skip: int  # samples at the start of the first packets that are decoded and not played
    delay: int = 0  # samples from the start of the first frame to the first one played
    gain: int = 0  # applied on playing, in 1/256 dB, -32768..32767


@dataclass(frozen=True)
class Audio:
    """Consecutive Opus packets."""

    first_sample: (
        int  # counted from the start of the first packet of the file; silence lies between it and what came before
    )
    packets: tuple[bytes, ...]
    format: AudioFormat | None = None  # of all sound of the file; there exactly in its first AUDI

    @property
    def samples(self) -> int:
        return sum(opus_samples(packet) for packet in self.packets)


def opus_samples(packet: bytes) -> int:
    """Return the samples at 48 kHz that an Opus packet holds (RFC 6716, section 3.1); FormatError if it is none."""
    if not packet:
        raise FormatError("an Opus packet has 0 bytes, expected at least 1")
    count = (1, 2, 2, 0)[packet[0] & 3]
    if not count:
        if len(packet) < 2:
            raise FormatError("an Opus packet of 1 byte ends before its count of frames")
        count = packet[1] & 0x3F
    samples = count * _FRAME_SAMPLES[packet[0] >> 3]
    if not 0 < samples <= MAX_PACKET_SAMPLES:
        raise FormatError(f"an Opus packet states {samples} samples, expected 1 to {MAX_PACKET_SAMPLES}")
    return samples


def pack_audio(audio: Audio) -> bytes:
    """Return the payload of AUDI; FormatError and LimitError for what no file may hold."""
    _check(audio)
    fields = [audio.first_sample]
    if audio.format is not None:
        gain = audio.format.gain
        fields += [
            audio.format.channels,
            audio.format.pre_skip,
            audio.format.delay,
            2 * gain if gain >= 0 else -2 * gain - 1,
        ]
    fields += [len(audio.packets), *map(len, audio.packets)]
    return b"".join(map(pack_varint, fields)) + b"".join(audio.packets)


def unpack_audio(payload: bytes, first: bool) -> Audio:
    """Return the Audio of a whole payload; `first`: of the file's first AUDI, which has the format."""
    at, audio_format = 0, None
    first_sample, at = read_varint(payload, at)
    if first:
        channels, at = read_varint(payload, at)
        pre_skip, at = read_varint(payload, at)
        delay, at = read_varint(payload, at)
        gain, at = read_varint(payload, at)
        audio_format = AudioFormat(channels, pre_skip, delay, -(gain + 1 >> 1) if gain & 1 else gain >> 1)
    count, at = read_varint(payload, at)
    if not 1 <= count <= MAX_PACKETS:
        raise LimitError(f"AUDI states {count} packets, expected 1 to {MAX_PACKETS}")
    sizes = []
    for _ in range(count):
        size, at = read_varint(payload, at)
        sizes.append(size)
    if at + sum(sizes) > len(payload):
        raise TruncatedError(f"AUDI has {len(payload) - at} bytes of packets, their lengths state {sum(sizes)}")
    if at + sum(sizes) < len(payload):
        raise FormatError(f"AUDI has {len(payload) - at} bytes of packets, their lengths state {sum(sizes)}")
    packets = []
    for size in sizes:
        packets.append(payload[at : at + size])
        at += size
    audio = Audio(first_sample, tuple(packets), audio_format)
    _check(audio)
    return audio


def _check(audio: Audio) -> None:
    sound = audio.format
    if sound is not None:
        for name, value, low, high in (
            ("channels", sound.channels, 1, MAX_CHANNELS),
            ("pre-skip", sound.pre_skip, 0, MAX_SKIP),
            ("delay", sound.delay, 0, MAX_DELAY),
            ("gain", sound.gain, -MAX_GAIN - 1, MAX_GAIN),
        ):
            if not low <= value <= high:
                raise LimitError(f"AUDI: {name} is {value}, expected {low} to {high}")
    if not 0 <= audio.first_sample <= MAX_SAMPLE:
        raise LimitError(f"AUDI begins at sample {audio.first_sample}, expected 0 to {MAX_SAMPLE}")
    if not 1 <= len(audio.packets) <= MAX_PACKETS:
        raise LimitError(f"AUDI has {len(audio.packets)} packets, expected 1 to {MAX_PACKETS}")
    for packet in audio.packets:
        if len(packet) > MAX_PACKET_BYTES:
            raise LimitError(f"AUDI has a packet of {len(packet)} bytes, the limit is {MAX_PACKET_BYTES}")
        opus_samples(packet)

"""Sound of a stream: what is sent, and what is heard where a packet is lost."""

import numpy as np

from bcdcodec.stream.opus_voice import VoiceDecoder, VoiceEncoder
from bcdcodec.stream.receiver import Sound


def test_voice_is_sent_and_silence_is_not():
    block, rng = 5760, np.random.default_rng(1)
    encoder, decoder = VoiceEncoder(block), VoiceDecoder(block)
    t = np.arange(4 * block) / 48000
    voice = (8000 * np.sin(2 * np.pi * 150 * t) * (1 + np.sin(2 * np.pi * 3 * t))).astype(np.int16)
    silence = rng.integers(-20, 20, 8 * block).astype(np.int16)
    packets = encoder.push(np.concatenate([voice, silence]))
    assert all(packets[:4])
    assert packets[-4:] == [None] * 4
    assert sum(len(packet) for packet in packets[:4]) * 8 / 0.48 < 7500
    heard = [decoder.decode(Sound(0, packet)) for packet in packets[:4]]
    assert all(len(each) == block for each in heard)
    assert np.std(np.concatenate(heard)) > 2000


def test_lost_sound_is_concealed_by_what_came_before_and_fades():
    block = 5760
    encoder, decoder = VoiceEncoder(block), VoiceDecoder(block)
    voice = (8000 * np.sin(2 * np.pi * 200 * np.arange(4 * block) / 48000)).astype(np.int16)
    for packet in encoder.push(voice):
        decoder.decode(Sound(0, packet))
    concealed = decoder.decode(Sound(0, None, lost=True))
    assert np.abs(concealed[:400]).max() > 1000
    assert not concealed[-2000:].any()
    assert not decoder.decode(Sound(0, None)).any()

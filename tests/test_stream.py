"""A stream of the default model: what is pushed comes out, what was sent is what a recording holds, loss ends soon."""

from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
import torch
from head_clips import head_frames

import bcdcodec
from bcdcodec.coding.content import reference_of
from bcdcodec.container.payloads import pack_content
from bcdcodec.errors import BcdError, FormatError, ModelError, ModelMismatchError
from bcdcodec.stream.causal_motion import CausalMotion
from bcdcodec.stream.effort import STEADY_PACKETS
from bcdcodec.stream.encoder import LiveOptions, StreamEncoder
from bcdcodec.stream.motion_coder import MotionReader
from bcdcodec.stream.packets import ControlPacket, Description, MediaPacket, Report, pack_packet, unpack_packet
from bcdcodec.stream.receiver import Receiver
from bcdcodec.stream.recorder import StreamRecorder
from bcdcodec.stream.wire import WireCounter

FRAMES = 24
PACKET = 3


@pytest.fixture(scope="module")
def codec():
    return bcdcodec.load("faces")


@pytest.fixture(scope="module")
def frames():
    return head_frames(3, FRAMES, 256)


@pytest.fixture(scope="module")
def sent(codec, frames):
    """The packets of a stream that restarts every fourth packet, as bytes, and its recorder."""
    encoder = codec.stream_encoder(LiveOptions(restart_packets=4))
    encoder.recorder = StreamRecorder(encoder.head)
    packets = [packet for i, frame in enumerate(frames) for packet in encoder.push(frame, i)]
    packets += encoder.flush()
    return [pack_packet(packet) for packet in packets], encoder.recorder


def decoded(codec, packets):
    decoder = codec.stream_decoder()
    return [frame for data in packets for frame in decoder.push(unpack_packet(data))]


@pytest.fixture(scope="module")
def shown(codec, sent):
    return decoded(codec, sent[0])


def is_media(data):
    return isinstance(unpack_packet(data), MediaPacket)


def test_every_frame_comes_out_once_in_order_and_looks_like_what_was_pushed(shown, frames):
    assert [frame.number for frame in shown] == list(range(FRAMES))
    assert shown[10].seconds == pytest.approx(10 / 25)
    assert not any(frame.interpolated for frame in shown)
    error = np.mean([(f.picture.astype(float) - frames[f.number]) ** 2 for f in shown])
    held = np.mean([(frames[0].astype(float) - frames[n]) ** 2 for n in range(FRAMES)])
    assert error < 0.8 * held or error < 100


def test_the_description_and_the_reference_come_before_the_first_motion(sent):
    kinds = [type(unpack_packet(data)) for data in sent[0]]
    first = kinds.index(MediaPacket)
    assert kinds[0] is Description
    assert set(kinds[1:first]) == {ControlPacket}


def test_motion_and_headers_of_a_packet_of_three_frames_stay_below_three_kilobits_a_second(sent):
    media = [unpack_packet(data) for data in sent[0] if is_media(data)]
    assert sum(4 + len(packet.motion.coded) for packet in media) * 8 / (FRAMES / 25) < 3000 * 1.3
    assert [packet.motion.restart for packet in media] == [i % 4 == 0 for i in range(len(media))]


def test_a_recording_is_a_file_with_the_codes_that_were_sent(codec, sent, shown, tmp_path, bcd):
    path = tmp_path / "sent.bcd"
    sent[1].write(path, codec.folder.tables)
    assert bcd("verify", path).code == 0
    recording = bcdcodec.read(path)
    pictures = codec.decode(recording)
    assert len(pictures) == FRAMES
    differences = np.abs(pictures.astype(int) - np.stack([f.picture for f in shown])).reshape(FRAMES, -1)
    # A file asks the network of the surroundings of every fourth frame, a stream of the last one of a packet; others
    # are interpolated. Batches of another size round otherwise in bfloat16.
    assert differences[[8, 20]].max() <= 3
    assert differences.mean(1).max() < 1
    assert bcd("decode", path, tmp_path / "sent.mp4", "--device", "cpu").code == 0


def test_a_lost_packet_costs_its_frames_and_those_up_to_the_restart_which_are_interpolated(codec, sent, shown):
    media = [data for data in sent[0] if is_media(data)]
    others = [data for data in sent[0] if not is_media(data)]
    found = decoded(codec, [*others, *(data for i, data in enumerate(media) if i != 2)])
    assert [frame.number for frame in found] == list(range(FRAMES))
    assert [frame.number for frame in found if frame.interpolated] == list(range(6, 12))
    for frame in found[12:]:
        assert np.abs(frame.picture.astype(int) - shown[frame.number].picture).mean() < 0.5
    for frame in found[14:]:
        assert np.abs(frame.picture.astype(int) - shown[frame.number].picture).max() <= 3


def test_the_enhancement_of_frames_between_is_on_the_way_to_that_of_the_last_one(codec, frames):
    motion = CausalMotion(codec.session)
    reference = reference_of(codec.session, codec.encode(frames[:1]).contents[0])
    calls, channels = [], codec.config.base_channels

    def aligned(pictures, motion, small):
        calls.append(len(pictures))
        change = torch.full((1, codec.config.motion_channels - channels), 0.3 * len(calls))
        return change, torch.eye(change.shape[1])[None], 0.0

    motion._aligned = aligned
    for start in (0, 3):
        base, moved = motion.read(frames[start : start + 3])
        codes = motion.codes(frames[start : start + 3], base, moved, reference, 0.0)
    assert calls == [1, 1]
    found = codec.model.vq.lookup(torch.from_numpy(codes.astype(np.int64))[None])[0, :, channels:]
    wanted = torch.tensor([0.4, 0.5, 0.6])[:, None].expand_as(found)
    nearest = (codec.model.vq.entries[None] - wanted[..., None]).abs().min(-1).values
    assert ((found - wanted).abs() <= nearest + 1e-5).float().mean() > 0.8  # the error's change counts, too


def test_codes_come_from_the_motion_that_an_encoder_is_given(codec, frames):
    class Resting(CausalMotion):
        def codes(self, pictures, base, *_):
            return self.base_alone(base)

    encoder = StreamEncoder(codec.session, LiveOptions(profile="static"), Resting(codec.session))
    part = [packet for i in range(PACKET) for packet in encoder.push(frames[i], i)][-1].motion
    codes = MotionReader(codec.session.tables, encoder.head.entropy_profile).read(part.coded, PACKET, part.restart)
    vq = codec.model.vq
    assert (codes[:, vq.base_groups :] == vq.entries.abs().argmin(-1).numpy()).all()


def test_duplicates_and_late_packets_show_nothing_again(codec, sent):
    doubled = [data for data in sent[0][:-2] for _ in (0, 1)]
    numbers = [frame.number for frame in decoded(codec, [*doubled, sent[0][-4]])]
    assert numbers == sorted(set(numbers))


def test_motion_before_its_reference_shows_nothing_and_asks_for_it(codec, sent):
    packets = [unpack_packet(data) for data in sent[0]]
    without = [packet for packet in packets if not isinstance(packet, ControlPacket)][:3]
    decoder = codec.stream_decoder()
    known = decoder.references
    assert [frame for packet in without for frame in decoder.push(packet)] == []
    assert (known.have, known.wanted, known.missing) == (None, 0, 0)
    pieces = [packet for packet in packets if isinstance(packet, ControlPacket)]
    decoder.push(pieces[0])
    assert known.missing == (1 << len(pieces)) - 2


def test_a_sender_sends_the_pieces_again_that_are_wanted(codec, frames):
    encoder = codec.stream_encoder(LiveOptions(reports=True))
    first = [packet for i in range(PACKET) for packet in encoder.push(frames[i], i)]
    pieces = [packet.fragment for packet in first if isinstance(packet, ControlPacket)]
    encoder.receive(Report(0, 0, 5, wanted=0, missing=0b10))
    again = [packet for i in range(PACKET, 2 * PACKET) for packet in encoder.push(frames[i], i)]
    assert [p.fragment for p in again if p.fragment is not None] == [pieces[1]]


def test_a_receiver_that_joins_late_gets_all_it_needs_with_the_next_packet(codec, frames):
    encoder, decoder = codec.stream_encoder(LiveOptions(reports=True, restart_packets=8)), codec.stream_decoder()
    for i in range(2 * PACKET):
        encoder.push(frames[i], i)
    encoder.receive(Report(1, 0, 5, have=0))
    encoder.joined()
    packets = [packet for i in range(2 * PACKET, 3 * PACKET) for packet in encoder.push(frames[i], i)]
    assert [frame.number for packet in packets for frame in decoder.push(packet)] == [6, 7, 8]


PACKET_SECONDS = PACKET / 25


def test_the_counter_of_the_wire_forgets_what_is_old(sent):
    counter, packet = WireCounter(5.0), unpack_packet(next(data for data in sent[0] if is_media(data)))
    for i in range(1000):
        counter.add(packet, 100, i * PACKET_SECONDS)
    assert len(counter._recent) < 50
    assert counter.kbps(1000 * PACKET_SECONDS)["all"] == pytest.approx(8 * 100 / PACKET_SECONDS / 1000, rel=0.05)


def test_a_decoder_without_pictures_runs_no_network(codec, sent, monkeypatch):
    from bcdcodec.benchmarks.live import UndrawnDecoder

    def ran(*_, **__):
        raise AssertionError("a network ran")

    for name in ("synthesise", "maps_around"):
        monkeypatch.setattr(codec.session.model, name, ran)
    decoder = UndrawnDecoder(codec.session)
    shown = [frame for data in sent[0] for frame in decoder.push(unpack_packet(data))]
    assert len(shown) > PACKET and all(frame.picture.shape == (1, 1, 3) for frame in shown)


def test_a_minute_of_packets_without_networks_takes_no_more_memory_and_delay_than_its_first_seconds(codec, frames):
    from bcdcodec.benchmarks.live_hours import long_call

    spans = list(long_call(codec, frames[0], 1 / 60))
    assert spans[-1].end == pytest.approx(60)
    assert spans[-1].references > spans[0].references
    assert spans[-1].memory - spans[2].memory < 4  # MB
    assert all(span.delay <= 0.2 for span in spans)
    assert all(span.shown > 0.8 for span in spans)


def test_frames_come_on_a_grid_whatever_the_camera_does(codec, frames):
    encoder = codec.stream_encoder(LiveOptions(time_base=None))
    assert encoder.push(frames[0], 0) == []
    assert encoder.push(frames[1], 0) == []  # replaces the one before
    packets = encoder.push(frames[2], 2)  # frame 1 is shown as the one before
    assert [packet.motion.frames for packet in packets if isinstance(packet, MediaPacket)] == [3]
    with pytest.raises(FormatError, match="later"):
        encoder.push(frames[3], 1)
    with pytest.raises(FormatError, match="expected uint8"):
        encoder.push(frames[0][:100], 9)


def test_another_model_is_refused_by_name(codec, sent):
    description = unpack_packet(sent[0][0])
    other = replace(description, head=replace(description.head, model_fingerprint=b"12345678", model_name="theirs"))
    with pytest.raises(ModelMismatchError, match="theirs.*faces"):
        codec.stream_decoder().push(other)
    with pytest.raises(ModelError, match="faces"):
        bcdcodec.load("heads").stream_encoder()


def test_another_face_is_marked_and_keeps_its_enhancement_at_rest(codec, frames):
    face = codec.encode(frames[:1]).contents[0]
    encoder, decoder = codec.stream_encoder(), codec.stream_decoder()
    encoder.show_face(face)
    packets = [packet for i in range(2 * PACKET) for packet in encoder.push(frames[6 + i], i)]
    assert packets[0].head.reenacted
    shown = [frame for packet in packets for frame in decoder.push(packet)]
    assert len(shown) == 2 * PACKET
    assert decoder.description.head.reenacted


def test_damaged_and_random_datagrams_are_counted_and_do_no_harm(codec, sent):
    receiver, random = Receiver(codec.session), np.random.default_rng(5)
    for i, data in enumerate(sent[0]):
        receiver.take(random.bytes(40), i / 10)
        receiver.take(b"\x80" + data[1:], i / 10)
        receiver.take(data, i / 10)
    receiver.decode(100.0)
    assert receiver.refused > 10
    assert receiver.frame(200.0).number == FRAMES - 1


def test_frames_that_take_long_to_decode_are_shown_one_after_the_other_and_none_is_left_out(codec, sent):
    now, numbers = 0.0, []
    taken = cycle([0.0, 0.1, 0.1, 0.1])  # seconds until a packet is begun, and until each of its frames is there
    receiver = Receiver(codec.session, clock=lambda: now + next(taken))
    media = [data for data in sent[0] if is_media(data)][:4]
    for data in [data for data in sent[0] if not is_media(data)]:
        receiver.take(data, 0.0)
    for i in range(4 * PACKET + 3):
        now = i / 25
        if i % PACKET == 0 and i // PACKET < 4:
            receiver.take(media[i // PACKET], now)
            assert receiver.decode(now) == PACKET
        frame = receiver.frame(now + 0.11 - 0.08)  # of a clock that is not in step
        numbers += [] if frame is None else [frame.number]
    assert numbers == list(range(4 * PACKET))


def test_nothing_is_drawn_where_there_is_no_time_for_it(codec, sent):
    now = 0.0
    taken = cycle([0.0, *[0.13 * (i + 1) / PACKET for i in range(PACKET)]])  # seconds that decoding has taken
    receiver = Receiver(codec.session, clock=lambda: now + next(taken))
    for data in [data for data in sent[0] if not is_media(data)]:
        receiver.take(data, 0.0)
    for i, data in enumerate(data for data in sent[0] if is_media(data)):
        assert receiver.decoder.pictures.drawing
        now = i * PACKET / 25
        receiver.take(data, now)
        receiver.decode(now)
    assert i + 1 == STEADY_PACKETS and not receiver.decoder.pictures.drawing


def test_a_report_of_a_late_joiner_counts_no_packets_as_lost_that_were_sent_before(codec, frames):
    encoder = codec.stream_encoder(LiveOptions(reports=True))
    encoder._sequence = 100
    encoder.joined()
    calm = encoder._since_loss
    encoder.receive(Report(103, 0b111, 5))
    assert encoder._since_loss == calm
    encoder.receive(Report(104, 0b1011, 5))
    assert encoder._since_loss == 0


def test_a_damaged_reference_is_dropped_and_asked_for(codec, sent):
    pieces = [unpack_packet(data) for data in sent[0] if isinstance(unpack_packet(data), ControlPacket)]
    decoder = codec.stream_decoder()
    decoder.push(unpack_packet(sent[0][0]))
    for piece in pieces[:-1]:
        decoder.push(piece)
    with pytest.raises(BcdError):
        decoder.push(replace(pieces[-1], fragment=replace(pieces[-1].fragment, data=b"other")))
    assert decoder.references.have is None


def test_a_reference_of_the_file_format_fits_into_a_stream(codec, frames):
    content = codec.encode(frames[:2]).contents[0]
    assert len(pack_content(content, codec.folder.tables)[0]) < 1800

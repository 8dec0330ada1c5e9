"""`bcd call`: both sides see each other, an end that goes or has another model, wrong input in one line."""

import asyncio
import json
import re
import time
from dataclasses import replace

import numpy as np
import pytest
from head_clips import head_frames
from live_command import Command

pytest.importorskip("aiortc", reason="aiortc is not installed: pip install 'bcdcodec[live]'")
pytest.importorskip("aiohttp", reason="aiohttp is not installed: pip install 'bcdcodec[live]'")


def test_a_wrong_address_is_one_line_before_anything_is_loaded(bcd):
    begun = time.monotonic()
    found = bcd("call", "nonsense")
    assert (found.code, found.out) == (1, "")
    assert re.fullmatch(r"bcd: error: 'nonsense' is no address of a call, expected HOST:PORT/CODE .*\n", found.err)
    assert time.monotonic() - begun < 10


def test_an_end_with_another_model_is_told_so_and_the_user_gets_one_line():
    import bcdcodec
    from bcdcodec.live.engine import Engine
    from bcdcodec.stream.packets import Description, EndPacket, pack_packet, unpack_packet

    session = bcdcodec.load("faces").session
    sent, lines = [], []
    engine = Engine(session, sent.append, lambda shown: None, lambda samples: None, lines.append)
    head = replace(engine._sender.encoder.head, model_fingerprint=b"12345678", model_name="theirs")
    engine.datagram(pack_packet(Description(head, 3)))
    until = time.monotonic() + 20
    while not sent and time.monotonic() < until:
        time.sleep(0.01)
    engine.close()
    (line,) = lines
    assert re.fullmatch(r"the other side uses model 'theirs' .* this side 'faces' .*: use the same model on both", line)
    ends = [packet for packet in map(unpack_packet, sent) if isinstance(packet, EndPacket)]
    assert ends[0].reason and ends[0].reason in line


async def look(address, frames, until):
    """Be the page at an address: hand in frames, a few a second, and give what the page is told once `until` holds.

    `until` gets the number of pictures that came and what was told last.
    """
    import aiohttp

    rgba = [np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)]).tobytes() for frame in frames]
    socket_address = address.replace("http", "ws") + "ws"
    async with aiohttp.ClientSession() as session, session.ws_connect(socket_address, max_msg_size=0) as socket:

        async def hand_in():
            for i in range(10**6):
                time_ = np.float64(1000 * time.monotonic()).tobytes()
                await socket.send_bytes(b"\1" + bytes(7) + time_ + rgba[i % len(rgba)])
                await asyncio.sleep(0.15)

        handing_in = asyncio.ensure_future(hand_in())
        pictures, told, end = 0, {}, time.monotonic() + 150
        while not until(pictures, told):
            assert time.monotonic() < end, (pictures, told)
            message = await socket.receive(160)
            if message.type == aiohttp.WSMsgType.BINARY:
                pictures += 1
            elif message.type == aiohttp.WSMsgType.TEXT:
                told = json.loads(message.data)
        handing_in.cancel()
        return told


def test_a_call_shows_the_other_side_and_notices_when_it_is_killed():
    frames = head_frames(5, 12, 256)

    async def run(first, second, host):
        met = asyncio.Event()

        async def guest():
            await look(second, frames, lambda pictures, told: pictures >= 3)
            met.set()
            host.process.kill()
            killed = time.monotonic()
            told = await look(second, frames, lambda pictures, told: told.get("ended"))
            return told["line"], time.monotonic() - killed

        async def caller():
            try:
                await look(first, frames, lambda pictures, told: met.is_set())
            except (AssertionError, TypeError, OSError):
                assert met.is_set()

        return (await asyncio.gather(guest(), caller()))[0]

    with Command("call", "--no-browser") as host:
        address = host.line(r"bcd call (\S+)")
        first = host.line(r"open (http://127\S+)")
        with Command("call", address, "--no-browser") as guest:
            second = guest.line(r"open (http://127\S+)")
            guest.line("connected")
            line, seconds = asyncio.run(run(first, second, host))
    assert "is gone" in line
    assert seconds < 6  # three, and how long a busy machine takes to say so

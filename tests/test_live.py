"""`bcd live` and `bcd call`: the page in a real browser, two ends that find each other, wrong input in one line."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from browser import CHROMIUM, Browser, write_y4m
from head_clips import head_frames

from bcdcodec.errors import BcdError, FormatError, MissingDetectorError
from bcdcodec.live.face_watch import LOOKS, FaceWatch
from bcdcodec.live.signalling import ALPHABET, CODE_CHARACTERS, call, listen, new_code, opened, parse_address, sealed

aiortc = pytest.importorskip("aiortc", reason="aiortc is not installed: pip install 'bcdcodec[live]'")
from bcdcodec.benchmarks.live_wire import watch  # noqa: E402
from bcdcodec.stream.wire import IP_UDP_BYTES, SRTP_BYTES  # noqa: E402

pytest.importorskip("aiohttp", reason="aiohttp is not installed: pip install 'bcdcodec[live]'")
BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
CODE = "a" * CODE_CHARACTERS


def test_a_link_carries_datagrams_both_ways_and_counts_them():
    from bcdcodec.live.link import Link

    async def run():
        came, at_socket = {"a": [], "b": []}, []
        a, b = Link(came["a"].append, True), Link(came["b"].append, False)
        ours, theirs = await a.description(), await b.description()
        await asyncio.gather(a.connect(theirs), b.connect(ours))
        watch(a, lambda data: at_socket.append(len(data)) if 127 < data[0] < 192 else None)
        await a.send(b"from a")
        await b.send(b"x" * 1200)
        for _ in range(100):
            if came["a"] and came["b"]:
                break
            await asyncio.sleep(0.02)
        counted = a.sent_bytes, a.sent_packets
        await a.close()
        await b.send(b"nobody is there")
        await b.close()
        return came, counted, at_socket[0]

    came, counted, size = asyncio.run(run())
    assert came == {"b": [b"from a"], "a": [b"x" * 1200]}
    assert counted == (12 + 6 + 4, 1)  # RTP's header, the packet, SRTP's tag
    assert size + IP_UDP_BYTES == 6 + SRTP_BYTES == counted[0] + IP_UDP_BYTES


def test_an_end_that_is_killed_is_noticed_within_three_seconds_and_one_that_is_only_quiet_is_not():
    from bcdcodec.live.link import Link

    async def run():
        a, b = Link(lambda data: None, True), Link(lambda data: None, False)
        ours, theirs = await a.description(), await b.description()
        await asyncio.gather(a.connect(theirs), b.connect(ours))
        for _ in range(35):  # nothing but signs of life
            await asyncio.sleep(0.1)
            assert not a.gone and not b.gone
        b._alive.cancel()
        for protocol in b._gatherer._connection._protocols:  # no leave is taken
            protocol.transport.abort()
        killed = time.monotonic()
        while not a.gone and time.monotonic() - killed < 10:
            await asyncio.sleep(0.05)
        seconds = time.monotonic() - killed
        await a.close()
        return seconds

    assert 1.5 < asyncio.run(run()) < 3


def test_a_link_refuses_an_end_with_another_certificate():
    from bcdcodec.live.link import Link

    async def run():
        a, b = Link(lambda data: None, True), Link(lambda data: None, False)
        ours, theirs = await a.description(), await b.description()
        theirs["fingerprints"] = [[kind, "AA:" + value[3:]] for kind, value in theirs["fingerprints"]]
        if theirs["fingerprints"][0][1][:2] == "AA":
            results = await asyncio.gather(a.connect(theirs), b.connect(ours), return_exceptions=True)
        await a.close()
        await b.close()
        return results

    assert any(isinstance(result, BcdError) for result in asyncio.run(run()))


@pytest.mark.parametrize(
    "other", [{}, {"candidates": "x"}, {"candidates": [], "user": 1, "password": "", "fingerprints": []}]
)
def test_what_describes_no_connection_is_refused(other):
    from bcdcodec.live.link import Link

    async def run():
        await Link(lambda data: None, True).connect(other)

    with pytest.raises(FormatError, match="bcd call"):
        asyncio.run(run())


def test_addresses_are_read_as_they_are_printed():
    code = new_code()
    assert parse_address(f" 192.168.1.5:4711/{code}\n") == ("192.168.1.5", 4711, code)
    assert parse_address(f"[fe80::1]:1/{code}")[0] == "fe80::1"
    for wrong in (
        "",
        "host",
        f"host/{code}",
        f"host:0/{code}",
        f"host:99999/{code}",
        f"host:1/{code}x",
        "host:1/short",
    ):
        with pytest.raises(BcdError, match="HOST:PORT/CODE"):
            parse_address(wrong)


def test_messages_of_another_code_or_role_are_refused():
    line = sealed({"a": 1}, CODE, "caller")
    assert opened(line, CODE, "caller") == {"a": 1}
    for code, role in (("b" * CODE_CHARACTERS, "caller"), (CODE, "host")):
        with pytest.raises(BcdError, match="another code"):
            opened(line, code, role)
    for wrong in (
        b"",
        b"GET / HTTP/1.1\r\n",
        b"[]",
        b'{"text": 3, "proof": "x"}',
        sealed({}, CODE, "x").replace(b"{}", b"[]"),
    ):
        with pytest.raises(BcdError):
            opened(wrong, CODE, "caller")


def test_one_caller_with_the_code_is_answered_and_others_are_not():
    async def run():
        async def answer(message):
            return {"echo": message}

        server = await listen(0, CODE, answer, "127.0.0.1")
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BcdError, match="refuses the code"):
            await call("127.0.0.1", port, ALPHABET[:CODE_CHARACTERS], {})
        assert await call("127.0.0.1", port, CODE, {"x": 1}) == {"echo": {"x": 1}}
        with pytest.raises(BcdError, match="somebody else"):
            await call("127.0.0.1", port, CODE, {})
        with pytest.raises(BcdError, match="cannot listen on port"):
            await listen(port, CODE, answer, "127.0.0.1")
        server.close()
        await server.wait_closed()
        with pytest.raises(BcdError, match="nobody answers"):
            await call("127.0.0.1", port, CODE, {})

    asyncio.run(run())


def test_a_wrong_address_is_one_line_before_anything_is_loaded(bcd):
    begun = time.monotonic()
    found = bcd("call", "nonsense")
    assert (found.code, found.out) == (1, "")
    assert re.fullmatch(r"bcd: error: 'nonsense' is no address of a call, expected HOST:PORT/CODE .*\n", found.err)
    assert time.monotonic() - begun < 10


def test_a_model_without_live_streams_is_one_line(bcd):
    found = bcd("live", "--model", "sprites", "--no-browser")
    assert found.code == 1
    assert re.fullmatch(r"bcd: error: model 'sprites' cannot be streamed: .* use faces\n", found.err)


class Command:
    """A running `bcd`, and what it prints."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", "from bcdcodec.cli.main import main; main()", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def line(self, pattern):
        """The first group of the next line that matches."""
        seen = []
        for text in self.process.stdout:
            seen.append(text)
            if found := re.search(pattern, text):
                return found[1] if found.groups() else found[0]
        raise AssertionError(f"bcd ended without {pattern!r}: {seen}")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    return write_y4m(tmp_path_factory.mktemp("camera") / "head.y4m", head_frames(4, 50, 256))


@BROWSER
def test_the_page_shows_the_other_side_records_and_shows_another_face(camera, tmp_path):
    async def run(address):
        async with Browser(camera) as browser:
            await browser.open(address)
            await browser.wait("document.body.dataset.pictures > 0")
            await browser.run("document.getElementById('record').click()")
            await browser.wait("document.body.dataset.pictures > 2")
            await browser.run("document.getElementById('record').click()")
            size = await browser.wait("document.getElementById('download').textContent.match(/\\d+ bytes/)?.[0]")
            told = {
                key: await browser.run(f"document.getElementById('{key}').textContent") for key in ("all", "motion")
            }
            recording = await browser.run(
                "fetch('recording.bcd').then(r => r.arrayBuffer()).then(b => [...new Uint8Array(b)])"
            )
            pictures = await browser.run(
                "[own, other].map(c => Array.from(c.getImageData(0, 0, 256, 256).data).filter((x, i) => i % 4 == 0))"
            )
            shot = tmp_path / "page.png"
            await browser.screenshot(shot)
            assert shot.stat().st_size > 10000
            return size, told, bytes(recording), np.array(pictures, float)

    with Command("live", "--no-browser") as command:
        size, told, recording, (own, other) = asyncio.run(run(command.line(r"open (http://127\S+)")))
    assert size == f"{len(recording)} bytes"
    assert recording[:4] == b"\x89BCD"
    assert float(told["motion"].split()[0]) < 10
    assert np.corrcoef(own, other)[0, 1] > 0.5  # the head, not noise; between both lies the delay
    path = tmp_path / "recording.bcd"
    path.write_bytes(recording)
    from bcdcodec.container import verify_file

    assert not verify_file(path).findings


@BROWSER
def test_without_a_camera_and_without_a_face_the_page_says_so_in_one_line():
    async def run(address):
        async with Browser(None) as browser:
            await browser.open(address)
            await browser.wait("document.getElementById('line').textContent != 'asking for the camera'")
            no_camera = await browser.run("document.getElementById('line').textContent")
            state = "kbps: {all: 1, motion: 1, sound: 0, reference: 0, headers: 0}, fps: 25, latency_ms: null"
            await browser.run(f"say(''), told({{{state}, faceless: true}})")
            return no_camera, await browser.run("document.getElementById('line').textContent")

    with Command("live", "--no-browser") as command:
        no_camera, no_face = asyncio.run(run(command.line(r"open (http://127\S+)")))
    assert re.fullmatch("no camera: [^\n]+", no_camera)
    assert no_face == "no face is found in the picture: only faces are coded"


def test_pictures_without_a_face_are_noticed_and_one_with_a_face_ends_it():
    def wait(condition):
        until = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < until
            faces.picture(np.full((8, 8, 3), shown, np.uint8))
            time.sleep(0.002)

    looked = []

    def detect(picture):
        looked.append(int(picture[0, 0, 0]))
        return ["a face"] * looked[-1]

    shown, faces = 0, FaceWatch(lambda: detect, seconds=0.005)
    wait(lambda: len(looked) == LOOKS - 1)
    assert not faces.faceless or len(looked) >= LOOKS
    wait(lambda: faces.faceless)
    shown = 1
    wait(lambda: not faces.faceless)
    faces.close()


def test_without_a_detector_nothing_is_said():
    def missing():
        raise MissingDetectorError("no face detector is installed")

    faces = FaceWatch(missing, seconds=0.001)
    faces.picture(np.zeros((8, 8, 3), np.uint8))
    faces._thread.join(5)
    assert not faces.faceless
    faces.close()


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


@BROWSER
def test_pages_of_other_sites_and_a_second_page_are_refused(camera):
    import aiohttp

    async def run(address):
        async with aiohttp.ClientSession() as session:
            for headers in ({"Origin": "http://example.com"}, {"Host": "example.com"}):
                async with session.get(address, headers=headers) as answer:
                    assert answer.status == 403
            async with session.get(address) as answer:
                assert answer.status == 200
            async with session.post(address + "face", data=b"no picture") as answer:
                assert answer.status == 400
                line = (await answer.json())["line"]
                assert "neither a .bcd file nor a photo" in line

    with Command("live", "--no-browser") as command:
        asyncio.run(run(command.line(r"open (http://127\S+)")))


def test_a_port_that_is_taken_is_one_line():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with Command("live", "--no-browser", "--port", str(taken.getsockname()[1])) as command:
            assert command.line(r"bcd: error: cannot serve the page on port \d+: .*; give another with --port")


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

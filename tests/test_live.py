"""`bcd live`: the page in a real browser, requests that are refused, wrong input in one line."""

import asyncio
import re

import numpy as np
import pytest
from browser import CHROMIUM, Browser, write_y4m
from head_clips import head_frames
from live_command import Command

pytest.importorskip("aiortc", reason="aiortc is not installed: pip install 'bcdcodec[live]'")
pytest.importorskip("aiohttp", reason="aiohttp is not installed: pip install 'bcdcodec[live]'")
BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    return write_y4m(tmp_path_factory.mktemp("camera") / "head.y4m", head_frames(4, 50, 256))


def test_a_model_without_live_streams_is_one_line(bcd):
    found = bcd("live", "--model", "sprites", "--no-browser")
    assert found.code == 1
    assert re.fullmatch(r"bcd: error: model 'sprites' cannot be streamed: .* use faces\n", found.err)


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

"""Debian's Chromium without a window, driven by its DevTools protocol, with a file in place of the camera."""

import asyncio
import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def write_y4m(path, frames):
    """Frames uint8 [t, h, w, 3], 25 a second, as the file that Chromium takes for a camera; it shows it in a loop."""
    import av

    with open(path, "wb") as file:
        height, width = frames.shape[1:3]
        file.write(f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            planes = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format="yuv420p").to_ndarray()
            file.write(b"FRAME\n" + planes.tobytes())
    return path


class Browser:
    """A page in a Chromium of its own."""

    def __init__(self, camera: Path | None, sound: Path | None = None):
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--mute-audio",
            f"--user-data-dir={self._profile.name}", "--no-first-run", "--window-size=800,1000",
            "--disable-dev-shm-usage",
            "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required",
        ]  # fmt: skip
        if camera is not None:
            command += ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}"]
        if sound is not None:
            command += [f"--use-file-for-fake-audio-capture={sound}"]
        self._process = subprocess.Popen([*command, "about:blank"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for line in self._process.stderr:
            if found := re.search(rb"DevTools listening on ws://([^/]+)", line):
                self._place = found[1].decode()
                break
        else:
            raise RuntimeError("chromium did not start")
        self._count = 0

    async def __aenter__(self):
        import aiohttp

        self._session = aiohttp.ClientSession()
        for _ in range(100):
            async with self._session.get(f"http://{self._place}/json") as answer:
                pages = [page for page in json.loads(await answer.text()) if page["type"] == "page"]
            if pages:
                break
            await asyncio.sleep(0.1)
        self._socket = await self._session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0)
        await self._do("Page.enable")
        return self

    async def __aexit__(self, *exception):
        await self._session.close()
        self._process.terminate()
        self._process.wait(10)
        self._profile.cleanup()

    async def _do(self, method, **parameters):
        self._count += 1
        await self._socket.send_json({"id": self._count, "method": method, "params": parameters})
        while True:
            answer = json.loads((await self._socket.receive()).data)
            if answer.get("id") == self._count:
                return answer.get("result", {})

    async def open(self, address):
        await self._do("Page.navigate", url=address)

    async def run(self, script):
        """The value of an expression in the page."""
        found = await self._do("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"].get("description"))
        return found["result"].get("value")

    async def wait(self, script, seconds=150.0):
        """The value of an expression in the page, once it is true."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                value = await self.run(script)
            except RuntimeError:  # the page is being loaded
                value = None
            if value:
                return value
            await asyncio.sleep(0.2)
        raise TimeoutError(
            f"{script} is not true after {seconds} s; the page says {await self.run('document.body.innerText')!r}"
        )

    async def screenshot(self, path):
        found = await self._do("Page.captureScreenshot", format="png")
        Path(path).write_bytes(base64.b64decode(found["data"]))

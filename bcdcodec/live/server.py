"""The local page's server: camera pictures and sound in by a WebSocket, what the other side shows out by it."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from aiohttp import WSMsgType, web

from bcdcodec.coding.head import check_model
from bcdcodec.coding.session import Session
from bcdcodec.container import open_bcd
from bcdcodec.errors import BcdError
from bcdcodec.files.photo_content import content_file
from bcdcodec.live.engine import Engine, Shown
from bcdcodec.stream.recorder import StreamRecorder

PAGE = Path(__file__).parent / "page.html"
PICTURE, SOUND = 1, 2  # first bytes of binary messages; then a float64 time in ms of pictures, and samples or RGBA
HEADER_BYTES = 16
MAX_FACE_BYTES = 32 << 20
STATS_SECONDS = 0.5
MOST_UNSENT = 4  # pictures that wait for a slow page; more are left out

EngineMaker = Callable[..., Engine]


@dataclass
class PageState:
    """What the page is told beside its numbers."""

    call: bool  # whether the other side is another machine
    line: str = ""  # for the user
    ended: bool = False


class PageServer:
    """Serves one page at a time."""

    def __init__(self, session: Session, make_engine: EngineMaker, state: PageState):
        """`make_engine`: gets the callbacks `show`, `play` and `fail` and gives the engine."""
        self._session, self._make_engine, self.state = session, make_engine, state
        self.engine: Engine | None = None
        self._socket: web.WebSocketResponse | None = None
        self._unsent = 0
        self._recorder: StreamRecorder | None = None
        self._files = tempfile.TemporaryDirectory()
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen on 127.0.0.1. Raises BcdError where the port is taken."""
        app = web.Application(client_max_size=MAX_FACE_BYTES, middlewares=[_own_pages_only])
        app.add_routes([
            web.get("/", self._page),
            web.get("/ws", self._connected),
            web.post("/face", self._face),
            web.get("/recording.bcd", self._recording),
        ])  # fmt: skip
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, "127.0.0.1", port)
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise BcdError(
                f"cannot serve the page on port {port}: {error.strerror}; give another with --port"
            ) from None
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop the engine and the server."""
        if self._socket is not None:
            await self._socket.close()
        self._close_engine()
        if self._runner is not None:
            await self._runner.cleanup()
        self._files.cleanup()

    def tell(self, line: str, ended: bool = False) -> None:
        """Show the user a line."""
        self.state.line, self.state.ended = line, ended

    # ---- requests

    async def _page(self, request: web.Request) -> web.StreamResponse:
        policy = "default-src 'self' 'unsafe-inline' blob: data:; connect-src 'self' ws:"
        return web.FileResponse(PAGE, headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"})

    async def _connected(self, request: web.Request) -> web.StreamResponse:
        if self._socket is not None and not self._socket.closed:
            return web.Response(status=409, text="another page is open already: close it first")
        socket = web.WebSocketResponse(max_msg_size=4 << 20, heartbeat=5, compress=False)
        await socket.prepare(request)
        self._socket, self._unsent = socket, 0
        loop = asyncio.get_running_loop()
        if self.engine is None:
            self.engine = self._make_engine(
                show=lambda shown: loop.call_soon_threadsafe(self._show, shown),
                play=lambda samples: loop.call_soon_threadsafe(self._play, samples),
                fail=lambda line: loop.call_soon_threadsafe(self.tell, line),
            )
        telling = asyncio.ensure_future(self._tell_stats(socket))
        try:
            async for message in socket:
                if message.type == WSMsgType.BINARY:
                    self._binary(message.data)
                elif message.type == WSMsgType.TEXT:
                    await self._command(json.loads(message.data))
        except (ValueError, KeyError, TypeError):
            self.tell("the page sent something that is not understood: load it again")
        finally:
            telling.cancel()
            self._socket = None
            if not self.state.call:
                self._close_engine()
        return socket

    async def _face(self, request: web.Request) -> web.Response:
        """A photo or a `.bcd` file as the face that is shown."""
        data = await request.read()
        path = Path(self._files.name) / ("face.bcd" if data[:4] == b"\x89BCD" else "face.png")
        path.write_bytes(data)
        try:
            content, notes = await asyncio.to_thread(self._content_of, path)
        except BcdError as error:
            return web.json_response(
                {"line": str(error).replace(f"{path}: ", "").replace(str(path), "the file")}, status=400
            )
        if self.engine is not None:
            self.engine.show_face(content)
        return web.json_response({"line": ""})

    def _content_of(self, path: Path):
        with content_file(path, self._session.folder.path, self._session.device, None) as (bcd, notes):
            with open_bcd(str(bcd)) as reader:
                check_model(reader.head, self._session.folder)
                return reader.content(0, self._session.tables), notes

    async def _recording(self, request: web.Request) -> web.StreamResponse:
        path = Path(self._files.name) / "recording.bcd"
        if not path.exists():
            return web.Response(status=404, text="nothing was recorded yet")
        return web.FileResponse(path, headers={"Content-Disposition": 'attachment; filename="recording.bcd"'})

    # ---- messages

    def _binary(self, data: bytes) -> None:
        kind, body = data[0], data[HEADER_BYTES:]
        if kind == PICTURE:
            size = self._session.picture_size
            rgba = np.frombuffer(body, np.uint8).reshape(size, size, 4)
            captured = float(np.frombuffer(data, np.float64, 1, 8)[0])
            self.engine.picture(np.ascontiguousarray(rgba[..., :3]), captured)
        elif kind == SOUND:
            self.engine.sound(np.frombuffer(body, np.int16))

    async def _command(self, command: dict) -> None:
        engine = self.engine
        if "kbps" in command:
            kbps = command["kbps"]
            engine.set_rate(None if kbps is None else min(max(float(kbps), 0.5), 20.0))
        if "drawn" in command:
            engine.shown_after(float(command["drawn"]))
        if command.get("own_face"):
            engine.show_face(None)
        if command.get("record") is True:
            self._recorder = engine.new_recorder()
            engine.record(self._recorder)
        elif command.get("record") is False and self._recorder is not None:
            engine.record(None)
            recorder, self._recorder = self._recorder, None
            path = Path(self._files.name) / "recording.bcd"
            try:
                counts = await asyncio.to_thread(recorder.write, path, self._session.tables)
                await self._socket.send_json({"recorded": counts.total})
            except BcdError as error:
                self.tell(str(error))

    # ---- to the page

    def _show(self, shown: Shown) -> None:
        rgba = np.empty((*shown.picture.shape[:2], 4), np.uint8)
        rgba[..., :3], rgba[..., 3] = shown.picture, 255
        self._send(PICTURE, np.float64(np.nan if shown.captured is None else shown.captured), rgba.tobytes())

    def _play(self, samples: np.ndarray) -> None:
        self._send(SOUND, np.float64(0), samples.tobytes())

    def _send(self, kind: int, time: np.float64, body: bytes) -> None:
        socket = self._socket
        if socket is None or socket.closed or self._unsent >= MOST_UNSENT:
            return
        self._unsent += 1
        header = bytes([kind]) + bytes(7) + time.tobytes()

        async def send() -> None:
            try:
                await socket.send_bytes(header + body)
            except (ConnectionError, RuntimeError):
                pass
            finally:
                self._unsent -= 1

        asyncio.ensure_future(send())

    async def _tell_stats(self, socket: web.WebSocketResponse) -> None:
        while not socket.closed:
            stats = self.engine.stats() if self.engine is not None else {}
            told = stats | {"line": self.state.line, "call": self.state.call, "ended": self.state.ended}
            try:
                await socket.send_json(told)
            except (ConnectionError, RuntimeError):
                return
            await asyncio.sleep(STATS_SECONDS)

    def _close_engine(self) -> None:
        engine, self.engine = self.engine, None
        if engine is not None:
            engine.close()


@web.middleware
async def _own_pages_only(request: web.Request, handler) -> web.StreamResponse:
    """Refuse other sites' pages, which could else reach the camera's pictures through the browser."""
    host = request.headers.get("Host", "")
    origin = request.headers.get("Origin")
    if host.rpartition(":")[0] not in ("127.0.0.1", "localhost") or origin not in (None, f"http://{host}"):
        return web.Response(status=403, text="only the page of bcd itself may connect")
    return await handler(request)

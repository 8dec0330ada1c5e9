"""Runs `bcd live` and `bcd call` until the page or the call ends, or the user interrupts."""

from __future__ import annotations

import asyncio
import webbrowser
from collections import deque
from collections.abc import Callable
from functools import partial

from bcdcodec.coding.session import Session
from bcdcodec.live.engine import Engine
from bcdcodec.live.link import Link
from bcdcodec.live.server import PageServer, PageState
from bcdcodec.live.signalling import call, listen, listening_port, new_code, own_address, parse_address

EARLY_PACKETS = 30  # that are kept, the newest, until the page is open
GONE = "the other side is gone: nothing came from it for three seconds"


async def run_live(
    session: Session, port: int, kbps: float | None, open_page: bool, say: Callable[[str], None]
) -> None:
    """Serve the page whose other side is this machine itself."""

    def make_engine(**callbacks) -> Engine:
        engine: list[Engine] = []
        engine.append(Engine(session, lambda data: engine[0].datagram(data), kbps=kbps, loop=True, **callbacks))
        return engine[0]

    server = PageServer(session, make_engine, PageState(call=False))
    await server.start(port)
    try:
        _invite(server.port, open_page, say)
        await asyncio.Event().wait()
    finally:
        await server.close()


async def run_call(
    session: Session,
    address: str | None,
    port: int,
    call_port: int,
    kbps: float | None,
    open_page: bool,
    say: Callable[[str], None],
) -> None:
    """Take part in a call: `address` of the side that listens; None: this is that side.

    Raises BcdError where the call does not come about.
    """
    loop, server = asyncio.get_running_loop(), None
    early: deque[bytes] = deque(maxlen=EARLY_PACKETS)

    def receive(data: bytes) -> None:
        if server is not None and server.engine is not None:
            server.engine.datagram(data)
        else:
            early.append(data)

    link = Link(receive, controlling=address is not None)
    listener = None

    def make_engine(**callbacks) -> Engine:
        def send(data: bytes) -> None:
            loop.call_soon_threadsafe(lambda: asyncio.ensure_future(link.send(data)))

        engine = Engine(session, send, kbps=kbps, **callbacks)
        for data in early:
            engine.datagram(data)
        return engine

    server = PageServer(session, make_engine, PageState(call=True, line="waiting for the other side"))
    try:
        if address is None:
            connected = asyncio.Event()

            async def answer(theirs: dict) -> dict:
                own = await link.description()

                async def connect() -> None:
                    try:
                        await link.connect(theirs)
                    except Exception as error:  # told to the user, whatever it is
                        server.tell(str(error), ended=True)
                    connected.set()

                asyncio.ensure_future(connect())
                return own

            code = new_code()
            listener = await listen(call_port, code, answer)
            place = f"{own_address()}:{listening_port(listener)}/{code}"
            say(f"the other side joins with: bcd call {place}")
            await server.start(port)
            _invite(server.port, open_page, say)
            await connected.wait()
        else:
            host, their_port, code = parse_address(address)
            theirs = await call(host, their_port, code, await link.description())
            await link.connect(theirs)
            await server.start(port)
            _invite(server.port, open_page, say)
        if link.open:
            if server.engine is not None:
                server.engine.joined()
            server.tell("")
            say("connected")
        await _until_gone(server, link, say)
    finally:
        if listener is not None:
            listener.close()
        await server.close()
        await asyncio.sleep(0.1)  # the good-bye leaves
        await link.close()


async def _until_gone(server: PageServer, link: Link, say: Callable[[str], None]) -> None:
    """Wait for the end of a call, and for the page to say so."""
    while True:
        await asyncio.sleep(0.1)
        engine = server.engine
        ended = None if engine is None else engine.ended
        if ended is not None:
            line = f"the other side has left{': ' + ended if ended else ''}"
        elif link.gone:
            line = GONE
        else:
            continue
        server.tell(line, ended=True)
        say(line)
        await asyncio.sleep(1.5)
        return


def _invite(port: int, open_page: bool, say: Callable[[str], None]) -> None:
    address = f"http://127.0.0.1:{port}/"
    say(f"open {address} in a browser; Ctrl-C ends")
    if open_page:
        asyncio.get_running_loop().run_in_executor(None, partial(webbrowser.open, address))

"""How two ends of a call find each other: one listens and prints an address with a code, the other goes there.

The code is a shared secret: both descriptions carry an HMAC by it, so that nobody between can put in their own.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import socket
from collections.abc import Awaitable, Callable

from bcdcodec.errors import BcdError, FormatError

CODE_CHARACTERS = 16  # of 5 bits
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
MAX_MESSAGE = 16384  # bytes
ANSWER_SECONDS = 15.0


def new_code() -> str:
    """A code that nobody guesses."""
    return "".join(secrets.choice(ALPHABET) for _ in range(CODE_CHARACTERS))


def parse_address(text: str) -> tuple[str, int, str]:
    """Host, port and code of `HOST:PORT/CODE`. Raises BcdError for anything else."""
    place, _, code = text.strip().partition("/")
    host, _, port = place.rpartition(":")
    right = host and port.isdecimal() and 0 < int(port) < 65536 and len(code) == CODE_CHARACTERS
    if not right or any(character not in ALPHABET for character in code):
        raise BcdError(f"{text!r} is no address of a call, expected HOST:PORT/CODE as bcd call prints it")
    return host.strip("[]"), int(port), code


def own_address() -> str:
    """The address by which other machines of the local network reach this one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"


def sealed(message: dict, code: str, role: str) -> bytes:
    """A line that holds a message and proves that its sender knows the code."""
    text = json.dumps(message)
    return json.dumps({"text": text, "proof": _proof(text, code, role)}).encode() + b"\n"


def opened(line: bytes, code: str, role: str) -> dict:
    """The message of a line. Raises FormatError for one of another code, or none."""
    try:
        found = json.loads(line)
        text, proof = found["text"], found["proof"]
        if not hmac.compare_digest(proof, _proof(text, code, role)):
            raise BcdError("the other side has another code: copy the whole address that bcd call prints")
        message = json.loads(text)
        if not isinstance(message, dict):
            raise ValueError
        return message
    except (ValueError, KeyError, TypeError):
        raise FormatError("what answers there is no bcd call") from None


async def listen(
    port: int, code: str, answer: Callable[[dict], Awaitable[dict]], host: str = ""
) -> asyncio.AbstractServer:
    """Serve one caller who knows the code: `answer` gives this side's description for the caller's.

    Raises BcdError where the port is taken.
    """
    busy = False

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal busy
        try:
            line = await asyncio.wait_for(reader.readline(), ANSWER_SECONDS)
            message = opened(line, code, "caller")
            if busy:
                writer.write(sealed({"refused": "somebody else is in the call already"}, code, "host"))
            else:
                busy = True
                writer.write(sealed(await answer(message), code, "host"))
            await writer.drain()
        except (BcdError, OSError, asyncio.TimeoutError, ValueError):
            pass  # not one who knows the code: no answer
        finally:
            writer.close()

    try:
        return await asyncio.start_server(served, host or None, port, limit=MAX_MESSAGE)
    except OSError as error:
        raise BcdError(f"cannot listen on port {port}: {error.strerror}; give another with --port") from None


def listening_port(listener: asyncio.Server) -> int:
    """The port that `own_address` goes with: IPv4 and IPv6 have one each, in no fixed order."""
    sockets = sorted(listener.sockets, key=lambda found: found.family != socket.AF_INET)
    return sockets[0].getsockname()[1]


async def call(host: str, port: int, code: str, description: dict) -> dict:
    """The description of the side that listens there, for this side's. Raises BcdError."""
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port, limit=MAX_MESSAGE), ANSWER_SECONDS)
        writer.write(sealed(description, code, "caller"))
        await writer.drain()
        line = await asyncio.wait_for(reader.readline(), ANSWER_SECONDS)
        writer.close()
    except (OSError, asyncio.TimeoutError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no answer"
        raise BcdError(f"nobody answers at {host}:{port} ({why}): is bcd call running there?") from None
    if not line:
        raise BcdError(f"{host}:{port} refuses the code: copy the whole address that bcd call prints there")
    message = opened(line, code, "host")
    if "refused" in message:
        raise BcdError(f"{host}:{port} does not take the call: {str(message['refused'])[:100]}")
    return message


def _proof(text: str, code: str, role: str) -> str:
    return hmac.new(code.encode(), f"bcd call 1|{role}|{text}".encode(), hashlib.sha256).hexdigest()

"""How two ends of a call find each other: addresses, messages under a code, one caller."""

import asyncio

import pytest

from bcdcodec.errors import BcdError
from bcdcodec.live.signalling import ALPHABET, CODE_CHARACTERS, call, listen, new_code, opened, parse_address, sealed

CODE = "a" * CODE_CHARACTERS


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

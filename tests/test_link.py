"""The link of a call: datagrams both ways, an end that is gone, one that is not who it should be."""

import asyncio
import time

import pytest

from bcdcodec.errors import BcdError, FormatError
from bcdcodec.stream.wire import IP_UDP_BYTES, SRTP_BYTES

pytest.importorskip("aiortc", reason="aiortc is not installed: pip install 'bcdcodec[live]'")
from bcdcodec.benchmarks.live_wire import watch  # noqa: E402
from bcdcodec.live.link import Link  # noqa: E402


def test_a_link_carries_datagrams_both_ways_and_counts_them():
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
    async def run():
        await Link(lambda data: None, True).connect(other)

    with pytest.raises(FormatError, match="bcd call"):
        asyncio.run(run())

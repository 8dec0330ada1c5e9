"""A direct connection of two machines for datagrams: ICE, DTLS and SRTP by aiortc, our packets as RTP payload."""

from __future__ import annotations

import asyncio
import secrets
import struct
import time
from collections.abc import Callable

from aiortc import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport
from aiortc.rtcdtlstransport import SRTPProtectionProfile
from aiortc.rtcicetransport import RTCIceGatherer, RTCIceParameters, RTCIceTransport
from aiortc.sdp import candidate_from_sdp, candidate_to_sdp
from pylibsrtp import Policy

from bcdcodec.errors import BcdError, FormatError
from bcdcodec.stream.wire import SRTP_TAG_BYTES

RTP = struct.Struct(">BBHII")  # version, payload type, sequence number, timestamp, source
PAYLOAD_TYPE = 96
MAX_CANDIDATES, MAX_TEXT = 32, 200
# The shortest tag of DTLS-SRTP (RFC 5764, section 4.1.2). A forged packet passes once in 2 ** 32 and spoils 120 ms.
SRTP_PROFILE = SRTPProtectionProfile(Policy.SRTP_PROFILE_AES128_CM_SHA1_32, b"SRTP_AES128_CM_SHA1_32", 16, 14)
ALIVE_SECONDS = 0.6  # without anything sent, after which an empty packet tells that this end is there
SILENT_SECONDS = 2.7  # without anything heard, after which the other end is gone


class _Dtls(RTCDtlsTransport):
    """DTLS whose SRTP has the shortest tag, and whose RTP payloads go to a function."""

    def __init__(self, transport: RTCIceTransport, receive: Callable[[bytes], None]):
        super().__init__(transport, [RTCCertificate.generateCertificate()])
        self._srtp_profiles = [SRTP_PROFILE]
        self._receive = receive
        self.heard = time.monotonic()

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        self.heard = time.monotonic()
        if len(data) > RTP.size:
            self._receive(data[RTP.size :])


class Link:
    """One end. `description` goes to the other end by whatever way, the other end's to `connect`."""

    def __init__(self, receive: Callable[[bytes], None], controlling: bool):
        """`receive`: takes datagrams; one of both ends is `controlling`."""
        self._gatherer = RTCIceGatherer(iceServers=[])
        self._gatherer._connection.ice_controlling = controlling
        self._ice = RTCIceTransport(self._gatherer)
        self._dtls = _Dtls(self._ice, receive)
        self._sequence, self._source = secrets.randbelow(1 << 15), secrets.randbits(32)
        self.sent_bytes = self.sent_packets = 0  # UDP payloads, SRTP included
        self._sent = 0.0  # when
        self._alive: asyncio.Task | None = None

    async def description(self) -> dict:
        """Where this end can be reached, and how it proves to be itself; plain values."""
        await self._gatherer.gather()
        ice, dtls = self._gatherer.getLocalParameters(), self._dtls.getLocalParameters()
        return {
            "candidates": [candidate_to_sdp(each) for each in self._gatherer.getLocalCandidates()],
            "user": ice.usernameFragment,
            "password": ice.password,
            "fingerprints": [[each.algorithm, each.value] for each in dtls.fingerprints],
        }

    async def connect(self, other: dict) -> None:
        """Connect with the end of that description. Raises FormatError for none, BcdError where it does not succeed."""
        candidates, fingerprints, ice = _checked(other)
        for candidate in candidates:
            await self._ice.addRemoteCandidate(candidate)
        await self._ice.addRemoteCandidate(None)
        try:
            await self._ice.start(ice)
            if self._ice.state != "completed":
                raise ConnectionError
            await self._dtls.start(RTCDtlsParameters(fingerprints))
        except ConnectionError:
            raise BcdError("no direct way to the other side: both must reach each other by UDP") from None
        if self._dtls.state != "connected":
            raise BcdError("the other side did not prove to be the one that was called: the call is not made")
        self._dtls.heard = time.monotonic()
        self._alive = asyncio.ensure_future(self._stay_alive())

    async def send(self, data: bytes) -> None:
        """Send a datagram; nothing happens once the connection is gone."""
        self._sent = time.monotonic()
        self._sequence = self._sequence + 1 & 0xFFFF
        header = RTP.pack(0x80, PAYLOAD_TYPE, self._sequence, 0, self._source)
        try:
            await self._dtls._send_rtp(header + data)
        except ConnectionError:
            return
        self.sent_packets += 1
        self.sent_bytes += len(header) + len(data) + SRTP_TAG_BYTES

    @property
    def open(self) -> bool:
        return self._dtls.state == "connected"

    @property
    def gone(self) -> bool:
        """Whether the other end has been silent for too long, or has taken leave."""
        return not self.open or time.monotonic() - self._dtls.heard > SILENT_SECONDS

    async def _stay_alive(self) -> None:
        while True:
            await asyncio.sleep(ALIVE_SECONDS / 3)
            if time.monotonic() - self._sent > ALIVE_SECONDS:
                await self.send(b"")

    async def close(self) -> None:
        """Take leave of the other end."""
        if self._alive is not None:
            self._alive.cancel()
        await self._dtls.stop()
        await self._ice.stop()


def _checked(other: dict) -> tuple[list, list[RTCDtlsFingerprint], RTCIceParameters]:
    """Candidates, fingerprints and ICE parameters of a description; FormatError for what is none."""
    try:
        texts = [other["user"], other["password"], *other["candidates"], *sum(other["fingerprints"], [])]
        small = len(texts) <= 2 * MAX_CANDIDATES and all(isinstance(t, str) and len(t) <= MAX_TEXT for t in texts)
        if not small or not other["fingerprints"]:
            raise ValueError
        candidates = [candidate_from_sdp(each) for each in other["candidates"]]
        fingerprints = [RTCDtlsFingerprint(algorithm, value) for algorithm, value in other["fingerprints"]]
        return candidates, fingerprints, RTCIceParameters(other["user"], other["password"])
    except (KeyError, TypeError, ValueError, AssertionError, IndexError):
        raise FormatError("what the other side sent does not describe a connection: is it bcd call?") from None

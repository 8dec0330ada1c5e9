"""What a stream costs on the wire, and for what."""

from __future__ import annotations

from collections import Counter, deque

from bcdcodec.stream.packets import ControlPacket, MediaPacket, Packet, pack_packet

IP_UDP_BYTES = 20 + 8  # IPv4 and UDP
SRTP_TAG_BYTES = 4  # AES_CM_128_HMAC_SHA1_32
SRTP_BYTES = IP_UDP_BYTES + 12 + SRTP_TAG_BYTES  # RTP, and what SRTP adds
KINDS = ("motion", "reference", "sound", "headers")


def byte_shares(packet: Packet, size: int) -> Counter[str]:
    """Bytes of a datagram of `size`, all headers included, by KINDS; what no other kind takes are headers."""
    shares: Counter[str] = Counter()
    fragment = packet.fragment if isinstance(packet, MediaPacket | ControlPacket) else None
    if fragment is not None:
        shares["reference"] = len(pack_packet(ControlPacket(fragment))) - 1
    if isinstance(packet, MediaPacket):
        shares["motion"] = 0 if packet.motion is None else len(packet.motion.coded)
        shares["sound"] = 0 if packet.sound is None else len(packet.sound)
    shares["headers"] = size - shares.total()
    return shares


class WireCounter:
    """Bytes of the last seconds, by KINDS."""

    def __init__(self, seconds: float = 5.0):
        self._seconds = seconds
        self._recent: deque[tuple[float, Counter[str]]] = deque()
        self._begun: float | None = None
        self.total: Counter[str] = Counter()

    def add(self, packet: Packet, size: int, now: float) -> None:
        """Take note of a datagram of `size` bytes, all headers included."""
        shares = byte_shares(packet, size)
        self._begun = now if self._begun is None else self._begun
        self.total += shares
        self._recent.append((now, shares))
        self._forget(now)

    def kbps(self, now: float) -> dict[str, float]:
        """Kbit/s of the last seconds by KINDS, and `all`."""
        self._forget(now)
        span = max(1.0, min(self._seconds, now - (self._begun if self._begun is not None else now)))
        found: Counter[str] = Counter()
        for _, shares in self._recent:
            found += shares
        rates = {kind: 8 * found[kind] / span / 1000 for kind in KINDS}
        return rates | {"all": sum(rates.values())}

    def _forget(self, now: float) -> None:
        while self._recent and now - self._recent[0][0] > self._seconds:
            self._recent.popleft()

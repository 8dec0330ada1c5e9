"""Pictures and sound of a camera to datagrams, and datagrams to what is shown, in threads beside the page's server."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from bcdcodec.coding.session import Session
from bcdcodec.container import Content
from bcdcodec.errors import BcdError
from bcdcodec.live.face_watch import FaceWatch
from bcdcodec.stream.encoder import LiveOptions
from bcdcodec.stream.opus_voice import VoiceDecoder, VoiceEncoder
from bcdcodec.stream.packets import Report
from bcdcodec.stream.receiver import Receiver
from bcdcodec.stream.recorder import StreamRecorder
from bcdcodec.stream.sender import Sender

PACKET_FRAMES = 3
WIRE_KBPS = 9.2  # of all packets: 10 less ICE's checks of the connection, 0.4, reports, 0.1, and references in debt
BLOCK = 5760  # samples of sound in a packet: 120 ms
MOST_WAITING = 3  # pictures that wait to be coded, one packet; more are left out
POLL_SECONDS = 0.005


def call_options(kbps: float | None, sound: bool, background: bool = False) -> LiveOptions:
    """How a call is coded; pictures have times in milliseconds."""
    return LiveOptions(
        kbps=kbps,
        wire_kbps=WIRE_KBPS,
        packet_frames=PACKET_FRAMES,
        sound=sound,
        reports=True,
        time_base=Fraction(1, 1000),
        background=background,
    )


@dataclass(frozen=True)
class Shown:
    """A picture for the page."""

    picture: np.ndarray  # uint8 [h, w, 3]
    captured: float | None  # the page's own time of capture, ms; None: of another machine's camera
    number: int


class Engine:
    """Both directions of a live stream. Callbacks come from its threads."""

    def __init__(
        self,
        session: Session,
        send: Callable[[bytes], None],
        show: Callable[[Shown], None],
        play: Callable[[np.ndarray], None],
        fail: Callable[[str], None],
        kbps: float | None = None,
        loop: bool = False,
        sound: bool = True,
    ):
        """`send`: takes datagrams for the other side; `play`: int16 [n] at 48 kHz; `fail`: a line for the user.

        `loop`: the other side is this one, so times of capture are known.
        """
        self._send, self._show, self._play, self._fail, self._loop = send, show, play, fail, loop
        options = call_options(kbps, sound, background=True)
        self._sender = Sender(session, options, self._reported)
        self._receiver = Receiver(session, self._sender.encoder.receive, time.monotonic)
        self._session = session
        self._voice = VoiceEncoder(BLOCK) if sound else None
        self._ear = VoiceDecoder(BLOCK)
        self._faces = FaceWatch()
        self._pictures: queue.Queue = queue.Queue()
        self._commands: queue.Queue = queue.Queue()
        self._arrived: deque[bytes] = deque()
        self._captured: dict[int, float] = {}  # by frame number
        self._latency: deque[float] = deque(maxlen=25)
        self._shown: deque[float] = deque(maxlen=50)  # when pictures were shown
        self._met: object = None
        self._dropped = 0
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=each, daemon=True) for each in (self._encode, self._decode, self._display)
        ]
        for thread in self._threads:
            thread.start()

    # ---- from the page and the network, any thread

    def picture(self, picture: np.ndarray, captured: float) -> None:
        """Take a picture uint8 [h, w, 3] and when it was captured, ms of any clock."""
        self._faces.picture(picture)
        if self._pictures.qsize() >= MOST_WAITING:
            self._dropped += 1
            return
        self._pictures.put((picture, captured))

    def sound(self, samples: np.ndarray) -> None:
        """Take int16 [n] at 48 kHz."""
        self._commands.put(lambda: self._hear(samples))

    def datagram(self, data: bytes) -> None:
        """Take a datagram of the other side."""
        self._arrived.append(data)

    def set_rate(self, kbps: float | None) -> None:
        """Code motion at another rate, kbit/s; None: the model's own."""
        self._commands.put(lambda: self._sender.encoder.set_rate(kbps))

    def joined(self) -> None:
        """Take note that the other side has just come, and has got nothing yet."""
        self._commands.put(self._sender.encoder.joined)

    def show_face(self, content: Content | None) -> None:
        """Show another face from now on; None: one's own."""
        self._commands.put(lambda: self._sender.encoder.show_face(content))

    def record(self, recorder: StreamRecorder | None) -> None:
        """Record what is sent from now on; None: stop."""
        self._commands.put(lambda: setattr(self._sender.encoder, "recorder", recorder))

    def new_recorder(self) -> StreamRecorder:
        """A recorder for what this engine sends."""
        recorder = StreamRecorder(self._sender.encoder.head)
        if self._voice is not None:
            recorder.sound_begins(self._voice.pre_skip)
        return recorder

    @property
    def ended(self) -> str | None:
        """The reason of the other side's end, empty for a plain one; None before."""
        return self._receiver.decoder.ended

    def stats(self) -> dict:
        """What the page shows."""
        now = time.monotonic()
        recent = [at for at in list(self._shown) if now - at < 2]
        described, buffer, latency = self._receiver.described, self._receiver.buffer, list(self._latency)
        return {
            "kbps": {kind: round(rate, 2) for kind, rate in self._sender.wire.kbps(now).items()},
            "latency_ms": round(float(np.median(latency))) if latency else None,
            "fps": round(len(recent) / 2, 1),
            "dropped": self._dropped,
            "lost": buffer.lost if buffer else 0,
            "faceless": self._faces.faceless,
            "base_only": not self._sender.encoder.enhanced,
            "drawn": self._receiver.decoder.pictures.drawing,
            "synthesised": bool(described and described.head.reenacted),
            "own_synthesised": self._sender.encoder.head.reenacted,
            "busy": round(self._sender.effort.share, 2),
        }

    def close(self) -> None:
        """Say good-bye and stop the threads."""
        self._stop.set()
        self._faces.close()
        for thread in self._threads:
            thread.join(5)
        for data in self._sender.end("", time.monotonic()):
            self._send(data)

    # ---- the threads

    def _reported(self, now: float) -> Report | None:
        return self._receiver.report(now)

    def _hear(self, samples: np.ndarray) -> None:
        if self._voice is not None:
            for packet in self._voice.push(samples):
                self._sender.encoder.add_sound(packet)

    def _encode(self) -> None:
        taken = 0.0  # seconds, for the packet that is being filled
        while not self._stop.is_set():
            try:
                while not self._commands.empty():
                    self._commands.get()()
                try:
                    picture, captured = self._pictures.get(timeout=0.05)
                except queue.Empty:
                    continue
                begun = time.monotonic()
                encoder = self._sender.encoder
                datagrams = self._sender.push(picture, round(captured), begun)
                if self._loop:
                    self._captured[encoder.next_frame - 1] = captured
                    while len(self._captured) > 500:
                        del self._captured[next(iter(self._captured))]
                for data in datagrams:
                    self._send(data)
                taken += time.monotonic() - begun
                if datagrams:
                    self._sender.took(taken)
                    taken = 0.0
            except BcdError as error:
                self._fail(str(error))

    def _decode(self) -> None:
        receiver = self._receiver
        while not self._stop.is_set():
            try:
                now = time.monotonic()
                while self._arrived:
                    receiver.take(self._arrived.popleft(), now)
                described = receiver.described
                if described is not None and described is not self._met:
                    self._met = described
                    self._commands.put(lambda described=described: self._sender.encoder.meet(described))
                receiver.decode(now)
                for sound in receiver.sound():
                    self._play(self._ear.decode(sound))
            except BcdError as error:
                self._fail(str(error))
                if receiver.described is None:  # another model: there is nothing to be shown
                    for data in self._sender.end(str(error), time.monotonic()):
                        self._send(data)
                    return
            time.sleep(POLL_SECONDS)

    def _display(self) -> None:
        """Give frames out when they are due, also while others are being decoded."""
        while not self._stop.is_set():
            now = time.monotonic()
            frame = self._receiver.frame(now)
            if frame is not None:
                self._shown.append(now)
                self._show(Shown(frame.picture, self._captured.get(frame.number), frame.number))
            time.sleep(POLL_SECONDS)

    def shown_after(self, milliseconds: float) -> None:
        """Take note of how long after its capture the page has drawn a picture."""
        self._latency.append(milliseconds)

"""Where a file's bytes go."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ByteCounts:
    """Bytes of a file by class; the classes add up to the file's size exactly."""

    motion: int  # coded parts of MOTN
    content: int  # pictures and coded parts of CONT
    container: int  # everything else: signature, chunk headers, fields, HEAD, TABL, mETa, iNDX, TAIL, unknown chunks
    audio: int  # payloads of AUDI
    surroundings: int = 0  # payloads of sURR

    @property
    def total(self) -> int:
        return self.motion + self.content + self.container + self.audio + self.surroundings

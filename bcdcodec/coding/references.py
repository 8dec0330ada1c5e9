"""Reference selection within a scene: where the warp error of one reference is too large, another follows."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bcdcodec.coding.content import make_content, reference_of
from bcdcodec.coding.fitness import fit_frames
from bcdcodec.coding.motion import refined_parts
from bcdcodec.coding.picture_content import ReferencePicture, choose_picture, make_picture_content
from bcdcodec.coding.session import Session
from bcdcodec.container import Content
from bcdcodec.container.payloads import MAX_CONTENTS
from bcdcodec.models.base import Reference
from bcdcodec.models.windows import joined

LOOK_AHEAD_SECONDS = 10.0  # of a scene, among whose frames a reference frame is chosen
UNIT = 12  # frames over which errors are averaged: about half a second
MAX_ERROR = 0.004  # mean squared error of pictures in 0..1, at mouth and eyes, up to which warps look right: 24 dB
MAX_RATIO = 2.0  # times the least error of the scene, which is allowed too: of some footage all is over MAX_ERROR
COMPARED = 24  # frames at most by which earlier references are compared
SUBSAMPLE = 4  # of the frames by which references are compared, one in so many is looked at
SAMPLES = UNIT // SUBSAMPLE  # in a unit
GAIN = 0.8  # share of the current error, below which another reference's must be
MIN_SAVING = 0.06  # sum over frames of the error that a new reference must save: MAX_ERROR for 15 frames
REUSE_RATIO = 1.5  # times the error of a reference of its own, up to which a scene is shown by an earlier one
KEPT = 3  # references, the latest, that are tried again
MAX_SCENES = MAX_CONTENTS // 2  # in a file
EXTRA_SECONDS = 5.0  # of a scene for each reference beside the first two: one costs as much as their motion


@dataclass(frozen=True, eq=False)
class Block:
    """Frames that follow one another."""

    pictures: np.ndarray  # uint8 [t, h, w, 3]
    motion: Tensor  # [t, m], from the encoder
    damaged: np.ndarray  # bool [t], whether they may show damage of the source

    def __len__(self) -> int:
        return len(self.motion)

    def __getitem__(self, part: slice) -> Block:
        return Block(self.pictures[part], self.motion[part], self.damaged[part])

    @staticmethod
    def joined(blocks: list[Block]) -> Block:
        """One block of several."""
        return Block(
            np.concatenate([block.pictures for block in blocks]),
            torch.cat([block.motion for block in blocks]),
            np.concatenate([block.damaged for block in blocks]),
        )


@dataclass(frozen=True)
class Segment:
    """Frames that follow one another and use one reference."""

    content: int  # number of the reference's content
    motion: Tensor  # [t, m], aligned
    hessian: Tensor | None  # [t, m, m] of the error


@dataclass(frozen=True, eq=False)
class ReferenceEntry:
    """A content and the reference it holds."""

    content: Content
    reference: Reference
    picture: ReferencePicture | None = None  # what a reference picture was coded from


class ReferenceBuffer:
    """The references of a file: the count of contents, and the latest entries, which a scene may use again."""

    def __init__(self) -> None:
        self.count = 0
        self.latest: deque[ReferenceEntry] = deque(maxlen=KEPT)

    @property
    def spare(self) -> bool:
        """Whether a second reference of a scene may be added: half of the numbers are left to first ones."""
        return self.count < MAX_CONTENTS - MAX_SCENES

    def add(self, entry: ReferenceEntry) -> ReferenceEntry:
        """The entry with the next number."""
        entry = replace(entry, content=replace(entry.content, number=self.count))
        self.count += 1
        self.latest.append(entry)
        return entry


class SceneReferences:
    """Splits a scene into segments, each with its reference, and gives every content before its first segment."""

    def __init__(
        self, session: Session, blocks: Iterator[Block], buffer: ReferenceBuffer, kbps: float | None, several: bool
    ):
        """`several`: whether other references may follow the first; only for models that warp."""
        self._session, self._blocks, self._buffer, self._kbps = session, blocks, buffer, kbps
        self._several = several and session.model.warps
        self._ahead: deque[Block] = deque()  # blocks that were read before their turn
        self._entries: deque[ReferenceEntry] = deque(maxlen=KEPT + 1)  # of the scene, the current one is the last
        self._least = math.inf  # error of a unit so far
        self._tried = 1  # contents made, also those that were not used
        self._given = 0  # frames

    def __iter__(self) -> Iterator[list[Content | Segment]]:
        """What a block becomes, block by block."""
        block = self._upcoming(None)
        entry = self._made(block, fit_frames(block.pictures, block.damaged))
        again = self._earlier_entry(entry, block) if self._several else None
        self._entries.append(again or self._buffer.add(entry))
        begun = [] if again else [self._entries[0].content]
        self._ahead.clear()  # the first block is all that was read, so that its codes and its rate are chosen together
        while block is not None:
            yield begun + list(self._segments(block))
            begun = []
            block = self._ahead.popleft() if self._ahead else next(self._blocks, None)

    def _earlier_entry(self, made: ReferenceEntry, block: Block) -> ReferenceEntry | None:
        """An earlier scene's entry that serves about as well as the one `made` of this one: cuts go back and forth."""
        if not self._buffer.latest:
            return None
        own = self._all_errors(made, block)
        for entry in reversed(self._buffer.latest):
            found = self._all_errors(entry, block)
            excess, ratio = (found - own).clamp_min(0).sum(0), found.mean(0) / own.mean(0)
            if SUBSAMPLE * excess[0] <= MIN_SAVING and ratio[1] <= REUSE_RATIO:
                return entry
        return None

    def _segments(self, block: Block) -> Iterator[Content | Segment]:
        judged = 0  # frames for which the current reference was chosen
        while len(block):
            entry, count = self._entries[-1], self._buffer.count
            parts, errors, end = [], EntryErrors(partial(self._errors, entry)), None
            for part in refined_parts(self._session, block.pictures, block.motion, entry.reference):
                parts.append(part)
                if self._several:
                    errors.add(part.errors[:, 0])
                    if end is None:
                        judged, end = self._judge(block, errors, judged)
                    if end is not None and end <= len(errors.refined):
                        break  # the frames after that are refined with another reference
            motion, hessian, _ = joined(parts)
            end = len(block) if end is None else end
            if end:
                self._given += end
                yield Segment(entry.content.number, motion[:end], None if hessian is None else hessian[:end])
            if self._buffer.count > count:
                yield self._entries[-1].content
            block, judged = block[end:], COMPARED

    def _judge(self, block: Block, errors: EntryErrors, at: int) -> tuple[int, int | None]:
        """Look for a better entry where frames from `at` on show too large errors.

        Returns to which frame all were judged, and from which on another entry is the current one, None: there is none.
        """
        known = len(errors.refined)
        self._least = min([self._least] + [errors.refined[unit].mean().item() for unit in units(known)])
        while at < known:
            # Units that are whole, and at the end of the block what is left over.
            judged = known if known == len(block) else at + (known - at) // UNIT * UNIT
            if bad_run(errors.refined[at:judged], MAX_ERROR)[0] == judged - at:
                return judged, None
            ahead = errors.sampled(block[at:], at)
            refined = errors.refined[at::SUBSAMPLE]
            ahead = ahead * (refined.mean() / ahead[: len(refined)].mean())  # a quick look finds larger errors
            self._least = min([self._least] + [ahead[unit].mean().item() for unit in units(len(ahead), SAMPLES)])
            most = max(MAX_ERROR, MAX_RATIO * self._least)
            begin, stop = (at + i for i in bad_run(errors.refined[at:judged], most))
            if begin == judged:
                return judged, None
            if stop == judged:  # how far the run goes beyond is seen by the samples
                more = ahead[-(-(stop - at) // SUBSAMPLE) :]
                last = begin + units(len(block) - begin)[-1].stop
                stop = min(last, stop + SUBSAMPLE * good_from(more, most, SAMPLES))
            after = self._change(block[begin:], stop - begin, self._given + begin, errors, begin)
            if after is not None:
                return judged, begin + after
            at = min(stop, begin + COMPARED)
        return at, None

    def _change(self, rest: Block, run: int, given: int, current: EntryErrors, begin: int) -> int | None:
        """Make an entry current that serves the beginning of the rest of a block far better, if there is one.

        Returns after how many frames of the rest it is the better one, None if there is none.

        `run`: frames from the first on, in which the current error is too large; `given` frames were before it.
        `current`: errors of a block whose frames from `begin` on the rest is.
        """
        compared = min(run, COMPARED)  # what is later in the run is compared in its turn
        beginning = rest[:compared]
        earlier = list(self._entries)[-2::-1]
        if earlier:
            found = [self._errors(entry, beginning).mean().item() for entry in earlier]
            if min(found) < GAIN * current.sampled(beginning, begin).mean().item():
                best = earlier[int(np.argmin(found))]
                self._entries.remove(best)
                self._entries.append(best)
                return 0
        seconds = given / self._session.config.frame_rate
        if self._tried >= 2 + seconds / EXTRA_SECONDS or not self._buffer.spare:
            return None
        self._tried += 1
        coming, in_run = self._upcoming(rest), -(-run // SUBSAMPLE)
        errors = current.sampled(coming, begin)
        least = torch.stack([errors] + [self._errors(entry, coming) for entry in earlier]).amin(0)
        if SUBSAMPLE * (least - self._least).clamp_min(0).sum() <= MIN_SAVING:
            return None  # a reference as good as that of the scene's best frames would not save enough
        # The frames after the run count too. At a scene's beginning they are what the first content was made of.
        fit = fit_frames(coming.pictures, coming.damaged)
        picture = self._session.config.content.picture
        if picture:
            excess = (least - self._least).clamp_min(0).repeat_interleave(SUBSAMPLE)[: len(coming)]
            choices = [(coming, fit, excess)]
        else:
            choices = [(coming, fit)] * bool(given) + [(rest[:run], fit[:run])] * bool(fit[:run].any())
        for choice in choices:
            entry = self._made(*choice)
            if entry is None:
                continue
            found = self._errors(entry, coming)
            first = 0
            if picture:  # a head turns within a run: the frames before that are left to the current reference
                gain = (errors - found)[:in_run]
                first = int(gain.flip(0).cumsum(0).flip(0).argmax())
            better = found[first:in_run].mean() < GAIN * errors[first:in_run].mean()
            if better and SUBSAMPLE * (least - found).clamp_min(0).sum() > MIN_SAVING:
                self._entries.append(self._buffer.add(entry))
                return first * SUBSAMPLE
        return None

    def _made(self, block: Block, fit: np.ndarray, weights: Tensor | None = None) -> ReferenceEntry | None:
        """An entry made of the first seconds of a block; None where it is of a picture that the scene has already.

        `fit`: bool [t], frames that can be its reference frame. `weights`: float [t], what each frame counts.
        """
        session = self._session
        most = int(LOOK_AHEAD_SECONDS * session.config.frame_rate)
        fit = fit[:most] if fit[:most].any() else None
        pictures, motion = block.pictures[:most], block.motion[:most]
        if not session.config.content.picture:
            content = make_content(session, pictures, motion, self._kbps, fit)
            return ReferenceEntry(content, reference_of(session, content))
        if fit is not None:
            found = torch.from_numpy(fit).to(motion.device)
            pictures, motion = pictures[fit], motion[found]
            weights = None if weights is None else weights[:most][found]
        chosen = choose_picture(session, pictures, motion, weights)
        if any(np.array_equal(chosen.image, entry.picture.image) for entry in self._entries):
            return None
        keys = [(entry.picture, entry.content) for entry in self._entries if entry.content.picture.base is None]
        base = keys[0] if keys else None
        content = make_picture_content(session, chosen, self._kbps, base)
        refers = content.picture.base is not None
        return ReferenceEntry(content, reference_of(session, content, base=base[1] if refers else None), chosen)

    def _errors(self, entry: ReferenceEntry, block: Block) -> Tensor:
        """Errors at mouth and eyes [t] of every SUBSAMPLE-th frame of a block."""
        return self._all_errors(entry, block)[:, 0]

    def _all_errors(self, entry: ReferenceEntry, block: Block) -> Tensor:
        """`warp_errors` [t, 2] of every SUBSAMPLE-th frame of a block."""
        pictures, m = block.pictures[::SUBSAMPLE], block.motion[::SUBSAMPLE]
        return joined(refined_parts(self._session, pictures, m, entry.reference, quick=True)).errors

    def _upcoming(self, begun: Block | None) -> Block:
        """A block that has begun, and whole ones after it until they are LOOK_AHEAD_SECONDS, or all."""
        blocks = ([] if begun is None else [begun]) + list(self._ahead)
        while sum(map(len, blocks)) < int(LOOK_AHEAD_SECONDS * self._session.config.frame_rate):
            following = next(self._blocks, None)
            if following is None:
                break
            self._ahead.append(following)
            blocks.append(following)
        return Block.joined(blocks)


class EntryErrors:
    """Errors of one entry over a block and what comes after it: of refined frames, and of samples, looked at quickly.

    Every SUBSAMPLE-th frame of the block is a sample.
    """

    def __init__(self, look: Callable[[Block], Tensor]):
        """`look`: errors of every SUBSAMPLE-th frame of a block."""
        self.refined = torch.zeros(0)
        self._look = look
        self._samples = torch.zeros(0)  # from number _first on
        self._first = 0

    def add(self, errors: Tensor) -> None:
        """Frames that follow those refined so far."""
        self.refined = torch.cat([self.refined, errors.cpu()])

    def sampled(self, frames: Block, begin: int) -> Tensor:
        """Errors of every SUBSAMPLE-th of frames, the first of which is frame `begin` of the block, itself a sample.

        `begin` never falls from call to call.
        """
        first, last = begin // SUBSAMPLE, begin // SUBSAMPLE + -(-len(frames) // SUBSAMPLE)
        if first >= self._first + len(self._samples):
            self._first, self._samples = first, self._samples[:0]
        known = self._first + len(self._samples)
        if last > known:
            found = self._look(frames[SUBSAMPLE * known - begin :]).cpu()
            self._samples = torch.cat([self._samples, found])
        return self._samples[first - self._first : last - self._first]


def bad_run(errors: Tensor, most: float) -> tuple[int, int]:
    """Begin and end of the first frames whose errors [t] are above `most`, unit by unit; both t if there are none."""
    found = units(len(errors))
    first = next((i for i, unit in enumerate(found) if errors[unit].mean().item() > most), None)
    if first is None:
        return len(errors), len(errors)
    begin = found[first].start
    return begin, begin + good_from(errors[begin:], most)


def good_from(errors: Tensor, most: float, length: int = UNIT) -> int:
    """How many errors [t] there are before the first unit of at most `most`; all that are in units if there is none."""
    found = units(len(errors), length)
    good = (unit.start for unit in found if errors[unit].mean().item() <= most)
    return next(good, found[-1].stop if found else 0)


def units(count: int, length: int = UNIT) -> list[slice]:
    """So many frames in units of `length`; what is left over is one if it is half of that."""
    return [slice(at, min(at + length, count)) for at in range(0, count, length) if count - at >= length / 2]

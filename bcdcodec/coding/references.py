"""The contents of one scene: where what is seen can no longer be warped from one, another is taken, an earlier or a new one."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bcdcodec.container import Content
from bcdcodec.container.payloads import MAX_CONTENTS
from bcdcodec.models.heads.alignment import QUICK
from bcdcodec.models.heads.residual_basis import Portrait

if TYPE_CHECKING:
    from bcdcodec.codec import Codec

LOOK_AHEAD_SECONDS = 10.0  # of a scene among which a content's reference frame is chosen
UNIT = 12  # pictures over which errors are averaged: about half a second
LOST = 0.004  # mean squared error, of pictures in 0..1, at mouth and eyes up to which faces are not smeared: 24 dB
FAR = 2.0  # times the error where a scene is reached best, up to which they are not either: of some footage all is over LOST
COMPARED = 24  # pictures at most by which earlier contents are compared
PROBED = 4  # of pictures by which contents are compared one is looked at
BETTER = 0.8  # of the error, below which another content's is to be
WORTH = (
    0.1  # sum of such errors that a new content is to save in the seconds that follow: of one second as much as LOST
)
AS_WELL = 1.5  # times the error everywhere of a content of its own, up to which an earlier one serves a scene
KEPT = 3  # contents, the latest, that are tried again
MOST_SCENES = MAX_CONTENTS // 2  # of a file
EXTRA_SECONDS = 5.0  # of a scene for each content beside the first two: one costs as much as they

Block = tuple[np.ndarray, Tensor]  # pictures uint8 [t, h, w, 3] and the encoder's motion of them [t, m]


@dataclass(frozen=True)
class Part:
    """Pictures that follow one another under one content."""

    content: int  # its number
    motion: Tensor  # [t, m], as aligned
    curvature: Tensor | None  # [t, m, m]


@dataclass(frozen=True, eq=False)
class View:
    """A content and what it shows."""

    content: Content
    portrait: Portrait | None


class FileContents:
    """The contents of a file: their numbers, of which half are left to scenes, and the latest, which another scene may show again."""

    def __init__(self) -> None:
        self.count = 0
        self.latest: deque[View] = deque(maxlen=KEPT)

    @property
    def spare(self) -> bool:
        """Whether one may be added for what is no scene of its own."""
        return self.count < MAX_CONTENTS - MOST_SCENES

    def add(self, view: View) -> View:
        """The view with the next number."""
        view = replace(view, content=replace(view.content, number=self.count))
        self.count += 1
        self.latest.append(view)
        return view


class SceneContents:
    """Gives out a scene's pictures in parts, each under the content that shows it, and every content before its first part."""

    def __init__(self, codec: Codec, blocks: Iterator[Block], known: FileContents, kbps: float | None, several: bool):
        """`several`: whether other contents may follow the first; for models that align a still with every frame."""
        self._codec, self._blocks, self._known, self._kbps = codec, blocks, known, kbps
        self._several = several and codec.model.flow_basis is not None
        self._ahead: deque[Block] = deque()  # blocks that were looked at before their turn
        self._views: deque[View] = deque(maxlen=KEPT + 1)  # of the scene, the current one is the last
        self._least = math.inf  # error of a unit so far
        self._tried = 1  # contents made, also those that were not worth it
        self._given = 0  # pictures

    def __iter__(self) -> Iterator[list[Content | Part]]:
        """What a block becomes, block by block."""
        block = self._upcoming(None)
        view = self._made(block)
        again = self._shown_before(view, block) if self._several else None
        self._views.append(again or self._known.add(view))
        begun = [] if again else [self._views[0].content]
        self._ahead.clear()  # the first block is all that was looked at, so that its codes and its rate are chosen together
        while block is not None:
            yield begun + list(self._parts(*block))
            begun = []
            block = self._ahead.popleft() if self._ahead else next(self._blocks, None)

    def _shown_before(self, made: View, block: Block) -> View | None:
        """An earlier scene's content that shows this one about as well as one `made` of it would: cuts go back and forth."""
        if not self._known.latest:
            return None
        own = self._errors(made, block)
        for view in reversed(self._known.latest):
            found = self._errors(view, block)
            lost, everywhere = (found - own).clamp_min(0).sum(0), found.mean(0) / own.mean(0)
            if PROBED * lost[0] <= WORTH and everywhere[1] <= AS_WELL:
                return view
        return None

    def _parts(self, pictures: np.ndarray, m: Tensor) -> Iterator[Content | Part]:
        judged = 0  # pictures for which the current content was chosen
        while len(pictures):
            view, count = self._views[-1], self._known.count
            motion, curvature = self._codec.aligned(pictures, m, view.portrait)
            t = end = len(pictures)
            if self._several:
                errors, at = self._codec.unreached(pictures, motion, view.portrait)[:, 0], judged
                self._least = min([self._least] + [errors[unit].mean().item() for unit in units(t)])
                most = max(LOST, FAR * self._least)
                while at < t:
                    begin, stop = (at + i for i in lost_run(errors[at:], most))
                    if begin < t and self._better((pictures[begin:], m[begin:]), stop - begin, self._given + begin):
                        end = begin
                        break
                    at = min(stop, begin + COMPARED)
            if end:
                self._given += end
                yield Part(view.content.number, motion[:end], None if curvature is None else curvature[:end])
            if self._known.count > count:
                yield self._views[-1].content
            pictures, m, judged = pictures[end:], m[end:], COMPARED

    def _better(self, rest: Block, run: int, given: int) -> bool:
        """Make a content current that shows the beginning of the rest of a block far better, if there is one.

        `run`: of its pictures, from the first on, that the current one does not reach; `given` were before it.
        """
        current, compared = self._views[-1], min(run, COMPARED)  # what comes later in the run is compared in its turn
        beginning = rest[0][:compared], rest[1][:compared]
        earlier = list(self._views)[-2::-1]
        if earlier:
            found = [self._errors(view, beginning)[:, 0].mean().item() for view in earlier]
            if min(found) < BETTER * self._errors(current, beginning)[:, 0].mean().item():
                best = earlier[int(np.argmin(found))]
                self._views.remove(best)
                self._views.append(best)
                return True
        seconds = given / self._codec.config.frame_rate
        if self._tried >= 2 + seconds / EXTRA_SECONDS or not self._known.spare:
            return False
        self._tried += 1
        coming, lost = self._upcoming(rest), -(-run // PROBED)
        errors = self._errors(current, coming)[:, 0]
        known = torch.stack([errors] + [self._errors(view, coming)[:, 0] for view in earlier]).amin(
            0
        )  # one of these may serve in its turn
        if (
            PROBED * (known - self._least).clamp_min(0).sum() <= WORTH
        ):  # nor would one as good as the scene's best frames be worth it
            return False
        # What follows the run is to be reached, too. At a scene's beginning that is what the first content was made of.
        for choice in ([coming] if given else []) + [(rest[0][:run], rest[1][:run])]:
            view = self._made(choice)
            found = self._errors(view, coming)[:, 0]
            better = found[:lost].mean() < BETTER * errors[:lost].mean()
            if better and PROBED * (known - found).clamp_min(0).sum() > WORTH:
                self._views.append(self._known.add(view))
                return True
        return False

    def _made(self, block: Block) -> View:
        most = int(LOOK_AHEAD_SECONDS * self._codec.config.frame_rate)
        content = self._codec.content_of(block[0][:most], block[1][:most], self._kbps)
        return View(content, self._codec.portrait(content))

    def _errors(self, view: View, block: Block) -> Tensor:
        """Of every PROBED-th picture of a block under a content: `Codec.unreached` [t, 2]."""
        pictures, m = block[0][::PROBED], block[1][::PROBED]
        motion, _ = self._codec.aligned(pictures, m, view.portrait, QUICK)
        return self._codec.unreached(pictures, motion, view.portrait)

    def _upcoming(self, begun: Block | None) -> Block:
        """A block that has begun, and whole ones after it until they are LOOK_AHEAD_SECONDS, or all."""
        blocks = ([] if begun is None else [begun]) + list(self._ahead)
        while sum(len(m) for _, m in blocks) < int(LOOK_AHEAD_SECONDS * self._codec.config.frame_rate):
            following = next(self._blocks, None)
            if following is None:
                break
            self._ahead.append(following)
            blocks.append(following)
        return np.concatenate([pictures for pictures, _ in blocks]), torch.cat([m for _, m in blocks])


def lost_run(errors: Tensor, most: float) -> tuple[int, int]:
    """Begin and end of the first pictures whose errors [t] are above `most`, unit by unit; both t if there are none."""
    found = units(len(errors))
    lost = [errors[unit].mean().item() > most for unit in found]
    if not any(lost):
        return len(errors), len(errors)
    first = lost.index(True)
    last = next((i for i in range(first, len(lost)) if not lost[i]), len(lost)) - 1
    return found[first].start, found[last].stop


def units(count: int) -> list[slice]:
    """So many pictures in units of UNIT; what is left over is one if it is half of that."""
    return [slice(at, min(at + UNIT, count)) for at in range(0, count, UNIT) if count - at >= UNIT / 2]

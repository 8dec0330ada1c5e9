"""Cross-driven decoding of many pairs and what the judges say of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bcdcodec.benchmarks.measure.pictures import psnr, ssim_and_ms_ssim
from bcdcodec.benchmarks.measure.temporal import luma
from bcdcodec.benchmarks.sprites.classifier import Classifier, classified_right
from bcdcodec.benchmarks.sprites.coding import CodedClips, Progress
from bcdcodec.benchmarks.sprites.judge import Judge, Verdict
from bcdcodec.benchmarks.sprites.pairs import ClipSet, Pairs
from bcdcodec.codec import Codec

TOGETHER = 32  # clips decoded in one batch


@dataclass(frozen=True)
class Quality:
    """Decoded clips against their rendered truth."""

    case: str
    steps: int
    clips: int
    psnr: float  # dB, mean over clips
    psnr_lowest: float  # dB, of the worst clip
    ssim: float  # of luma, mean over frames


@dataclass(frozen=True)
class Accuracy:
    """Shares in the judge's columns, and of the very motion frame."""

    case: str
    clips: int
    clip: tuple[float, ...]  # nearest renderable clip
    frame: tuple[float, ...]  # nearest renderable frame
    all_frames: tuple[float, ...]  # clips of which every frame's nearest is right
    motion_frame: float  # frames whose nearest shows the very motion frame, of 63
    alike: float  # frames whose nearest shows that or one that looks alike
    all_alike: float  # clips of which every frame does
    classifier: tuple[float, ...]


def decode_pairs(
    codec: Codec, coded: CodedClips, pairs: Pairs, steps: int | None = None, progress: Progress = lambda items: items
) -> np.ndarray:
    """Clips uint8 [n, 8, 64, 64, 3]: the driving clips' codes with the content clips' contents, from their files."""
    parts, length = [], codec.config.window.length
    for start in progress(range(0, len(pairs.driving), TOGETHER)):
        some = pairs[start : start + TOGETHER]
        codes = coded.codes[some.driving]  # [n, 8, g]
        windows = codes.reshape(-1, length, codes.shape[-1])
        contents = [coded.contents[i] for i in some.content for _ in range(codes.shape[1] // length)]
        decoded = codec.decode_windows(windows, contents, coded.head.sampler_seed, steps)
        parts.append(decoded.reshape(*codes.shape[:2], *decoded.shape[2:]))
    return np.concatenate(parts)


def measure_quality(decoded: np.ndarray, clips: ClipSet, pairs: Pairs, steps: int) -> Quality:
    """PSNR and SSIM of decoded clips [n, 8, 64, 64, 3] against the pairs' truth."""
    values, similarities = [], []
    for start in range(0, len(decoded), TOGETHER):
        some, truth = decoded[start : start + TOGETHER], clips.frames[pairs.truth[start : start + TOGETHER]]
        values += [psnr(clip, true) for clip, true in zip(some, truth)]
        frames = (luma(x.reshape(-1, *x.shape[2:])) for x in (some, truth))
        similarities.append(ssim_and_ms_ssim(*frames)[0] * len(some))
    return Quality(
        pairs.case,
        steps,
        len(decoded),
        float(np.mean(values)),
        float(np.min(values)),
        float(np.sum(similarities) / len(decoded)),
    )


def judge_pairs(
    decoded: np.ndarray, clips: ClipSet, pairs: Pairs, judge: Judge, classifier: Classifier
) -> tuple[Accuracy, Verdict]:
    """What both judges say of decoded clips [n, 8, 64, 64, 3]."""
    characters, actions = clips.character(pairs.truth), clips.action(pairs.truth)
    verdict = judge.judge(decoded, characters, actions)
    second = classified_right(classifier, decoded, characters, actions).mean(0)
    return Accuracy(
        pairs.case,
        len(decoded),
        _floats(verdict.clip_accuracy),
        _floats(verdict.frame_accuracy),
        _floats(verdict.all_frames_accuracy),
        float(verdict.motions_right.mean()),
        float(verdict.motions_alike.mean()),
        float(verdict.motions_alike.all(1).mean()),
        _floats(second),
    ), verdict


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(v) for v in values)

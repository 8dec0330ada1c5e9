"""The whole measurement of a Sprites model: table A4, quality by steps, rate, codes, speed, figure 5."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.sprites.classifier import Classifier, classified_right, kept_classifier
from bcdcodec.benchmarks.sprites.coding import CodedClips, Rate, Speed, code_clips, measure_rate, measure_speed
from bcdcodec.benchmarks.sprites.figures import describe_miss, draw_miss, figure_5
from bcdcodec.benchmarks.sprites.information import CodeInformation, measure_information
from bcdcodec.benchmarks.sprites.judge import ATTRIBUTES_OF, MOTION_OF, Judge, Verdict
from bcdcodec.benchmarks.sprites.pairs import BOTH, CASES, ClipSet, Pairs, draw_pairs, spread
from bcdcodec.benchmarks.sprites.transfer import Accuracy, Quality, decode_pairs, judge_pairs, measure_quality
from bcdcodec.codec import Codec
from bcdcodec.coding.session import open_session
from bcdcodec.errors import ModelError
from bcdcodec.training.data.sheets import ACTIONS, FRAMES, SIZE, Sheets, split
from bcdcodec.video import encode_png

FEW_STEPS, MANY_STEPS = (1, 2, 4), 50
TIMED_CLIPS, FIGURE_PAIRS, CONTENT_FRAMES = 20, 4, (1, 2, 4)
MISS_PICTURES = 100  # beyond these, misses are counted and named but not drawn

Progress = Callable[[Iterable, str], Iterable]


@dataclass(frozen=True)
class Options:
    """How much is measured."""

    clips: int | None = None  # driving clips of the case `both`; None: all
    case_clips: int = 296  # of the three other cases
    quality_clips: int = 148  # at each of FEW_STEPS
    many_steps_clips: int = 12  # at MANY_STEPS
    classifier_steps: int = 500
    seed: int = 0  # of the pairs


@dataclass(frozen=True)
class Judges:
    """What decoded clips are judged by; the same for every model."""

    sheets: Sheets
    clips: ClipSet  # of the test characters
    judge: Judge
    classifier: Classifier
    classifier_on_truth: tuple[float, ...]  # its accuracy on the true test clips

    @staticmethod
    def of(sheets: Sheets, options: Options, out: Path, progress: Progress) -> Judges:
        """The judges over the test characters; the classifier is kept in the folder `out`."""
        training, test = split()
        clips = ClipSet.render(sheets, test)
        told = partial(progress, label="classifier")
        classifier = kept_classifier(out, sheets, training, options.classifier_steps, told)
        every = np.arange(len(clips))
        right = classified_right(classifier, clips.frames, clips.character(every), clips.action(every))
        return Judges(sheets, clips, Judge(sheets), classifier, tuple(float(x) for x in right.mean(0)))


@dataclass(frozen=True)
class ContentResult:
    """Case `both` when the content is taken from so many frames of its clip (table A5)."""

    frames: int
    content_bytes: float  # mean, coded
    accuracy: Accuracy
    quality: Quality


@dataclass(frozen=True)
class SpritesReport:
    """Everything that is measured of one model."""

    model: str
    fingerprint: str
    steps: int  # the model's recommended ones, of the accuracies
    accuracies: tuple[Accuracy, ...]  # by case
    classifier_on_truth: tuple[float, ...]
    misses: tuple[str, ...]  # of the case `both`: an attribute wrong in any frame
    miss_pictures: tuple[str, ...]  # file names, of the first misses
    case_quality: tuple[Quality, ...]  # by case, at `steps`
    step_quality: tuple[Quality, ...]  # case `both`, by number of steps
    content_results: tuple[ContentResult, ...]  # case `both`, by frames that the content is taken from
    driving_psnr: (
        float  # dB, the driving clip itself against the truth of `both`: what a decoder gets that ignores the content
    )
    content_psnr: float  # dB, the content's clip likewise: what one gets that ignores the motion
    rate: Rate
    information: CodeInformation
    speed: Speed


def measure_model(codec: Codec, judges: Judges, options: Options, out: Path, progress: Progress) -> SpritesReport:
    """Measure a codec on the test clips; pictures go into the folder `out`.

    Raises ModelError for a model whose windows do not make up clips of 8 frames of 64x64.
    """
    config, window = codec.config, codec.config.window
    if config.latent.picture_size != SIZE or window.overlap or FRAMES % window.length:
        raise ModelError(
            f"model {config.name!r} is for {config.latent.picture_size} pixels and windows of {window.length} frames, "
            f"which overlap by {window.overlap}; sprites have {SIZE} pixels and {FRAMES} frames"
        )
    clips = judges.clips
    coded = code_clips(codec, clips.frames, partial(progress, label="encode"))
    accuracies, case_quality, misses, pictures = [], [], (), ()
    for case in CASES:
        driving = spread(len(clips), options.clips if case == BOTH else options.case_clips)
        pairs = draw_pairs(clips, case, driving, options.seed)
        decoded = decode_pairs(codec, coded, pairs, progress=partial(progress, label=f"decode, {case}"))
        case_quality.append(measure_quality(decoded, clips, pairs, config.diffusion.steps))
        accuracy, verdict = judge_pairs(decoded, clips, pairs, judges.judge, judges.classifier)
        accuracies.append(accuracy)
        if case == BOTH:
            misses, pictures = _list_misses(clips, pairs, verdict, decoded, judges.judge, out)
            shown = pairs[spread(len(pairs.driving), FIGURE_PAIRS)]
            both_ways = [decode_pairs(codec, coded, p) for p in (shown, Pairs(BOTH, shown.content, shown.driving))]
            (out / "figure-5.png").write_bytes(encode_png(figure_5(clips, shown, *both_ways)))
    step_quality = [
        _quality_at(codec, coded, clips, pairs, steps, count, progress)
        for steps, count in (
            *((steps, options.quality_clips) for steps in FEW_STEPS),
            (MANY_STEPS, options.many_steps_clips),
        )
    ]
    some = pairs[spread(len(pairs.driving), options.quality_clips)]
    content_results = [_content_from(codec, coded, judges, some, frames, progress) for frames in CONTENT_FRAMES]
    own = [measure_quality(clips.frames[which], clips, pairs, 0).psnr for which in (pairs.driving, pairs.content)]
    return SpritesReport(
        config.name,
        codec.folder.fingerprint.hex(),
        config.diffusion.steps,
        tuple(accuracies),
        judges.classifier_on_truth,
        misses,
        pictures,
        tuple(case_quality),
        tuple(step_quality),
        tuple(content_results),
        *own,
        measure_rate(codec, coded),
        information_of(coded, clips),
        measure_speed(codec, clips.frames[spread(len(clips), TIMED_CLIPS)]),
    )


def information_of(coded: CodedClips, clips: ClipSet) -> CodeInformation:
    """What the codes of all clips tell of motion frames and characters."""
    characters = clips.characters.repeat(len(ACTIONS) * FRAMES)
    return measure_information(
        coded.codes.reshape(len(characters), -1),
        np.tile(MOTION_OF.reshape(-1), len(clips.characters)),
        characters,
        ATTRIBUTES_OF[characters],
    )


def _quality_at(
    codec: Codec, coded: CodedClips, clips: ClipSet, pairs: Pairs, steps: int, count: int, progress: Progress
) -> Quality:
    some = pairs[spread(len(pairs.driving), count)]
    decoded = decode_pairs(codec, coded, some, steps, partial(progress, label=f"{steps} steps"))
    return measure_quality(decoded, clips, some, steps)


def _content_from(
    codec: Codec, coded: CodedClips, judges: Judges, pairs: Pairs, frames: int, progress: Progress
) -> ContentResult:
    """The pairs with contents encoded anew from `frames` frames each, under the same codes."""
    clips, config = judges.clips, codec.config
    fewer = replace(config, content=replace(config.content, frames=frames))
    encoder = Codec(open_session(replace(codec.folder, config=fewer), codec.device))
    needed = np.unique(pairs.content)
    found = code_clips(encoder, clips.frames[needed], partial(progress, label=f"content from {frames}"))
    contents = list(coded.contents)
    for i, content in zip(needed, found.contents):
        contents[i] = content
    decoded = decode_pairs(codec, replace(coded, contents=tuple(contents)), pairs)
    accuracy, _ = judge_pairs(decoded, clips, pairs, judges.judge, judges.classifier)
    size = float(np.mean([s.content for s in found.sizes]))
    return ContentResult(frames, size, accuracy, measure_quality(decoded, clips, pairs, config.diffusion.steps))


def _list_misses(
    clips: ClipSet, pairs: Pairs, verdict: Verdict, decoded: np.ndarray, judge: Judge, out: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Lines on all misses, and the names of the pictures drawn of the first ones."""
    missed = np.flatnonzero(~(verdict.frames_right.all((1, 2)) & verdict.clips_right.all(1)))
    names = []
    for i in missed[:MISS_PICTURES]:
        names.append(f"miss-{pairs.driving[i]:04d}.png")
        draw_miss(clips, pairs, verdict, decoded, judge, i, out / names[-1])
    return tuple(describe_miss(clips, pairs, verdict, i) for i in missed), tuple(names)

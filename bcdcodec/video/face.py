"""Where the faces are in a video: a steady square around one, as the default model saw people in training."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from bcdcodec.errors import MissingDetectorError, VideoError
from bcdcodec.video.detector import Face, find_detector, look, look_in_way, turned_place
from bcdcodec.video.geometry import Crop
from bcdcodec.video.pictures import sample_pictures
from bcdcodec.video.pipes import is_pipe
from bcdcodec.video.source import Source

SAMPLES = 12  # pictures of the clip that are looked at
LEAST_SHARE = 0.25  # of them must show the face
HARD_TRIES = 3  # pictures that are looked at in every turn, if need be; the others then as most of these
DETECTOR_SIDE = 480  # pixels of the shorter side, in which faces from 80 pixels on are found
FACE_WIDTH = 0.49  # of the square's side, and where its middle is: medians of the faces the default model is trained on
FACE_X, FACE_Y = 0.5, 0.55
MARGIN = 1.5  # widths of the face that stay in the square wherever it moves
SAME = 1.5  # widths of a face that it moves at most from one sample to the next
SMALL = 0.75  # of the coded picture's side; a square of fewer pixels is enlarged so much that it is worth a note

Box = tuple[float, float, float]  # x and y of a face's middle and its width, pixels


@dataclass
class _Track:
    """The places of one face, in the samples that show it."""

    boxes: list[Box] = field(default_factory=list)
    turns: Counter[int] = field(default_factory=Counter)  # degrees clockwise that would make it upright
    equalised: int = 0  # samples in which it was found only after equalisation

    @property
    def turn(self) -> int:
        """Degrees clockwise that would make it upright in most samples."""
        return self.turns.most_common(1)[0][0]

    def turned_boxes(self, width: int, height: int) -> list[Box]:
        """Returns its places in pictures of `width` x `height` pixels that are turned so."""
        return [(*turned_place(x, y, self.turn, width, height), w) for x, y, w in self.boxes]


@dataclass(frozen=True)
class FaceChoice:
    """The square to code, in pixels of the turned pictures, and what the user should know of it."""

    crop: Crop | None  # None: the centre
    notes: tuple[str, ...] = ()  # one line each
    turn: int = 0  # degrees clockwise by which the pictures must be turned for an upright face


def choose_face(source: Source, number: int | None, coded_side: int, video_track: int | None = None) -> FaceChoice:
    """Returns the square around a face; `number`: which, from 1 at the left; None for the largest.

    Without a detector or a face it is the centre's, with a note. `coded_side`: pixels of the model's pictures.
    `video_track`: its number, from 1; None for the default one.
    VideoError for a number that is not there, a source that can be read only once, and as for `read_frames`.
    """
    name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "the given file object"
    if is_pipe(source):
        raise VideoError(
            f"{name} is a pipe, and a face is looked for before the video is read: give a file, or --crop x,y,w,h"
        )
    try:
        tracks, width, height = find_faces(source, video_track)
    except MissingDetectorError as error:
        return FaceChoice(None, (f"{error}; the centre square of {name} is coded",))
    if number is not None and not 1 <= number <= len(tracks):
        raise VideoError(f"{name} shows {len(tracks)} faces, number {number} was asked for: they count from the left")
    if not tracks:
        return FaceChoice(None, (f"no face is found in {name}: the centre square is coded",))
    largest = max(range(len(tracks)), key=lambda i: _width(tracks[i]))
    chosen = largest if number is None else number - 1
    face, turn = tracks[chosen], tracks[chosen].turn
    square = square_around(face.turned_boxes(width, height), *((height, width) if turn % 180 else (width, height)))
    notes = [f"the face in {name} lies in {square} (x, y, width, height), which is coded"]
    if len(tracks) > 1 and number is None:
        notes.append(
            f"{name} shows {len(tracks)} faces: number {chosen + 1} from the left, the largest, is coded; "
            "--face N for another"
        )
    if turn:
        notes[0] = (
            f"{name} is turned by {turn} degrees clockwise, as its face is not upright (--crop x,y,w,h turns nothing); "
            f"then {notes[0]}"
        )
    if face.equalised > len(face.boxes) / 2:
        notes.append(f"{name} is too dark, or has too little contrast, for a good picture of the face")
    if square.w < SMALL * coded_side:
        notes.append(
            f"the face in {name} is small: its square has {square.w} pixels a side, pictures of {coded_side} are coded"
        )
    return FaceChoice(square, tuple(notes), turn)


def find_faces(source: Source, video_track: int | None = None) -> tuple[list[_Track], int, int]:
    """Returns the faces that enough samples of a video show, from left to right, and its width and height in pixels."""
    detect = find_detector()
    tracks: list[_Track] = []
    pictures, width, height = 0, 0, 0
    ways: Counter[tuple[int, bool]] = Counter({(0, False): 0})  # turn and equalisation, and how well they did
    for picture in sample_pictures(source, SAMPLES, DETECTOR_SIDE, video_track):
        pictures += 1
        width, height = picture.width, picture.height
        if pictures <= HARD_TRIES:
            sight = look(detect, picture.image)
            ways[sight.turn, sight.equalised] += sight.score
        else:
            sight = look_in_way(detect, picture.image, *ways.most_common(1)[0][0])
        factor = picture.width / picture.image.shape[1]
        for face, track in _matched(sight.faces, tracks, factor):
            track.boxes.append((face.x * factor, face.y * factor, face.width * factor))
            track.turns[sight.turn] += 1
            track.equalised += sight.equalised
    steady = [track for track in tracks if len(track.boxes) >= max(1.0, LEAST_SHARE * pictures)]
    for track in steady:
        track.boxes = _of_one_face(track.boxes)
    steady.sort(key=lambda track: np.median([x for x, _, _ in track.turned_boxes(width, height)]))
    return steady, width, height


def square_around(faces: list[Box], width: int, height: int) -> Crop:
    """Returns the square inside `width` x `height` pixels for a face that was seen at these places."""
    x, y, w = np.array(faces).T
    spread = max(np.ptp(x), np.ptp(y))
    side = max(np.median(w) / FACE_WIDTH, spread + MARGIN * w.max())
    side = max(1, int(min(round(side), width, height)))
    left = round((x.min() + x.max()) / 2 - FACE_X * side)
    top = round((y.min() + y.max()) / 2 - FACE_Y * side)
    return Crop(min(max(left, 0), width - side), min(max(top, 0), height - side), side, side)


def _matched(faces: tuple[Face, ...], tracks: list[_Track], factor: float) -> list[tuple[Face, _Track]]:
    """Pairs each face of a sample with the nearest track it may belong to, no track twice; adds tracks for others."""
    pairs, before = [], list(tracks)
    near = []
    for i, face in enumerate(faces):
        for track in before:
            x, y, width = track.boxes[-1]
            away = max(abs(face.x * factor - x), abs(face.y * factor - y)) / width
            if away < SAME and 0.5 < face.width * factor / width < 2:
                near.append((away, i, track))
    free = set(range(len(faces)))
    for _, i, track in sorted(near, key=lambda item: item[0]):
        if i in free and any(track is other for other in before):
            free.remove(i)
            before = [other for other in before if other is not track]
            pairs.append((faces[i], track))
    for i in sorted(free):
        tracks.append(_Track())
        pairs.append((faces[i], tracks[-1]))
    return pairs


def _of_one_face(found: list[Box]) -> list[Box]:
    """Returns the detections near the usual place; others are other people or mistakes."""
    if not found:
        return []
    x, y, w = np.median(np.array(found), axis=0)
    near = [
        box for box in found if abs(box[0] - x) < SAME * w and abs(box[1] - y) < SAME * w and w / 2 < box[2] < 2 * w
    ]
    return near or found


def _width(track: _Track) -> float:
    return float(np.median([width for _, _, width in track.boxes]))

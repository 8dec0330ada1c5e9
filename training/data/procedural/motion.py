"""How the head moves: the parameters of one frame, and random talking motion."""

from __future__ import annotations

import numpy as np

MOTION_PARAMETERS: tuple[str, ...] = (
    "yaw",  # radians, positive turns the nose to the right of the picture
    "pitch",  # radians, positive looks up
    "roll",  # radians, positive is clockwise in the picture
    "tx",  # head place, fraction of the picture width, positive right
    "ty",  # fraction of the picture height, positive down
    "scale",  # factor of head size, 1 at rest
    "blink_left",  # 0 open, 1 closed; left and right are those of the picture
    "blink_right",
    "gaze_x",  # -1..1, positive right
    "gaze_y",  # -1..1, positive down
    "brow_left",  # -1 frown, 0 rest, 1 raised
    "brow_right",
    "mouth_open",  # 0 closed, 1 wide open
    "mouth_width",  # -1 pursed, 0 rest, 1 stretched
    "smile",  # -1 sad, 0 rest, 1 broad smile
)

_REST = np.array([1.0 if name == "scale" else 0.0 for name in MOTION_PARAMETERS], np.float32)
_INDEX = {name: i for i, name in enumerate(MOTION_PARAMETERS)}


def sample_motion(rng: np.random.Generator, frames: int, fps: float = 25.0) -> np.ndarray:
    """Random natural talking motion, float32 [t, p] in the order of MOTION_PARAMETERS.

    Clips differ in liveliness, amount of speech and resting pose; `fps` is in frames a second.
    """
    out = np.tile(_REST, (frames, 1)).astype(np.float64)  # [t, p]
    lively = rng.uniform(0.15, 1.0)

    def put(name: str, values: np.ndarray) -> None:
        out[:, _INDEX[name]] = values

    def drift(limit: float, seconds: float, rest: float) -> np.ndarray:
        centre = rest * limit * rng.uniform(-1.0, 1.0)
        return np.clip(centre + limit * 0.6 * lively * _smooth_noise(rng, frames, fps, seconds), -limit, limit)

    put("yaw", drift(0.6, rng.uniform(0.4, 1.5), 0.6))
    put("pitch", drift(0.35, rng.uniform(0.3, 1.2), 0.4))
    put("roll", drift(0.3, rng.uniform(0.5, 1.5), 0.3))
    put("tx", drift(0.08, rng.uniform(0.6, 2.0), 0.5))
    put("ty", drift(0.08, rng.uniform(0.6, 2.0), 0.4))
    put("scale", 1.0 + drift(0.1, rng.uniform(1.0, 3.0), 0.6))

    speech = _speech_envelope(rng, frames, fps)
    put("mouth_open", _syllables(rng, frames, fps) * speech * rng.uniform(0.45, 1.1))
    put("mouth_width", np.clip(0.5 * speech * _smooth_noise(rng, frames, fps, 0.15) + rng.uniform(-0.3, 0.3), -1, 1))
    put("smile", np.clip(rng.uniform(-0.3, 0.7) + 0.4 * lively * _smooth_noise(rng, frames, fps, 1.2), -1, 1))
    brows = rng.uniform(-0.3, 0.4) + 0.5 * lively * _smooth_noise(rng, frames, fps, 0.5)
    apart = 0.25 * lively * _smooth_noise(rng, frames, fps, 0.8)
    put("brow_left", np.clip(brows + apart, -1, 1))
    put("brow_right", np.clip(brows - apart, -1, 1))

    left, right = _blinks(rng, frames, fps)
    squint = rng.uniform(0.0, 0.2)
    put("blink_left", np.maximum(left, squint))
    put("blink_right", np.maximum(right, squint))
    gaze = _saccades(rng, frames, fps)  # [t, 2]
    put("gaze_x", gaze[:, 0])
    put("gaze_y", gaze[:, 1])
    out[:, _INDEX["mouth_open"]] = np.clip(out[:, _INDEX["mouth_open"]], 0, 1)
    return out.astype(np.float32)


def _smooth_noise(rng: np.random.Generator, frames: int, fps: float, seconds: float) -> np.ndarray:
    """Noise of unit variance whose correlation lasts about `seconds`, [t]."""
    width = max(seconds * fps, 1.0)
    reach = int(3 * width) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    white = rng.standard_normal(frames + 2 * reach)
    return np.convolve(white, kernel / np.sqrt((kernel**2).sum()), "valid")


def _speech_envelope(rng: np.random.Generator, frames: int, fps: float) -> np.ndarray:
    """1 while speaking, 0 in pauses, with soft edges, [t]."""
    envelope, at, speaking = np.zeros(frames), 0, bool(rng.random() < 0.8)
    while at < frames:
        stay = max(int(fps * (rng.uniform(0.6, 3.0) if speaking else rng.uniform(0.2, 1.2))), 1)
        envelope[at : at + stay] = speaking
        at, speaking = at + stay, not speaking
    edge = np.hanning(max(int(0.16 * fps), 1) + 2)
    return np.convolve(np.pad(envelope, len(edge) // 2, "edge"), edge / edge.sum(), "same")[len(edge) // 2 :][:frames]


def _syllables(rng: np.random.Generator, frames: int, fps: float) -> np.ndarray:
    """Mouth opening of a row of syllables at 3-6 Hz, each with its own strength, 0..1, [t]."""
    time, opening, at = np.arange(frames) / fps, np.zeros(frames), -rng.uniform(0.0, 0.3)
    while at < frames / fps:
        length = 1.0 / rng.uniform(3.0, 6.0)
        phase = np.clip((time - at) / length, 0.0, 1.0)
        opening = np.maximum(opening, rng.uniform(0.15, 1.0) * np.sin(np.pi * phase) ** 2)
        at += length * rng.uniform(0.75, 1.0)
    return opening


def _blinks(rng: np.random.Generator, frames: int, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Closing of the left and the right lid, 0..1, each [t]; about one in twelve is a wink."""
    time, left, right = np.arange(frames) / fps, np.zeros(frames), np.zeros(frames)
    at = rng.uniform(0.0, 3.0)
    while at < frames / fps:
        length = rng.uniform(0.13, 0.2)
        shut = np.clip(1.4 - 1.4 * np.abs(time - at) / length, 0.0, 1.0)
        wink = rng.random() / (1 / 12)
        left = np.maximum(left, shut * (wink >= 0.5))
        right = np.maximum(right, shut * (not 0.5 <= wink < 1.0))
        at += rng.uniform(1.6, 5.0)
    return left, right


def _saccades(rng: np.random.Generator, frames: int, fps: float) -> np.ndarray:
    """Gaze that rests and jumps within about 40 ms, -1..1, [t, 2]."""
    gaze, at, spread = np.zeros((frames, 2)), 0, rng.uniform(0.1, 0.5)
    while at < frames:
        stay = max(int(fps * rng.uniform(0.3, 2.0)), 1)
        gaze[at : at + stay] = np.clip(rng.normal(0.0, [spread, 0.6 * spread]), -1, 1)
        at += stay
    gaze[1:] = 0.75 * gaze[1:] + 0.25 * gaze[:-1]
    return gaze

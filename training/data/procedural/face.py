"""Painting the moving parts of a face on its front: eyes, brows, lips and the inside of the mouth."""

from __future__ import annotations

import numpy as np

from bcdcodec.training.data.procedural.geometry import Array, cover, smooth
from bcdcodec.training.data.procedural.identity import Identity

JAW_DROP = 0.17  # head units the chin sinks at full mouth opening


class Paint:
    """Linear-light albedo [3, n], gloss [n] and slopes [n] of the face pixels, painted over in place."""

    def __init__(self, x: Array, y: Array, albedo: Array, gloss: Array, slope_x: Array, slope_y: Array, pixel: float):
        self.x, self.y, self.albedo, self.gloss = x, y, albedo, gloss
        self.slope_x, self.slope_y = slope_x, slope_y
        self.pixel = pixel  # width of a picture pixel, head units

    def within(self, x0: float, x1: float, y0: float, y1: float) -> Array:
        """Indices of the pixels in a box of the face."""
        return np.nonzero((self.x > x0) & (self.x < x1) & (self.y > y0) & (self.y < y1))[0]

    def over(self, at: Array, colour, alpha: Array) -> None:
        """Lay a colour (three floats or [3, n]) over the pixels `at` with opacity alpha [n]."""
        colour = np.asarray(colour, np.float32)
        colour = colour[:, None] if colour.ndim == 1 else colour
        part = self.albedo[:, at]
        self.albedo[:, at] = part + (colour - part) * alpha

    def flatten(self, at: Array, alpha: Array, gloss: float) -> None:
        """Hide the skin's relief and gloss under something painted with opacity alpha."""
        self.slope_x[at] *= 1 - alpha
        self.slope_y[at] *= 1 - alpha
        self.gloss[at] += (gloss - self.gloss[at]) * alpha


def linear(colour) -> Array:
    return np.square(np.asarray(colour, np.float32))


def eye(paint: Paint, i: Identity, side: int, blink: float, gaze: tuple[float, float], brow: float) -> None:
    """One eye; side is -1 for the left of the picture, +1 for the right."""
    cx, w, px = side * i.eye_spacing, i.eye_width, paint.pixel
    at = paint.within(cx - 2.0 * w, cx + 2.0 * w, i.eye_y - 0.2, i.eye_y + 0.16)
    if not len(at):
        return
    x = paint.x[at] - cx
    out = x * side  # towards the temple
    y = paint.y[at] - i.eye_y + i.eye_tilt * out
    k = np.clip(out / w, -1.0, 1.0)
    shape = np.sqrt(np.maximum(1 - k * k, 0.0))
    arch = shape * (1.0 - 0.18 * k)
    open_height = i.eye_height * (1.0 + 0.18 * max(brow, 0.0))
    bottom = 0.62 * i.eye_height * shape * (1 + 0.15 * k) * (1 - 0.25 * blink)
    top = -open_height * 1.15 * arch
    top = top + (bottom * 0.9 - top) * blink
    ends = w * (1.0 - np.abs(out) / w)
    inside = np.minimum(cover(np.minimum(y - top, bottom - y), px), cover(ends, 2 * px))

    lid = (
        smooth(y, -2.2 * i.eye_height, -1.0 * i.eye_height)
        * cover(top - y, px)
        * smooth(np.abs(out), 1.35 * w, 0.8 * w)
    )
    tint = linear(i.skin) * np.array([0.62, 0.46, 0.44], np.float32)
    paint.over(at, tint, lid * (0.16 + 0.5 * i.lid_shadow))
    crease_y = -1.15 * open_height * arch - 0.028 + 0.018 * blink
    near = smooth(np.abs(out), 1.2 * w, 0.7 * w)
    paint.over(
        at, tint * 0.4, 0.55 * near * smooth(np.abs(y - crease_y), max(0.016, 0.8 * px), 0.0) * (1 - 0.3 * blink)
    )

    white = np.array([0.80, 0.77, 0.74], np.float32)[:, None] * (
        1.0 - 0.45 * smooth(y - top, 0.045, 0.0) - 0.30 * np.abs(k) ** 3
    )
    white[1:] *= 1 - 0.12 * smooth(out, -0.6 * w, -w)  # pink corner by the nose
    gx, gy = gaze[0] * 0.50 * w, gaze[1] * 0.35 * i.eye_height + 0.35 * i.eye_height * blink
    radius = 0.070 * (w / 0.135) ** 0.5
    dx, dy = x - gx, y - gy + 0.10 * i.eye_height
    r = np.sqrt(dx * dx + dy * dy)
    ring = smooth(r, 0.35 * radius, 0.8 * radius) * smooth(r, radius, 0.8 * radius)
    iris = (
        linear(i.iris)[:, None]
        * (0.45 + 1.0 * ring + 0.9 * smooth(dy, -0.5 * radius, radius))
        * smooth(r, 1.25 * radius, 0.75 * radius)
    )
    iris = iris * (1 - 0.5 * smooth(y - top, 0.035, 0.0))
    ball = white + (iris - white) * cover(radius - r, px)
    ball = ball * (1 - 0.97 * cover(0.42 * radius - r, px))
    spark = np.hypot(dx - 0.025 * (1 if i.light_x > 0 else -1), dy + 0.026)
    ball = ball + (1.0 - ball) * (0.95 * cover(0.017 - spark, px))
    paint.over(at, ball, inside)
    paint.flatten(at, inside, 0.9)

    lash = np.array([0.012, 0.009, 0.008], np.float32)
    edge = np.minimum(smooth(out, -1.05 * w, -0.7 * w), smooth(out, 1.22 * w, 0.95 * w))
    thick = 0.012 + 0.014 * i.lashes * (0.6 + 0.4 * k)
    wing = -0.06 * np.clip(out - 0.8 * w, 0, None)
    upper = np.minimum(cover(y - top + thick - wing, px), cover(top + 0.006 - y, px))
    paint.over(at, lash, upper * edge * (0.6 + 0.38 * i.lashes))
    lower = np.minimum(cover(y - bottom + 0.003, px), cover(bottom + 0.010 - y, px))
    paint.over(at, lash + tint * 0.25, lower * edge * (0.25 + 0.3 * i.lashes) * (1 - blink))
    paint.over(at, tint * 0.5, 0.35 * edge * smooth(np.abs(y - bottom - 0.045), 0.02, 0.0))


def brow(paint: Paint, i: Identity, side: int, lift: float, hairs: Array) -> None:
    """One eyebrow; `hairs` is noise in -1..1 at every face pixel [n]."""
    cx, span, px = side * (i.eye_spacing + 0.01), 0.20, paint.pixel
    base = i.eye_y - i.brow_gap - (0.085 * lift if lift > 0 else 0.05 * lift)
    at = paint.within(cx - 1.4 * span, cx + 1.4 * span, base - 0.16, base + 0.16)
    if not len(at):
        return
    out = (paint.x[at] - cx) * side
    k = out / span
    frown = min(lift, 0.0)
    middle = (
        base - i.brow_arch * (1 - (k - 0.25) ** 2) - i.brow_tilt * out * 0.5 - frown * 0.05 * np.clip(0.2 - k, 0, 1)
    )
    thick = i.brow_thickness * np.clip(1.05 - 0.55 * smooth(k, 0.0, 1.1), 0.1, 1.0)
    distance = thick - np.abs(paint.y[at] - middle)
    soft = 0.014 + px
    ends = smooth(k, -1.12, -0.8) * smooth(k, 1.1, 0.8)
    alpha = np.clip(0.5 + distance / soft, 0, 1) * ends * np.clip(0.82 + 0.3 * hairs[at], 0, 1)
    paint.over(at, linear(i.brow_colour) * 0.8, alpha)
    paint.flatten(at, 0.5 * alpha, 0.2)


def mouth(paint: Paint, i: Identity, opening: float, width: float, smile: float) -> None:
    """Lips, and teeth, tongue and dark behind them when open."""
    px = paint.pixel
    half = i.mouth_half_width * (1.0 + 0.18 * width + 0.14 * max(smile, 0.0) - 0.10 * opening * (1 - max(width, 0.0)))
    at = paint.within(-1.5 * half, 1.5 * half, i.mouth_y - 0.28, i.mouth_y + 0.42)
    if not len(at):
        return
    x = paint.x[at]
    k = np.clip(np.abs(x) / half, 0.0, 1.0)
    corner = -0.075 * smile * k * k + 0.02 * smile
    y = paint.y[at] - i.mouth_y - corner
    bow = np.sqrt(np.maximum(1 - k * k, 0.0))
    full = 1.0 - 0.16 * width - 0.18 * max(smile, 0.0) + 0.25 * max(-width, 0.0)
    contact = 0.012 * (1 - k * k) - 0.008 * np.exp(-((x / 0.05) ** 2))
    upper = contact - 0.035 * opening * bow
    lower = contact + (0.175 * opening) * bow**0.8
    cupid = 1.0 - 0.28 * np.exp(-((x / 0.035) ** 2)) + 0.08 * np.exp(-(((np.abs(x) - 0.07) / 0.045) ** 2))
    top = upper - i.lip_upper * full * (1 - k**1.6) * cupid * (1 - 0.15 * opening)
    bottom = lower + i.lip_lower * full * (1 - k**2.2) * (1 - 0.2 * opening)
    ends = cover(half - np.abs(x), 2 * px)

    # the skin around: shade below the lower lip, dimples at the corners
    paint.over(
        at,
        linear(i.skin) * 0.35,
        0.32 * smooth(np.abs(y - bottom - 0.025), 0.035, 0.0) * smooth(np.abs(x), half, 0.3 * half),
    )
    dimple = np.exp(-(((np.abs(x) - half) / 0.028) ** 2) - ((y - contact) / 0.03) ** 2)
    paint.over(at, linear(i.skin) * 0.25, (0.45 + 0.15 * abs(smile)) * dimple)

    lips = np.minimum(np.minimum(cover(y - top, 1.5 * px), cover(bottom - y, 1.5 * px)), ends)
    centre_low, centre_up = 0.5 * (lower + bottom), 0.5 * (upper + top)
    tone = np.where(y < 0.5 * (upper + lower), 0.72, 1.0) * (
        1.0 + 0.10 * np.cos(x * 160.0) * smooth(np.full_like(x, px), 0.02, 0.008)
    )
    paint.over(at, linear(i.lips)[:, None] * tone, lips * 0.92)
    paint.flatten(at, 0.6 * lips, 0.75)
    # round lips: the slope towards the viewer changes sign across each lip
    below = y > 0.5 * (upper + lower)
    curve = np.where(
        below, (y - centre_low) / np.maximum(bottom - lower, 0.02), (y - centre_up) / np.maximum(upper - top, 0.02)
    )
    paint.slope_y[at] -= 0.9 * np.clip(curve, -0.6, 0.6) * lips

    gap = lower - upper
    inside = np.minimum(np.minimum(cover(y - upper, px), cover(lower - y, px)), ends) * smooth(gap, 0.0, 0.012)
    if opening > 0.01:
        depth = smooth(y - upper, -0.02, 0.10)
        cavity = np.array([0.10, 0.018, 0.016], np.float32)[:, None] * (1.0 - 0.65 * depth)
        tongue = smooth(((x / (0.62 * half)) ** 2 + ((y - lower - 0.012) / (0.03 + 0.055 * opening)) ** 2), 1.1, 0.6)
        cavity = cavity + (
            np.array([0.40, 0.10, 0.10], np.float32)[:, None] * (0.75 + 0.25 * np.cos(x * 18)) - cavity
        ) * (0.85 * tongue * smooth(np.float32(opening), 0.1, 0.5))
        ivory = np.array([0.74, 0.70, 0.60], np.float32)[:, None] * (1 - 0.55 * np.clip(np.abs(x) / half, 0, 1) ** 2)
        gaps = 1 - 0.22 * smooth(np.abs((np.abs(x) / 0.052) % 1.0 - 0.5), 0.40, 0.5) * smooth(
            np.full_like(x, px), 0.03, 0.008
        )
        ivory = ivory * gaps * (1 - 0.55 * smooth(y - upper, 0.022, 0.0))
        reach = 0.036 + 0.012 * max(smile, 0.0)
        cavity = cavity + (ivory - cavity) * cover(
            np.minimum(upper + reach * (1 - 0.35 * k * k) - y, 0.86 * half - np.abs(x)), px
        )
        low_teeth = cover(np.minimum(y - lower + 0.022 * (1 - k * k), 0.6 * half - np.abs(x)), px) * smooth(
            np.float32(opening), 0.45, 0.8
        )
        cavity = cavity + (ivory * 0.75 - cavity) * low_teeth
        paint.over(at, cavity, inside)
        paint.flatten(at, inside, 0.25)
    line = smooth(np.abs(y - contact), max(0.012, px), 0.0) * ends * (1 - smooth(np.float32(opening), 0.02, 0.12))
    paint.over(at, np.array([0.05, 0.012, 0.012], np.float32) + linear(i.lips) * 0.12, 0.85 * line)

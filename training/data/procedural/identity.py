"""Who is in the picture: every property of a procedural head that motion never changes.

Head units: the crown of the bare skull is at y = -1, the chin at y = +1; x points right in the picture,
y down, z to the viewer. Picture units: the picture spans -1..1 in both directions. Colours are sRGB in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Identity:
    """One person, one outfit, one room, one light."""

    # head, head units
    head_size: float  # half the crown-to-chin height, picture units
    head_x: float  # resting place of the head centre, picture units
    head_y: float
    width: float  # half width at the cheekbones
    taper: float  # how much the width shrinks towards the chin, fraction
    square: float  # 0 oval jaw, 1 square jaw
    cheek: float  # cheekbone prominence, fraction of the width
    forehead: float  # how much the width shrinks towards the crown, fraction
    chin: float  # how far the chin comes forward, fraction of the depth
    ear: float  # ear size, 1 is average
    neck: float  # half width of the neck
    # skin
    skin: Rgb
    blush: float  # 0..1
    freckles: float  # 0..1
    gloss: float  # 0..1
    age: float  # 0..1, strength of folds and eye bags
    # eyes and brows, head units
    eye_spacing: float  # eye centre to the middle line
    eye_y: float
    eye_width: float  # half width of the opening
    eye_height: float  # half height of the opening
    eye_tilt: float  # slope, positive lifts the outer corner
    lashes: float  # 0..1
    lid_shadow: float  # 0..1, make-up
    iris: Rgb
    brow_colour: Rgb
    brow_thickness: float
    brow_arch: float
    brow_tilt: float
    brow_gap: float  # brow height above the eye
    # nose and mouth, head units
    nose_length: float
    nose_width: float
    nose_height: float
    mouth_y: float
    mouth_half_width: float
    lip_upper: float  # thickness
    lip_lower: float
    lips: Rgb
    # hair, head units
    hair: float  # 0 bald, 1 full
    hair_colour: Rgb
    hair_volume: float  # shell thickness above the skull
    hair_front: float  # y of the front hairline
    hair_fringe: float  # y the fringe hangs down to, below hair_front when there is a fringe
    hair_part: float  # -1..1, side the fringe is combed to
    hair_recess: float  # receding temples
    hair_side: float  # y the sideburns or side locks hang down to
    hair_covers_ears: float  # 0..1
    hair_back: float  # y the back hair hangs down to
    hair_wave: float  # 0 straight, 1 curly
    hair_shine: float
    # facial hair and glasses
    beard: float  # 0..1 density
    stubble: float  # 0..1 density
    moustache: float  # 0..1 density
    glasses: float  # 0 none, 1 worn
    glasses_size: float  # half width of a lens
    glasses_round: float  # 0 rectangular, 1 round
    glasses_thick: float  # rim, head units
    glasses_colour: Rgb
    # clothes, picture units
    clothes: Rgb
    clothes_second: Rgb  # shirt under the jacket, or pattern
    collar: int  # 0 crew neck, 1 v-neck, 2 shirt collar, 3 jacket over shirt
    pattern: float  # 0..1 strength of stripes
    shoulder_y: float  # height of the shoulder line next to the neck
    shoulder_slope: float
    # room and light
    background: int  # 0 gradient, 1 soft blobs, 2 panels, 3 shelves
    background_a: Rgb
    background_b: Rgb
    background_c: Rgb
    light_x: float  # direction towards the light; z is 1 before normalisation
    light_y: float
    light: float  # intensity
    ambient: float
    light_colour: Rgb
    texture_seed: int

    @staticmethod
    def sample(rng: np.random.Generator) -> Identity:
        """A random person; the same generator state gives the same person."""

        def u(lo: float, hi: float) -> float:
            return float(rng.uniform(lo, hi))

        def chance(p: float) -> bool:
            return bool(rng.random() < p)

        masculine = u(0.0, 1.0)
        skin = _skin(rng)
        hair_colour = _hair_colour(rng, dark=sum(skin) < 1.5)
        bald = chance(0.10 * (masculine > 0.45) * 2)
        long_hair = not bald and chance(0.85 if masculine < 0.45 else 0.08)
        medium = not bald and not long_hair and chance(0.3)
        fringe = not bald and chance(0.35 if long_hair else 0.25)
        beard = masculine > 0.5 and chance(0.3)
        hair_front = u(-0.72, -0.54)
        glasses_dark = chance(0.7)
        shade = 0.45 + 0.55 * sum(skin) / 3  # lips darken with the skin
        natural_lips = tuple(_mix(skin, (0.76 * shade, 0.30 * shade, 0.32 * shade), u(0.5, 0.8)))
        painted_lips = (u(0.55, 0.85), u(0.08, 0.3), u(0.15, 0.35))
        return Identity(
            head_size=u(0.62, 0.71),
            head_x=u(-0.05, 0.05),
            head_y=u(-0.10, -0.02),
            width=u(0.66, 0.76) + 0.02 * masculine,
            taper=u(0.06, 0.30) - 0.08 * masculine,
            square=u(0.1, 0.5) + 0.4 * masculine * u(0.2, 1.0),
            cheek=u(-0.01, 0.06),
            forehead=u(0.0, 0.12),
            chin=u(0.05, 0.35),
            ear=u(0.8, 1.2),
            neck=u(0.36, 0.42) + 0.10 * masculine,
            skin=skin,
            blush=u(0.0, 1.0),
            freckles=u(0.4, 1.0) if chance(0.2) else 0.0,
            gloss=u(0.1, 0.7),
            age=u(0.0, 1.0) ** 2,
            eye_spacing=u(0.275, 0.325),
            eye_y=u(-0.02, 0.07),
            eye_width=u(0.125, 0.158),
            eye_height=u(0.046, 0.070),
            eye_tilt=u(-0.08, 0.22),
            lashes=u(0.3, 0.7) + (0.3 if masculine < 0.45 else 0.0),
            lid_shadow=u(0.2, 0.9) if masculine < 0.45 and chance(0.4) else 0.0,
            iris=_iris(rng),
            brow_colour=tuple(_mix(hair_colour, (0.10, 0.07, 0.05), u(0.2, 0.7))),
            brow_thickness=u(0.018, 0.034) + 0.012 * masculine,
            brow_arch=u(0.01, 0.07),
            brow_tilt=u(-0.15, 0.15),
            brow_gap=u(0.145, 0.20),
            nose_length=u(0.34, 0.44),
            nose_width=u(0.095, 0.15),
            nose_height=u(0.16, 0.26),
            mouth_y=u(0.615, 0.675),
            mouth_half_width=u(0.20, 0.27),
            lip_upper=u(0.036, 0.066),
            lip_lower=u(0.052, 0.092),
            lips=painted_lips if masculine < 0.45 and chance(0.45) else natural_lips,
            hair=0.0 if bald and chance(0.6) else 1.0,
            hair_colour=hair_colour,
            hair_volume=u(0.02, 0.05) if bald else u(0.05, 0.14) + (u(0.0, 0.1) if chance(0.3) else 0.0),
            hair_front=-1.3 if bald else hair_front,
            hair_fringe=u(-0.36, -0.2) if fringe else hair_front - 0.5,
            hair_part=u(-1.0, 1.0),
            hair_recess=0.0 if fringe or bald else u(0.0, 0.25) * masculine,
            hair_side=u(0.7, 1.5) if long_hair else u(0.2, 0.55) if medium else u(-0.05, 0.2),
            hair_covers_ears=u(0.6, 1.0) if long_hair else u(0.2, 1.0) if medium else 0.0,
            hair_back=u(0.9, 2.0) if long_hair else u(0.55, 0.9) if medium else u(0.3, 0.6),
            hair_wave=u(0.0, 1.0),
            hair_shine=u(0.05, 0.6),
            beard=u(0.7, 1.0) if beard else 0.0,
            stubble=u(0.1, 0.8) if masculine > 0.5 and chance(0.5) else 0.0,
            moustache=u(0.5, 1.0) if beard or (masculine > 0.5 and chance(0.1)) else 0.0,
            glasses=1.0 if chance(0.22) else 0.0,
            glasses_size=u(0.18, 0.225),
            glasses_round=u(0.0, 1.0),
            glasses_thick=u(0.012, 0.03),
            glasses_colour=(u(0.02, 0.15),) * 3 if glasses_dark else (u(0.3, 0.7), u(0.2, 0.5), u(0.1, 0.4)),
            clothes=_colour(rng, 0.05, 0.85),
            clothes_second=_colour(rng, 0.5, 1.0),
            collar=int(rng.integers(4)),
            pattern=u(0.2, 1.0) if chance(0.25) else 0.0,
            shoulder_y=u(0.74, 0.84),
            shoulder_slope=u(0.16, 0.36),
            background=int(rng.integers(4)),
            background_a=_colour(rng, 0.15, 0.95),
            background_b=_colour(rng, 0.1, 0.9),
            background_c=_colour(rng, 0.1, 0.9),
            light_x=u(-1.1, 1.1),
            light_y=u(-1.1, 0.05),
            light=u(0.75, 1.1),
            ambient=u(0.3, 0.55),
            light_colour=(1.0, u(0.9, 1.0), u(0.8, 1.0)) if chance(0.6) else (u(0.88, 1.0), u(0.95, 1.0), 1.0),
            texture_seed=int(rng.integers(2**31)),
        )


def _mix(a: Rgb, b: Rgb, k: float) -> list[float]:
    return [float(x + (y - x) * k) for x, y in zip(a, b)]


def _skin(rng: np.random.Generator) -> Rgb:
    """A tone on the line pale - tan - brown - deep, with a small shift of hue."""
    tones = np.array(
        [[0.97, 0.84, 0.76], [0.91, 0.73, 0.61], [0.80, 0.60, 0.46], [0.62, 0.43, 0.31], [0.40, 0.27, 0.20]]
    )
    place = float(rng.uniform(0.0, 3.85))
    low = int(place)
    tone = tones[low] + (tones[low + 1] - tones[low]) * (place - low)
    tone = tone + rng.normal(0.0, 0.012, 3) + np.array([0.0, 0.01, 0.0]) * rng.normal()
    return tuple(float(c) for c in np.clip(tone, 0.1, 1.0))


def _hair_colour(rng: np.random.Generator, dark: bool) -> Rgb:
    tones = [
        (0.06, 0.05, 0.05),
        (0.16, 0.10, 0.07),
        (0.30, 0.18, 0.10),
        (0.45, 0.28, 0.14),
        (0.72, 0.54, 0.30),
        (0.85, 0.72, 0.48),
        (0.55, 0.22, 0.10),
        (0.62, 0.60, 0.58),
        (0.86, 0.85, 0.83),
    ]
    weights = np.array([6, 4, 1, 0.4, 0.2, 0.1, 0.2, 1, 0.5] if dark else [3, 4, 4, 3, 2, 2, 1.5, 1.5, 0.8])
    tone = tones[int(rng.choice(len(tones), p=weights / weights.sum()))]
    if rng.random() < 0.03:
        tone = tuple(rng.uniform(0.1, 0.8, 3))
    return tuple(float(c) for c in np.clip(np.array(tone) * rng.uniform(0.8, 1.25), 0.03, 0.95))


def _iris(rng: np.random.Generator) -> Rgb:
    tones = [(0.20, 0.11, 0.06), (0.33, 0.20, 0.10), (0.30, 0.34, 0.18), (0.28, 0.42, 0.58), (0.40, 0.47, 0.50)]
    tone = np.array(tones[int(rng.choice(5, p=[0.35, 0.25, 0.13, 0.17, 0.10]))])
    return tuple(float(c) for c in np.clip(tone * rng.uniform(0.8, 1.2), 0.03, 0.9))


def _colour(rng: np.random.Generator, low: float, high: float) -> Rgb:
    """A mostly muted colour with brightness in low..high."""
    hue = rng.random(3)
    hue = hue / hue.max()
    saturation = rng.uniform(0.0, 1.0) ** 1.5
    return tuple(float(c) for c in rng.uniform(low, high) * (1.0 + (hue - 1.0) * saturation))

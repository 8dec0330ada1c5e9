"""Fixed surface detail: noise, and the skin map of one identity over the front of the face."""

from __future__ import annotations

import numpy as np

from bcdcodec.training.data.procedural.geometry import Array, smooth
from bcdcodec.training.data.procedural.identity import Identity

MAP = 256  # texels of the skin map in both directions
MAP_X, MAP_Y = 1.0, 1.15  # the skin map spans -MAP_X..MAP_X and -MAP_Y..MAP_Y, head units


def noise(rng: np.random.Generator, size: int, cells: int) -> Array:
    """Periodic smooth noise in -1..1 with `cells` bumps along each side, float32 [size, size]."""
    grid = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    place = np.arange(size, dtype=np.float32) * (cells / size)
    low = place.astype(int) % cells
    k = place - np.floor(place)
    k = k * k * (3 - 2 * k)
    rows = grid[low] * (1 - k)[:, None] + grid[(low + 1) % cells] * k[:, None]
    return rows[:, low] * (1 - k) + rows[:, (low + 1) % cells] * k


def map_place(x: Array, y: Array) -> tuple[Array, Array]:
    """Texel coordinates of face points at rest."""
    return (x + MAP_X) * ((MAP - 1) / (2 * MAP_X)), (y + MAP_Y) * ((MAP - 1) / (2 * MAP_Y))


def skin_map(i: Identity) -> Array:
    """Height slopes, height, albedo factors, gloss and stubble of the face at rest, float32 [MAP, MAP, 8].

    Channels: 0 dh/dx, 1 dh/dy, 2 h, 3..5 factors of the skin's red, green, blue, 6 gloss, 7 hair growth 0..1.
    """
    rng = np.random.default_rng(i.texture_seed)
    x = np.linspace(-MAP_X, MAP_X, MAP, dtype=np.float32)[None, :]
    y = np.linspace(-MAP_Y, MAP_Y, MAP, dtype=np.float32)[:, None]
    ax = np.abs(x)

    def bump(cx: float, cy: float, sx: float, sy: float) -> Array:
        return np.exp(-(((ax - cx) * (1 / sx)) ** 2)) * np.exp(-(((y - cy) * (1 / sy)) ** 2))

    tip = i.eye_y + i.nose_length
    ramp = np.clip((y - (i.eye_y - 0.04)) / (i.nose_length - 0.03), 0, 1)
    ridge = (
        i.nose_height
        * (0.22 + 0.78 * ramp**1.3)
        * smooth(y, i.eye_y - 0.16, i.eye_y + 0.02)
        * smooth(y, tip + 0.10, tip - 0.03)
    )
    width = i.nose_width * (0.55 + 0.40 * smooth(y, i.eye_y + 0.05, tip))
    height = ridge * np.exp(-((ax / width) ** 2))
    height = height + 0.07 * bump(i.nose_width * 0.82, tip - 0.005, 0.06, 0.06)  # wings
    height = height - 0.085 * bump(i.eye_spacing - 0.02, i.eye_y, 0.15, 0.10)  # sockets
    height = height + 0.035 * bump(0.2, i.eye_y - i.brow_gap, 0.22, 0.07)
    height = height + 0.05 * bump(0.42, i.eye_y + 0.26, 0.17, 0.14)  # cheekbones
    height = height + 0.05 * bump(0.0, i.mouth_y, 0.26, 0.16)
    height = height + (0.04 + 0.06 * i.chin) * bump(0.0, 0.88, 0.17, 0.10)
    height = height - 0.030 * bump(0.0, i.mouth_y + 0.145, 0.15, 0.04)
    height = height - 0.012 * bump(0.0, (tip + i.mouth_y) / 2 + 0.03, 0.03, 0.06)  # philtrum
    fold = (
        np.exp(-(((ax - (0.17 + 0.42 * np.clip(y - tip, -0.1, 0.35))) / 0.04) ** 2))
        * smooth(y, tip - 0.06, tip + 0.06)
        * smooth(y, tip + 0.34, tip + 0.12)
    )
    height = height - (0.006 + 0.022 * i.age) * fold
    bag = np.exp(-(((y - (i.eye_y + 0.10 - 0.5 * (ax - i.eye_spacing) ** 2)) / 0.022) ** 2)) * np.exp(
        -(((ax - i.eye_spacing) / 0.11) ** 2)
    )
    height = height - (0.003 + 0.012 * i.age) * bag
    lines = sum(np.exp(-(((y - line) / 0.014) ** 2)) for line in (-0.34, -0.43, -0.52)) * smooth(ax, 0.42, 0.1)
    fine, coarse, speck = noise(rng, MAP, 64), noise(rng, MAP, 12), noise(rng, MAP, 85)
    height = height - 0.010 * i.age**2 * lines + 0.0006 * (1 + i.age) * fine
    dy, dx = np.gradient(height, 2 * MAP_Y / (MAP - 1), 2 * MAP_X / (MAP - 1))

    red = (
        bump(0.40, i.eye_y + 0.30, 0.18, 0.14) * (0.3 + 0.7 * i.blush)
        + 0.6 * bump(0.0, tip, 0.10, 0.08)
        + 0.3 * bump(0.0, 0.85, 0.2, 0.12)
    )
    dark = 0.30 * (0.25 + 0.75 * i.age) * bump(i.eye_spacing - 0.02, i.eye_y + 0.07, 0.13, 0.06)
    dark = (
        dark
        + 0.30 * bump(i.eye_spacing - 0.09, i.eye_y - 0.02, 0.08, 0.07)
        + 0.22 * fold * (0.3 + 0.7 * i.age)
        + 0.12 * bag
    )
    nostril = np.exp(-(((ax - i.nose_width * 0.47) / 0.034) ** 2 + ((y - tip - 0.048) / 0.017) ** 2))
    under = bump(0.0, tip + 0.075, i.nose_width * 1.05, 0.035)
    wing = np.exp(-(((ax - i.nose_width * 1.22) / 0.022) ** 2)) * np.exp(-(((y - tip - 0.005) / 0.05) ** 2))
    dark = dark + 0.75 * nostril + 0.28 * under + 0.25 * wing + 0.12 * bump(0.0, i.mouth_y + 0.145, 0.14, 0.035)
    freckle = (
        i.freckles
        * 0.30
        * smooth(speck, 0.35, 0.9)
        * smooth(ax, 0.6, 0.3)
        * smooth(y, i.eye_y - 0.1, i.eye_y + 0.08)
        * smooth(y, i.eye_y + 0.5, i.eye_y + 0.3)
    )
    tone = 1.0 + 0.035 * fine + 0.05 * coarse
    keep = np.clip(1 - dark, 0.05, 1)
    factors = [
        tone * keep**0.8 * (1 - 0.5 * freckle),
        tone * keep * (1 - 0.16 * red) * (1 - freckle),
        tone * keep**1.05 * (1 - 0.14 * red) * (1 - 1.2 * freckle),
    ]
    gloss = (
        0.5
        + bump(0.0, -0.35, 0.3, 0.2)
        + 0.8 * bump(0.0, tip - 0.06, 0.07, 0.1)
        + 0.5 * bump(0.36, i.eye_y + 0.2, 0.12, 0.1)
        + 0.25 * fine
    )

    edge = 0.025 * coarse
    lower = smooth(y + edge - 0.42 * (0.62 - ax) * (ax < 0.62), i.mouth_y - 0.16, i.mouth_y + 0.02) + smooth(
        ax + edge, 0.46, 0.60
    ) * smooth(y, 0.02, 0.3)
    round_mouth = smooth(((x / 0.27) ** 2 + ((y - i.mouth_y - 0.02) / 0.135) ** 2), 0.75, 1.3)
    chin_strip = smooth(ax, 0.09, 0.04) * smooth(y, i.mouth_y + 0.06, i.mouth_y + 0.12)
    moustache = (
        smooth(ax + edge - 0.3 * (y - tip - 0.1), 0.29, 0.18)
        * smooth(y + edge, tip + 0.055, tip + 0.10)
        * smooth(y + edge, i.mouth_y + 0.05, i.mouth_y - 0.02)
    )
    growth = np.clip(np.clip(lower, 0, 1) * np.maximum(round_mouth, chin_strip), 0, 1)
    density = np.maximum(growth * max(i.beard, 0.42 * i.stubble), moustache * max(i.moustache, 0.42 * i.stubble))
    density = density * (1 + 0.12 * fine + 0.15 * noise(rng, MAP, 110))
    return np.stack([dx, dy, height, *factors, gloss, density], -1).astype(np.float32)

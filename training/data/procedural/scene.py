"""What stays behind and below the head: background, neck and clothes, in picture units."""

from __future__ import annotations

import numpy as np

from bcdcodec.training.data.procedural.face import linear
from bcdcodec.training.data.procedural.geometry import Array, Pose, cover, sample, smooth
from bcdcodec.training.data.procedural.identity import Identity


def background(i: Identity, x: Array, y: Array, pixel: float) -> Array:
    """Linear-light room behind the person at picture points x, y [h, w]: [3, h, w]."""
    rng = np.random.default_rng(i.texture_seed + 1)
    a, b, c = (linear(v)[:, None, None] for v in (i.background_a, i.background_b, i.background_c))
    angle = rng.uniform(0, 2 * np.pi)
    k = smooth(x * float(np.cos(angle)) + y * float(np.sin(angle)), -1.3, 1.3)
    picture = a + (b - a) * (k * float(rng.uniform(0.2, 0.8)))
    if i.background == 1:
        for _ in range(int(rng.integers(3, 9))):
            cx, cy, r, which, strength = (float(v) for v in rng.uniform((-1, -1, 0.1, 0, 0.3), (1, 0.8, 0.6, 1, 0.9)))
            disc = smooth(np.hypot(x - cx, y - cy), r, 0.55 * r) * strength
            picture = picture + ((c if which > 0.5 else b) - picture) * disc
    elif i.background == 2:
        for _ in range(int(rng.integers(1, 4))):
            cx, cy, rx, ry, strength = (
                float(v) for v in rng.uniform((-1, -0.9, 0.2, 0.2, 0.3), (1, 0.5, 0.6, 0.8, 1.0))
            )
            soft = float(rng.uniform(0.01, 0.1))
            inside = np.minimum(rx - np.abs(x - cx), ry - np.abs(y - cy))
            picture = picture + (c - picture) * (cover(inside, soft + pixel) * strength)
            frame = smooth(np.abs(inside), 0.04 + soft, 0.02) * strength
            picture = picture + (0.5 * b - picture) * frame
    elif i.background == 3:
        rows, books = float(rng.uniform(1.2, 2.5)), float(rng.uniform(5, 12))
        row, place = np.floor(y * rows), (y * rows) % 1.0
        shift = np.sin(row * 12.9) * 3.1
        book, across = np.floor(x * books + shift), (x * books + shift) % 1.0
        pick = np.modf(np.abs(np.sin(book * 12.9898 + row * 78.233)) * 437.585)[0]
        tall = np.modf(pick * 17.3)[0] * 0.35
        soft = float(rng.uniform(0.15, 0.4))
        shape = (
            smooth(across, 0.0, soft)
            * smooth(across, 1.0, 1.0 - soft)
            * smooth(place, tall, tall + soft)
            * smooth(place, 1.0, 0.93)
        )
        picture = picture * 0.5 + (np.where(pick > 0.5, b, c) * (0.3 + 0.7 * pick) - picture * 0.5) * (shape * 0.75)
    lit = 1.0 + 0.25 * (x * i.light_x - y * 0.3) * 0.5
    return (picture * np.clip(lit, 0.5, 1.5) * (0.55 + 0.45 * i.light)).astype(np.float32)


def neck(i: Identity, pose: Pose, drop: float, x: Array, y: Array, pixel: float) -> tuple[Array, Array]:
    """Linear-light neck [3, n] and its opacity [n]: its top follows the head, its base only a little."""
    top_x, top_y = pose.project(0.0, 0.55, -0.22)
    _, chin_y = pose.project(0.0, 1.0 + drop, 0.35)
    base_x, base_y = neck_base(i, pose)
    k = np.clip((y - top_y) * (1.0 / max(base_y - top_y, 0.1)), 0.0, 1.25)
    centre = top_x + (base_x - top_x) * k
    half = i.neck * i.head_size * (0.97 + 0.22 * smooth(k, 0.55, 1.2))
    across = (x - centre) / half
    alpha = cover(half - np.abs(x - centre), pixel) * cover(y - top_y, 0.1)
    nx = np.clip(across, -1, 1)
    nz = np.sqrt(np.maximum(1 - nx * nx, 0.0))
    norm = float(1.0 / np.sqrt(i.light_x**2 + i.light_y**2 + 1))
    lambert = np.clip((nx * i.light_x * norm + nz * norm + 0.25) * 0.8, 0, 1)
    cords = 1.0 - 0.16 * np.exp(-(((np.abs(across) - 0.42 + 0.3 * (k - 0.6)) / 0.10) ** 2)) * smooth(k, 0.3, 0.9)
    pit = 1.0 - 0.10 * np.exp(-((across / 0.14) ** 2) - ((y - base_y + 0.02) / 0.035) ** 2)
    shade = smooth(y, chin_y - 0.02, chin_y + 0.22) * 0.55 + 0.42
    light = (i.ambient * 0.8 + i.light * 0.85 * lambert) * cords * pit * shade
    tint = np.stack([light, light * (0.90 + 0.10 * shade), light * (0.86 + 0.14 * shade)])
    return tint * linear(i.skin)[:, None], alpha


def neck_base(i: Identity, pose: Pose) -> tuple[float, float]:
    """Place of the pit of the neck; it gives way to a moving head by a fifth."""
    return i.head_x + 0.2 * (pose.place[0] - i.head_x), i.shoulder_y + 0.06 + 0.1 * (pose.place[1] - i.head_y)


def clothes(i: Identity, pose: Pose, x: Array, y: Array, pixel: float, grain: Array) -> tuple[Array, Array]:
    """Linear-light clothes [3, n] and their opacity [n]; `grain` is a periodic noise [h, w, 1]."""
    base_x, base_y = neck_base(i, pose)
    dx = x - base_x
    ax = np.abs(dx)
    neck_half = i.neck * i.head_size * 1.1
    far = np.clip(ax - neck_half, 0.0, None)
    shoulder = (
        base_y
        - 0.10
        + i.shoulder_slope * np.sqrt(far + 0.02)
        - i.shoulder_slope * 0.14
        + 0.55 * np.clip(far - 0.42, 0, None) ** 1.5
    )
    dip = np.clip(1 - (ax / neck_half) ** 2, 0, None)
    if i.collar == 0:
        opening = base_y - 0.10 + 0.15 * np.sqrt(dip)
    elif i.collar == 1:
        opening = base_y - 0.10 + 0.34 * np.clip(1 - ax / neck_half, 0, None)
    else:
        opening = base_y - 0.13 + 0.27 * np.clip(1 - ax / (neck_half * 0.92), 0, None)
    edge = np.where(ax < neck_half, opening, shoulder)
    alpha = cover(y - edge, 1.5 * pixel)

    h = grain.shape[0]
    fold = sample(grain, np.mod(dx * 60 + 130 + 30 * y, h - 2), np.mod(y * 26 + 40, h - 2))[0]
    weave = sample(grain, np.mod(dx * 90 + 300, h - 2), np.mod(y * 90 + 200, h - 2))[0]
    nx = np.clip(dx * 0.95, -1, 1)
    ny = -0.55 * smooth(y - shoulder, 0.28, 0.0)
    norm = float(1.0 / np.sqrt(i.light_x**2 + i.light_y**2 + 1))
    lambert = np.clip((nx * i.light_x + ny * i.light_y + 0.85) * norm, 0, 1.2)
    light = (i.ambient + 0.8 * i.light * lambert) * (1 + 0.20 * fold + 0.05 * weave)
    under = 1 - 0.35 * smooth(ax, neck_half * 1.5, neck_half * 0.3) * smooth(y, base_y + 0.16, base_y - 0.1)
    main, second = linear(i.clothes)[:, None], linear(i.clothes_second)[:, None]
    fabric = main * np.ones_like(x)
    if i.pattern > 0:
        stripe = 0.5 + 0.5 * np.clip(3 * np.sin((y if i.pattern > 0.6 else dx) * 45), -1, 1)
        fabric = fabric + (second - fabric) * (stripe * 0.7 * i.pattern)
    down = y - base_y
    if i.collar == 0:
        rib = smooth(np.abs(y - edge - 0.022), 0.03, 0.018) * (ax < neck_half)
        fabric = fabric * (1 - 0.25 * rib)
    elif i.collar >= 2:
        if i.collar == 3:
            lapel = neck_half * 0.95 - 0.62 * (down + 0.08)
            shirt = cover(lapel - ax, 2 * pixel)
            fabric = fabric + (second - fabric) * shirt
            fabric = fabric * (1 - 0.45 * smooth(np.abs(ax - lapel - 0.01), 0.03, 0.0))
        flap = np.minimum(y - opening, opening + 0.13 - 0.12 * (ax / neck_half) - y)
        cloth = second if i.collar == 3 else main * 1.12
        fabric = fabric + (cloth - fabric) * (cover(flap, 2 * pixel) * (ax < neck_half * 1.1))
        fabric = fabric * (
            1 - 0.5 * smooth(np.abs(opening + 0.135 - 0.12 * (ax / neck_half) - y), 0.025, 0.0) * (ax < neck_half * 1.1)
        )
        fabric = fabric * (1 - 0.35 * smooth(ax, 0.012 + pixel, 0.0) * (down > 0.1))
    fabric = fabric * (1 - 0.3 * smooth(y - edge, 0.03, 0.0))
    return fabric * (light * under), alpha

"""Which of the 58 numbers of base motion each part of a face moves by. Needs no torch."""

BLENDSHAPES = 52  # the first numbers; then pitch, yaw, place (x, y), size, roll
PARTS = {
    "pose": range(52, 58),
    "mouth": (0, *range(6, 9), *range(23, 52)),  # also cheeks and nose; the first is the neutral one
    "eyes": range(9, 23),
    "brows": range(1, 6),
}
# Numbers of expression that change places in a mirror, and those that change their sign: yaw.
LEFT_RIGHT = (
    (1, 2), (4, 5), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16), (17, 18), (19, 20), (21, 22), (24, 26), (28, 29),
    (30, 31), (33, 39), (34, 35), (36, 37), (44, 45), (46, 47), (48, 49), (50, 51),
)  # fmt: skip
YAW = 53

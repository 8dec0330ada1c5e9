"""Which of the 58 numbers of base motion each part of a face moves by. Needs no torch."""

BLENDSHAPES = 52  # the first numbers; then pitch, yaw, place (x, y), size, roll
PARTS = {
    "pose": range(52, 58),
    "mouth": (0, *range(6, 9), *range(23, 52)),  # also cheeks and nose; the first is the neutral one
    "eyes": range(9, 23),
    "brows": range(1, 6),
}

"""Content profile learned of the second reader, from section 15 of format-spec.md, with the standard library only."""

FEATURES = [("O", 1, 1), ("O", 2, 2), ("O", 3, 3), ("O", 4, 4), ("O", 8, 8), ("O", 5, 7), ("O", 9, 24), ("O", 25, None)]
FEATURES += [("B", 1, 1), ("B", 2, 2), ("B", 3, 3), ("B", 4, 8), ("B", 9, 24), ("D", 1, 1), ("D", 2, 8), ("D", 9, 24)]
AROUND = {"O": [(0, 0)], "B": [(-1, 0), (1, 0), (0, -1), (0, 1)], "D": [(-1, -1), (-1, 1), (1, -1), (1, 1)]}


def logarithm(s):
    k = 0
    while 2 ** (k + 1) <= s + 1:
        k += 1
    return 32 * k + (32 * (s + 1) >> k) - 32


def learned_table(tables, predicted, m, r, c, j):
    """The number of the table of channel j at row r and column c; m(r, c, j): magnitudes, 0 where there are none."""
    if j < predicted:
        return j
    x = []
    for of, a, b in FEATURES:
        channels = range(max(0, j - (j if b is None else b)), max(0, j - a + 1))
        x.append(logarithm(min(1023, sum(m(r + y, c + z, i) for i in channels for y, z in AROUND[of]))))
    y = tables["output_bias"][0][j]
    for i, weight in enumerate(tables["output_weights"][0]):
        u = tables["unit_bias"][j][i] + sum(x[n] * tables["unit_weights"][n][i] for n in range(16))
        y += (max(0, u) >> 7) * weight
    y += sum(x[n] * tables["direct_weights"][0][n] for n in range(16))
    return predicted + min(63, max(0, y >> 16))


def predicted_value(v, r, c, j):
    if r == 0 or c == 0:
        return v[r, c - 1, j] if c else v[r - 1, c, j] if r else 0
    left, above, corner = v[r, c - 1, j], v[r - 1, c, j], v[r - 1, c - 1, j]
    return max(min(left, above), min(max(left, above), left + above - corner))

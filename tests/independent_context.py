"""Profile context for the second `.bcd` reader, from format-spec.md with the standard library only."""

from itertools import accumulate


def digits(n):
    return min(7, len(f"{n:b}")) if n else 0


KNOTS = [1, 1, 1, 2, 3, 5, 8, 13, 22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743]
KNOTS += [32768] + [65536 - knot for knot in reversed(KNOTS)]


class ContextChunk:
    """Section 4, profile context: the tables of one chunk's symbols, from the frames before."""

    def __init__(self, tables, g, k):
        self.tables, self.g, self.k = tables, g, k
        self.age, self.former, self.moved_before = [15] * g, [None] * g, 0
        self.stayed, self.left, self.followed, self.arrived = {}, {}, {}, {}
        self.codes = None

    def change(self, i, n):
        """Cumulative table of whether group i changes, after n changes in the stages before its own."""
        t, x = self.tables, self.codes[i]
        logit = t["code_logits"][i][x] + t["age_logits"][0][self.age[i]]
        logit += t["visit_logits"][digits(self.stayed.get((i, x), 0))][digits(self.left.get((i, x), 0))]
        logit += t["activity_logits"][8 * i // self.g * 8 + digits(n)][digits(self.moved_before)]
        j, r = divmod(max(-3072, min(3071, logit)) + 3072, 128)
        return [0, 65536 - (KNOTS[j] * (128 - r) + KNOTS[j + 1] * r) // 128, 65536]

    def code(self, i):
        """Cumulative table of the new code of group i."""
        t, x = self.tables, self.codes[i]
        seen, group, back = t["weights"][0]
        w = list(t["successors"][i * self.k + x])
        if "pairs" in t and self.former[i] is not None:
            w = list(t["pairs"][(i * self.k + self.former[i]) * self.k + x])
        for y in range(self.k):
            w[y] += (
                seen * self.followed.get((i, x, y), 0)
                + group * self.arrived.get((i, y), 0)
                + back * (y == self.former[i])
            )
        w[x] = 0
        f = [1 + each * (65536 - self.k) // sum(w) for each in w]
        f[w.index(max(w))] += 65536 - sum(f)
        return list(accumulate(f, initial=0))

    def add(self, codes):
        for i, (x, y) in enumerate(zip(self.codes or codes, codes)):
            if self.codes is None or x != y:
                self.arrived[i, y] = self.arrived.get((i, y), 0) + 1
            if self.codes is None:
                continue
            counts = self.stayed if x == y else self.left
            counts[i, x] = counts.get((i, x), 0) + 1
            self.age[i] = min(15, self.age[i] + 1) if x == y else 0
            if x != y:
                self.followed[i, x, y] = self.followed.get((i, x, y), 0) + 1
                self.former[i] = x
        self.moved_before = sum(x != y for x, y in zip(self.codes or codes, codes))
        self.codes = codes


def context_frame(decoder, chunk):
    """The codes of the next frame of a chunk."""
    if chunk.codes is None:
        return [decoder.symbol(list(accumulate(row, initial=0))) for row in chunk.tables["first"]]
    moved = []
    for i in range(chunk.g):
        n = sum(flag for j, flag in enumerate(moved) if 8 * j // chunk.g < 8 * i // chunk.g)
        moved.append(decoder.symbol(chunk.change(i, n)))
    codes = list(chunk.codes)
    for i in range(chunk.g):
        if moved[i]:
            codes[i] = decoder.symbol(chunk.code(i))
            if codes[i] == chunk.codes[i]:
                raise ValueError("a change to the same code")
    return codes

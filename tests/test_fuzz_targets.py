"""The fuzz targets run on their seeds, on mutations of them, and on inputs that were findings once."""

import io
from pathlib import Path

import numpy as np
import pytest
from fuzz.targets import TARGETS, made_right

from bcdcodec.container import open_bcd
from bcdcodec.errors import BcdError

FOUND = sorted((Path(__file__).parent / "fuzz/found").glob("*"))


def run(name: str, data: bytes) -> None:
    try:
        TARGETS[name].run(data)
    except BcdError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_seeds_and_mutations_give_bcd_errors_only(name):
    rng = np.random.default_rng(list(name.encode()))
    seeds = TARGETS[name].seeds()
    assert seeds and max(map(len, seeds)) <= TARGETS[name].most_bytes
    for _ in range(40):
        data = bytearray(seeds[rng.integers(len(seeds))])
        run(name, bytes(data))
        for _ in range(rng.integers(1, 4)):
            if data:
                data[rng.integers(len(data))] = rng.integers(256)
        run(name, bytes(data))


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_what_was_found_once_gives_bcd_errors_only(path):
    run(path.name.split("_")[0], path.read_bytes())


def test_a_file_with_wrong_checksums_is_read_once_they_are_made_right():
    seed = next(seed for seed in TARGETS["container"].seeds() if b"MOTN" in seed)
    damaged = bytearray(seed)
    damaged[seed.index(b"MOTN") + 6] ^= 1  # of the checksum
    with open_bcd(io.BytesIO(made_right(bytes(damaged)))) as reader:
        assert reader.fault is None

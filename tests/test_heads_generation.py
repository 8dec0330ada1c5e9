"""The measures of invented motion on motion whose worth is known."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("transformers", reason="generation is the extra `gpt2`")

from head_clips import head_frames, write_clip  # noqa: E402

from bcdcodec.benchmarks import generation  # noqa: E402
from bcdcodec.benchmarks.generation import (  # noqa: E402
    STATISTICS,
    measure_heads_generation,
    motion_change,
    nearest_share,
    two_sample_p,
)
from bcdcodec.benchmarks.measure.faces import Face  # noqa: E402
from bcdcodec.codec import load  # noqa: E402
from bcdcodec.generation.sampling import SamplingOptions  # noqa: E402
from bcdcodec.training.codes import training_clips, write_codes  # noqa: E402
from bcdcodec.training.gpt2 import load_clips  # noqa: E402


def test_two_samples_of_one_distribution_are_told_from_two_of_two():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 20, 5))
    assert two_sample_p(a, b, rng) > 0.05
    assert two_sample_p(a, b + (2, 0, 0, 0, 0), rng) < 0.01
    assert two_sample_p(a, 0.2 * b, rng) < 0.05, "the same mean, less spread"
    often = [two_sample_p(*rng.normal(size=(2, 8, 5)), rng) < 0.1 for _ in range(60)]
    assert np.mean(often) < 0.25


def test_a_copy_is_found_wherever_it_was_taken_from():
    rng = np.random.default_rng(1)
    trained = [rng.integers(0, 32, (n, 64)) for n in (80, 20, 60)]
    assert nearest_share(trained[2][17:50], trained) == 1
    assert nearest_share(rng.integers(0, 32, (60, 64)), trained) < 0.1
    half = trained[0][3:28].copy()
    half[:, :32] = (half[:, :32] + 1) % 32
    assert nearest_share(half, trained) == pytest.approx(0.5, abs=0.03)


def face_of(picture):
    """A face whose mouth is as open as the picture is bright, to test with."""
    landmarks = np.random.default_rng(0).uniform(0.3, 0.7, (68, 2))
    landmarks[62], landmarks[66] = (0.5, 0.5), (0.5, 0.5 + picture.mean() / 255)
    return Face(np.full(128, 0.01), landmarks)


@pytest.mark.parametrize("moving", [True, False])
def test_motion_that_stops_is_told_from_motion_that_goes_on(tiny_model, monkeypatch, moving):
    codec = load(tiny_model)
    recorded = [head_frames(30 + i, 40, 32) for i in range(3)]
    known = np.concatenate([m.codes for m in codec.encode(recorded[0]).motions])

    def draw(network, values, prompt, frames, options):
        assert len(prompt) == 1, "it begins in the pose of the still"
        turn = np.random.default_rng(options.seed).integers(len(known), size=frames)
        return iter(known[turn] if moving else known[np.minimum(turn[:1], 0).repeat(frames)])

    monkeypatch.setattr(generation, "sample_motion", draw)
    network = SimpleNamespace(config=SimpleNamespace(groups=8))
    found = measure_heads_generation(
        codec, network, recorded, [known], face_of, 2, SamplingOptions(), lambda items, label: items
    )
    assert found.clips == 3 and set(found.spread) == set(STATISTICS)
    assert found.identity_distance == pytest.approx(0) and found.same_person == 1
    if moving:
        assert found.change_end > 0.5 and found.spread["mouth opening"][1] > 0
    else:
        assert found.change_start == found.change_end == 0 and found.spread["mouth opening"][1] == pytest.approx(
            0, abs=1e-4
        )
    assert motion_change(codec, known[:1]) == 0
    text = found.markdown()
    assert "deviation in time of yaw, recorded" in text and "identity distance under 0.6 | 100 % of clips" in text


def test_a_gpt2_learns_from_the_training_clips_alone(tiny_model, tmp_path):
    rows = ["file,split"]
    for i, split in enumerate(["train", "val", "train", "test"]):
        write_clip(tmp_path / f"{i}.mp4", head_frames(60 + i, 6 + i, 32))
        rows.append(f"{i}.mp4,{split}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    codec = load(tiny_model)
    assert write_codes(codec, training_clips(codec, tmp_path), tmp_path / "codes") == 2
    assert sorted(path.name for path in (tmp_path / "codes").iterdir()) == ["0.bcd", "2.bcd"]
    clips = load_clips(tmp_path / "codes", tiny_model)
    assert sorted(len(clip.codes) for clip in clips.train + clips.val) == [6, 8]

"""The network of the surroundings: what follows the head and what rests, and the changes its training makes."""

import json

import numpy as np
import pytest
import torch
from head_clips import head_frames
from torch.nn import functional as F

from bcdcodec.models.faces.alignment_frame import crop, positions, to_picture
from bcdcodec.models.faces.config import SurroundingsConfig
from bcdcodec.models.faces.surroundings import CHANNELS, SurroundingsNetwork, head_movement
from bcdcodec.training.data.aligned_pairs import Frames, load_clips
from bcdcodec.training.recipes import run as runs, surroundings
from bcdcodec.training.recipes.surroundings import ClipPairs, Schedule, around_weight, augmented, losses, seen_from

SMALL = SurroundingsConfig(picture=32, patch=8, margin=2, width=16, blocks=1, heads=2)


def motions(*similarities):
    """Motion [n, 58] of no expression, at similarities."""
    return torch.cat([torch.zeros(len(similarities), 54), torch.tensor(similarities)], 1)


def network_that_follows(share):
    """A network whose cells all follow `share` of the head's movement, and nothing else."""
    network = SurroundingsNetwork(SMALL)
    torch.nn.init.zeros_(network.to_windows.weight)
    bias = torch.zeros(CHANNELS, network.to_windows.out_features // CHANNELS)
    bias[0] = torch.logit(torch.tensor(share), eps=1e-9)
    bias[3] = -30.0  # nothing is occluded
    network.to_windows.bias.data.copy_(bias.flatten())
    return network


REST, MOVED = (0.5, 0.5, -0.5, 0.0), (0.6, 0.45, -0.5, 0.0)


@torch.no_grad()
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_flow_is_the_share_of_the_heads_movement(share):
    said = network_that_follows(share)(torch.zeros(1, 3, 32, 32), motions(REST), motions(MOVED))
    assert said.flow.shape == (1, 2, 16, 16) and said.fill.shape == (1, 3, 16, 16)
    # The head went a tenth of the picture to the right and a twentieth up: there the reference is looked for back.
    torch.testing.assert_close(said.flow[0, :, 3, 7], share * torch.tensor([-0.2, 0.1]), atol=1e-4, rtol=0)
    assert said.beside.abs().max() == 0


def test_head_movement_finds_each_point_of_the_head_where_it_was():
    before, after = torch.tensor([[0.4, 0.5, -0.7, 0.1]]), torch.tensor([[0.6, 0.55, -0.4, -0.2]])
    at = head_movement(64, before, after)
    nose = to_picture(after, torch.zeros(1, 1, 2))[0, 0]  # the middle of the frame
    x, y = ((nose + 1) * 32 - 0.5).round().long()
    torch.testing.assert_close(at[0, y, x], to_picture(before, torch.zeros(1, 1, 2))[0, 0], atol=0.04, rtol=0)


def test_a_view_moves_the_similarity_as_it_moves_the_picture():
    """A mark in the middle of the frame is there in the view, too."""
    similarity, view = torch.tensor([[0.45, 0.6, -0.6, 0.2]]), torch.tensor([[0.55, 0.5, -0.25, 0.1]])
    middle = to_picture(similarity, torch.zeros(1, 1, 2))
    picture = (-((positions(128) - middle[:, None]) / 0.05).square().sum(-1)).exp()[:, None]
    seen = crop(picture, view, 128)
    moved = seen_from(view, torch.cat([torch.zeros(1, 54), similarity], 1)[:, None])[:, 0, 54:]
    there = crop(seen, moved, 65)[0, 0]
    assert divmod(int(there.argmax()), 65) == (32, 32)
    assert moved[0, 2] == pytest.approx(-0.35) and moved[0, 3] == pytest.approx(0.1)


def clip_of(frames):
    t = len(frames)
    motion = motions(*[(0.5 + 0.01 * i, 0.5, -0.4, 0.0) for i in range(t)]).numpy()
    return Frames(frames, motion, np.zeros((t, 478, 2), np.float32), np.ones(t, bool))


def test_a_batch_is_a_function_of_its_number():
    source = ClipPairs({"p1_0": clip_of(head_frames(0, 9, 256))}, Schedule(batch=3))
    one, again, other = source.raw(4), source.raw(4), source.raw(5)
    assert all(np.array_equal(one[key], again[key]) for key in one)
    assert not np.array_equal(one["view"], other["view"])
    pictures, motion = augmented(one, 32)
    assert pictures.shape == (3, 2, 3, 32, 32) and motion.shape == (3, 2, 58) and pictures.abs().max() <= 1


def test_losses_do_not_see_the_head():
    similarity = torch.tensor([[0.5, 0.5, -0.9, 0.0]])
    weight = around_weight(similarity, 32, 0.0)
    assert weight[0, 0, 16, 16] == 0 and weight[0, 0, 1, 1] == 1
    reference = F.interpolate(torch.randn(1, 3, 6, 6), size=(32, 32), mode="bicubic").clamp(-1, 1)
    target = torch.where(weight > 0, reference, -reference)
    network = network_that_follows(0.0)
    motion = motions(similarity[0].tolist(), similarity[0].tolist())[None]
    out = losses(network, torch.stack([reference, target], 1), motion, torch.zeros(1, 2, 54), 0.0)
    assert out["warped"] < 1e-3 and out["held"] < 1e-6
    assert losses(network, torch.stack([reference, -reference], 1), motion, torch.zeros(1, 2, 54), 0.0)["warped"] > 0.1


def test_training_finds_that_the_background_rests_and_the_head_moves():
    """A square moves before stripes: after two hundred steps the warp is nearer than a held picture."""
    torch.manual_seed(0)
    stripes = torch.sin(positions(32)[..., 0] * 20).expand(1, 32, 32)[None].expand(1, 3, -1, -1)
    network = SurroundingsNetwork(SMALL)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for i in range(200):
        shifts = torch.randn(8, generator=torch.Generator().manual_seed(i)) * 0.1
        motion = torch.stack([motions(*[REST] * 8), motions(*[(0.5 + float(s), *REST[1:]) for s in shifts])], 1)
        pictures = torch.stack(
            [
                torch.stack([torch.where(body(m[54]), torch.full_like(stripes[0], 0.8), stripes[0]) for m in pair])
                for pair in motion
            ]
        )
        out = losses(network, pictures, motion, torch.zeros(8, 2, 54), 0.05)
        optimiser.zero_grad()
        sum(weight * out[name] for name, weight in surroundings.WEIGHTS.items()).backward()
        optimiser.step()
    assert out["composed"] < 0.95 * out["held"]


def body(x):
    """Where a wide body below a head at `x` of the picture's width is: [1, 32, 32]."""
    at = positions(32)[0]
    return ((at[..., 0] - 2 * x + 1).abs() < 0.6)[None]


def test_config_written_before_there_was_the_network_has_none():
    from test_faces_model import SMALL as FACES

    from bcdcodec.models.registry import read_config

    fields = json.loads(FACES.to_json())
    del fields["surroundings"]
    assert read_config(json.dumps(fields)).surroundings is None


def test_training_resumes_exactly(tmp_path):
    frames = tmp_path / "frames/train"
    frames.mkdir(parents=True)
    np.save(frames / "p1_0.npy", head_frames(0, 9, 256))
    t = 9
    np.savez(
        frames / "p1_0.npz", points=np.zeros((t, 478, 3), np.float32), found=np.ones(t, bool),
        blendshapes=np.zeros((t, 52), np.float32), turn=np.zeros((t, 2), np.float32),
        centre=np.full((t, 2), 128.0, np.float32) + np.arange(t)[:, None], scale=np.full(t, 8.0, np.float32),
        roll=np.zeros(t, np.float32),
    )  # fmt: skip
    assert load_clips(frames)["p1_0"].motion[0, 54] == 0.5

    def train(name, steps):
        arguments = [f"--clips={frames.parent}", f"--run={tmp_path / name}", f"--steps={steps}", "--every=1"]
        options = runs.parser("").parse_args(arguments)
        surroundings.train(options, Schedule(batch=2), SMALL)

    train("whole", 3)
    train("parts", 1)
    train("parts", 3)
    whole, parts = (runs.averaged(tmp_path / name) for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    trained = runs.trained(tmp_path / "whole", "surroundings", SurroundingsNetwork, SurroundingsConfig)
    assert trained(torch.zeros(1, 3, 32, 32), motions(REST), motions(REST)).flow.isfinite().all()

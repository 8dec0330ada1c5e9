"""The poser, which turns a reference image as the driver's is turned: its parts, its training, its use in decoding."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from head_clips import head_frames

import bcdcodec
from bcdcodec.benchmarks.measure.pictures import psnr
from bcdcodec.coding.content import reference_of
from bcdcodec.config import PoserConfig
from bcdcodec.models.latents import to_uint8
from bcdcodec.models.warp import warp
from bcdcodec.presets import HEADS, POSER
from bcdcodec.reenactment.options import ReenactmentOptions
from bcdcodec.reenactment.poser import Poser
from bcdcodec.reenactment.retarget import poser_of, retarget
from bcdcodec.training.data.procedural import MOTION_PARAMETERS, Identity, render, sample_motion
from bcdcodec.training.data.procedural_pairs import draw_group, load_pairs, mirrored_motion
from bcdcodec.training.data.run_data import RunOptions
from bcdcodec.training.poser import PoserTrainer

TINY = PoserConfig(
    "poser",
    32,
    pose=8,
    reader=(8, 8, 16, 16),
    flow=(8, 8, 8),
    width=16,
    fill=(8, 8, 8),
    batch=3,
    frames=2,
    reader_steps=2,
)


def trainer(out, model, steps, resume=False, config=TINY, begin=None) -> PoserTrainer:
    options = RunOptions(None, out, steps, None, resume, "cpu", 3, 4, from_model=None if begin is None else str(begin))
    return PoserTrainer(config, options, str(model))


@pytest.fixture(scope="module")
def run(tiny_model, tmp_path_factory):
    """A run of four steps and its folder."""
    out = tmp_path_factory.mktemp("poser")
    done = trainer(out, tiny_model, 4)
    done.run()
    return done, out


@pytest.fixture(scope="module")
def posing_model(run, tiny_model, tmp_path_factory):
    """The tiny model with that poser in its folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    shutil.copytree(tiny_model, folder)
    shutil.copytree(run[1] / "model", folder / "poser")
    return folder


def driven(codec, content, driver, **options):
    """The reference of a content in the motion of a driver."""
    return retarget(codec.session, content, driver, ReenactmentOptions(**options))


@pytest.fixture(scope="module")
def two(posing_model):
    codec = bcdcodec.load(posing_model)
    return codec, codec.encode(head_frames(3, 12, 32)), codec.encode(head_frames(4, 6, 32))


def test_a_still_that_is_to_go_nowhere_stays():
    torch.manual_seed(0)
    flow = Poser(TINY).eval()(torch.rand(2, 3, 32, 32), torch.randn(2, 8), torch.zeros(2, 8))
    assert flow.shape == (2, 2, 8, 8) and flow.abs().max() == 0  # untrained: no flow of its own


def test_pose_moves_along_the_codecs_fields():
    model = Poser(TINY).eval()
    model.fields[0, 0] = 0.25  # an eighth of the picture to the right
    still = torch.rand(1, 3, 32, 32)
    moved = warp(still, model(still, torch.zeros(1, 8), torch.eye(8)[:1]))
    assert torch.allclose(moved[..., :28], still[..., 4:], atol=1e-5)


def test_a_run_goes_on_exactly_where_it_stopped(run, tiny_model, tmp_path):
    whole, _ = run
    stopped = trainer(tmp_path, tiny_model, 4)
    for _ in range(3):
        stopped.train_step()
    stopped.save()
    resumed = trainer(tmp_path, tiny_model, 4, resume=True)
    assert resumed.step == 3
    resumed.train_step()
    for part in ("model", "mean", "probe"):
        for (name, a), b in zip(
            getattr(whole, part).state_dict().items(), getattr(resumed, part).state_dict().values()
        ):
            assert torch.equal(a, b), f"{part}: {name}"


def test_a_run_begins_with_the_poser_of_a_model(run, tiny_model, posing_model, tmp_path):
    begun = trainer(tmp_path / "a", tiny_model, 4, begin=posing_model)
    for (name, a), b in zip(run[0].mean.state_dict().items(), begun.model.state_dict().values()):
        assert torch.allclose(a.float(), b.float(), atol=2e-3, rtol=1e-3), name
    with pytest.raises(bcdcodec.BcdError, match="has no poser"):
        trainer(tmp_path / "b", tiny_model, 4, begin=tiny_model)
    with pytest.raises(bcdcodec.BcdError, match="another shape"):
        trainer(tmp_path / "c", tiny_model, 4, config=replace(TINY, pose=4), begin=posing_model)


def test_a_folder_with_a_run_is_not_begun_again(run, tiny_model):
    with pytest.raises(bcdcodec.BcdError, match="--resume"):
        trainer(run[1], tiny_model, 4)


def test_the_flow_is_learned_that_the_true_one_is(tiny_model, tmp_path):
    """Of one batch again and again: what a run must be able to."""
    run = trainer(tmp_path, tiny_model, 60, config=replace(TINY, lr=5e-3, fill=()))
    pairs = run.draw(0)
    run.draw = lambda step: pairs
    first = run.train_step()
    for _ in range(50):
        last = run.train_step()
    nearer = [
        step["psnr"] - step["psnr_still"] for step in (first, last)
    ]  # colours differ from step to step, and PSNR with them
    print(f"flow {first['flow_error']} -> {last['flow_error']}, PSNR above the reference's {nearer} dB")
    assert last["flow_error"] < 0.8 * first["flow_error"] and nearer[1] > nearer[0] + 0.5


def test_what_is_uncovered_is_learned_to_be_painted_after_the_flow(tiny_model, tmp_path):
    run = trainer(tmp_path, tiny_model, 160, config=replace(TINY, lr=5e-3, fill_share=0.25))
    assert run.flow_share == 0.75
    run.step = 120
    pairs = run.draw(0)
    run.draw = lambda step: pairs
    resting = {name: value.clone() for name, value in run.mean.state_dict().items() if not name.startswith("fill.")}
    records = [run.train_step() for _ in range(40)]
    assert all(torch.equal(value, run.mean.state_dict()[name]) for name, value in resting.items())
    gained = [step["psnr"] - step["psnr_warped"] for step in records]
    print("above the warp, dB:", [round(x, 2) for x in gained], "painted:", [step["painted"] for step in records])
    assert np.mean(gained[-4:]) > np.mean(gained[:4]) + 0.5


def test_a_poser_without_a_filler_is_read_and_warps_alone(tiny_model, tmp_path):
    run = trainer(tmp_path, tiny_model, 1, config=replace(TINY, fill=()))
    run.run()
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_model, folder)
    shutil.copytree(tmp_path / "model", folder / "poser")
    path = folder / "poser" / "config.json"
    stated = json.loads(path.read_text())
    path.write_text(
        json.dumps({name: value for name, value in stated.items() if not name.startswith("fill")})
    )  # as the first were
    poser = poser_of(bcdcodec.load(folder).session)
    still = torch.rand(1, 3, 32, 32)
    picture, mask, flow = poser.turned(still, torch.randn(1, 8))
    assert mask is None and torch.equal(picture, warp(still, flow))


def test_what_is_painted_has_no_detail_of_the_still(two):
    codec, motion, face = two
    own, driver = reference_of(codec.session, face.contents[0]), reference_of(codec.session, motion.contents[0])
    with torch.no_grad():
        poser_of(codec.session).fill.net.draw.bias[-16:] = 30.0  # painted all over
    shown = poser_of(codec.session).posed(replace(own, detail=torch.ones(1, 3, 64, 64)), driver)
    assert shown.detail.abs().max() < 1e-6


def test_another_face_begins_in_the_drivers_pose_and_motion(two):
    codec, motion, face = two
    own, driver = reference_of(codec.session, face.contents[0]), reference_of(codec.session, motion.contents[0])
    at, wanted = poser_of(codec.session).read(own.image), poser_of(codec.session).read(driver.image)
    shown = driven(codec, face.contents[0], motion.contents[0], landmarks=False)
    flow = poser_of(codec.session)(own.image, at, wanted - at)
    warped = warp(own.image, flow)
    colours, mask = poser_of(codec.session).fill(own.image, warped, flow)
    assert torch.allclose(shown.image, warped + mask * (colours - warped), atol=1e-5)
    assert not torch.equal(shown.image, own.image) and torch.equal(shown.motion, driver.motion)


def test_relative_motion_leaves_the_face_in_its_own_pose(two):
    codec, motion, face = two
    own = reference_of(codec.session, face.contents[0])
    shown = driven(codec, face.contents[0], motion.contents[0], relative=True)
    assert torch.equal(shown.image, own.image) and torch.equal(shown.motion, own.motion)
    options = [ReenactmentOptions(relative) for relative in (False, True)]
    pictures = [np.stack([p for _, p in codec.decode_stream(motion, face, seed=0, options=o)]) for o in options]
    assert not np.array_equal(*pictures)


def test_without_the_driver_or_a_poser_the_face_keeps_its_pose(two, tiny_model):
    codec, motion, face = two
    plain = bcdcodec.load(tiny_model)
    assert poser_of(plain.session) is None
    own = reference_of(codec.session, face.contents[0])
    for shown in (driven(codec, face.contents[0], None), driven(plain, face.contents[0], motion.contents[0])):
        assert torch.equal(shown.image, own.image) and torch.equal(shown.motion, own.motion)
    assert not np.array_equal(codec.decode(motion, content=face), plain.decode(motion, content=face))
    assert np.array_equal(codec.decode(motion), plain.decode(motion))
    reenacted = replace(motion, head=replace(motion.head, reenacted=True), contents=face.contents)
    assert np.array_equal(codec.decode(reenacted), plain.decode(reenacted))


def test_the_poser_of_another_model_is_refused_with_both(posing_model, tmp_path):
    folder = tmp_path / "tiny"
    shutil.copytree(posing_model, folder)
    path = folder / "poser" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_fingerprint": "00" * 8}))
    with pytest.raises(bcdcodec.BcdError, match="000000000000.*" + bcdcodec.load(folder).folder.fingerprint.hex()[:12]):
        poser_of(bcdcodec.load(folder).session)


def test_damaged_weights_are_refused(posing_model, tmp_path):
    folder = tmp_path / "tiny"
    shutil.copytree(posing_model, folder)
    weights = next((folder / "poser").glob("weights-*"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(bcdcodec.BcdError, match="poser's weights.*not readable"):
        poser_of(bcdcodec.load(folder).session)


def test_the_command_refuses_what_cannot_be_trained(bcd, tiny_model, tmp_path):
    done = bcd("train", "poser", "--model", tiny_model, "--out", tmp_path / "run", "--steps", 1)
    assert done.code == 1 and "128 x 128" in done.err and "heads" in done.err


def test_pairs_know_the_parameters_of_what_they_show(tmp_path):
    store = load_pairs(2, 5, 4, 2, 1, 32, tmp_path)
    assert store.motion.shape == (2, 4, len(MOTION_PARAMETERS))
    assert np.array_equal(store.motion[1], draw_group(6, 4, 2, 1)[1])
    mirrored = dict(zip(MOTION_PARAMETERS, mirrored_motion(store.motion[0, 0])))
    plain = dict(zip(MOTION_PARAMETERS, store.motion[0, 0]))
    assert (
        mirrored["yaw"] == -plain["yaw"]
        and mirrored["blink_left"] == plain["blink_right"]
        and mirrored["scale"] == plain["scale"]
    )
    assert np.array_equal(mirrored_motion(mirrored_motion(store.motion)), store.motion)


def test_heads_and_its_poser_stay_below_the_limit():
    folder = bcdcodec.load("heads").folder.path
    files = [*folder.glob("*"), *(folder / "poser").glob("*")]
    assert POSER.size == HEADS.latent.size and sum(f.stat().st_size for f in files if f.is_file()) <= 64 * 2**20


def test_the_shipped_one_turns_a_rendered_head_as_the_truth_is_turned():
    """Of stills alone, people and poses that no run has seen."""
    codec = bcdcodec.load("heads")
    better = []
    for pair in range(4):
        rng = np.random.default_rng((91_000_000, pair))
        a, b = Identity.sample(rng), Identity.sample(rng)
        pose, own = sample_motion(rng, 1), sample_motion(rng, 1)
        one, other, truth = (render(who, moves, codec.picture_size) for who, moves in ((a, pose), (b, own), (b, pose)))
        driver, face = codec.encode(one).contents[0], codec.encode(other).contents[0]
        still, shown = (
            codec.latents.decode(p.image, p.detail)
            for p in (reference_of(codec.session, face, detailed=True), driven(codec, face, driver, landmarks=False))
        )
        still, shown = (to_uint8(x) for x in (still, shown))
        better.append(psnr(shown, truth) - psnr(still, truth))
    print("nearer to the truth by", [round(db, 2) for db in better], "dB")
    assert np.mean(better) > 1 and min(better) > -0.5

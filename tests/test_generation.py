"""A GPT-2 over codes learns a cycle, resumes exactly, and invents ordinary recordings that say they are invented."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", reason="generation is the extra `gpt2`")

from bcdcodec.container import Motion, write_recording  # noqa: E402
from bcdcodec.errors import BcdError, ModelError  # noqa: E402
from bcdcodec.files.recording import read  # noqa: E402
from bcdcodec.generation.config import LRS3, TINY, GPT2Config, gpt2_preset  # noqa: E402
from bcdcodec.generation.network import MotionGPT  # noqa: E402
from bcdcodec.generation.sampling import SamplingOptions, choose, sample_motion  # noqa: E402
from bcdcodec.model_folder import open_model  # noqa: E402
from bcdcodec.training.gpt2 import GPT2Options, GPT2Trainer, batch_of, evaluate_gpt2, load_clips  # noqa: E402

SMALL = replace(TINY, groups=3, codes=5, content_values=12)
CYCLE = replace(TINY, half_rate_share=0.0)  # half the rate would be another cycle


@pytest.fixture(scope="module")
def network() -> MotionGPT:
    torch.manual_seed(0)
    return MotionGPT(SMALL).eval()


@pytest.fixture(scope="module")
def coded(recording, tiny_model, tmp_path_factory):
    """A folder of 16 files of the tiny model, in which all codes count from 0 to 3 and start anywhere."""
    folder, model = tmp_path_factory.mktemp("coded"), open_model(tiny_model)
    like = read(recording, tiny_model)
    head = replace(like.head, frame_count=40)
    for i in range(16):
        codes = np.repeat(((np.arange(40) + i) % 4)[:, None], head.groups, axis=1).astype(np.uint8)
        write_recording(folder / f"{i}.bcd", replace(like, head=head, motions=(Motion(0, 0, codes),)), model.tables)
    return folder


@pytest.fixture(scope="module")
def trained(coded, tiny_model, tmp_path_factory):
    """The folder of a run on these files."""
    out = tmp_path_factory.mktemp("gpt2") / "run"
    GPT2Trainer(CYCLE, GPT2Options(coded, out, steps=120, model=tiny_model)).run()
    return out


def test_lrs3_is_the_papers_table():
    assert (LRS3.width, LRS3.layers, LRS3.heads, LRS3.batch, LRS3.lr, LRS3.weight_decay, LRS3.betas) == (
        1024, 12, 8, 256, 1e-4, 0.01, (0.9, 0.999))  # fmt: skip
    assert GPT2Config.from_json(LRS3.to_json()) == LRS3
    with pytest.raises(ModelError, match="gpt2-lrs3"):
        gpt2_preset("gpt2-huge")


def test_a_frame_is_predicted_from_what_came_before_it_only(network):
    values, codes = torch.randn(2, 12), torch.randint(0, 5, (2, 6, 3))
    logits = network(values, codes)
    assert logits.shape == (2, 7, 3, 5)
    later = codes.clone()
    later[:, 4:] = (later[:, 4:] + 1) % 5
    assert torch.allclose(network(values, later)[:, :5], logits[:, :5], atol=1e-5)
    assert not torch.allclose(network(values, later)[:, 5:], logits[:, 5:], atol=1e-3)
    assert not torch.allclose(network(values.flip(-1), codes)[:, 0], logits[:, 0], atol=1e-4), "the content must count"


def test_a_large_content_goes_through_few_channels():
    wide, narrow = (MotionGPT(replace(SMALL, content_values=4000, content_rank=rank)) for rank in (0, 4))
    count = lambda network: sum(p.numel() for p in network.content.parameters())  # noqa: E731
    assert count(wide) > 6 * count(narrow)
    assert narrow(torch.randn(2, 4000), torch.zeros(2, 3, 3, dtype=torch.long)).shape == (2, 4, 3, 5)


def test_frame_by_frame_with_cache_gives_what_all_at_once_gives(network):
    values, codes = torch.randn(1, 12), torch.randint(0, 5, (1, 5, 3))
    whole = network(values, codes)
    step, cache = network.extend(network.embed_content(values), None)
    assert torch.allclose(step, whole[:, 0], atol=1e-5)
    for t in range(5):
        step, cache = network.extend(network.embed_frames(codes[:, t : t + 1]), cache)
        assert torch.allclose(step, whole[:, t + 1], atol=1e-5)


def test_codes_are_drawn_as_asked():
    logits = torch.tensor([[0.0, 2.0, 1.0], [5.0, 0.0, 0.0]])
    draw = torch.Generator().manual_seed(0)
    assert choose(logits, SamplingOptions(temperature=0), draw).tolist() == [1, 0]
    many = torch.stack([choose(logits, SamplingOptions(temperature=1, top_p=1), draw) for _ in range(400)])
    assert sorted(set(many[:, 0].tolist())) == [0, 1, 2]
    assert abs((many[:, 0] == 1).float().mean() - 0.665) < 0.1
    few = torch.stack([choose(logits, SamplingOptions(top_p=0.6), draw) for _ in range(100)])
    assert few[:, 0].eq(1).all(), "the most probable code alone has more than the share"
    for wrong in ({"temperature": -1}, {"top_p": 0}, {"top_p": 1.5}):
        with pytest.raises(BcdError, match="expected"):
            SamplingOptions(**wrong)


def test_motion_can_be_longer_than_the_context_and_repeats_with_its_seed(network):
    def draw(seed, frames):
        return np.stack(
            list(
                sample_motion(network, np.ones((4, 3)), np.zeros((2, 3), np.uint8), frames, SamplingOptions(seed=seed))
            )
        )

    first = draw(1, 3 * SMALL.frames)
    assert first.shape == (3 * SMALL.frames, 3) and first.dtype == np.uint8 and first.max() < 5
    assert np.array_equal(first[:20], draw(1, 20)) and not np.array_equal(first[:20], draw(2, 20))


def test_training_learns_the_cycle(coded, trained, tiny_model):
    clips = load_clips(coded, tiny_model)
    assert len(clips.train) + len(clips.val) == 16 and clips.val
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 120 and lines[-1]["val_bits"] < 4, "of 8 codes of 3 bits"
    config = GPT2Config.from_json((trained / "model" / "config.json").read_text())
    assert (config.groups, config.codes, config.model_fingerprint) == (8, 8, clips.model_fingerprint)


def test_a_run_cut_in_two_gives_the_same_weights(coded, tiny_model, tmp_path):
    weights = []
    for parts in ((6,), (3, 6)):
        out = tmp_path / f"in-{len(parts)}"
        for i, steps in enumerate(parts):
            trainer = GPT2Trainer(CYCLE, GPT2Options(coded, out, steps=6, resume=i > 0, model=tiny_model))
            while trainer.step < steps:
                trainer._train_step()
            trainer._evaluate()
        weights.append(trainer.model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    with pytest.raises(ModelError, match="--resume"):
        GPT2Trainer(CYCLE, GPT2Options(coded, tmp_path / "in-1", steps=6, model=tiny_model))


def test_bits_of_held_out_frames_are_those_of_one_pass(network):
    from bcdcodec.training.gpt2 import CodedClip

    codes = np.random.default_rng(0).integers(0, 5, (10, 3))
    clip = CodedClip(np.ones(12, np.float32), codes)
    result = evaluate_gpt2(network, [clip])
    p = network(torch.ones(1, 12), torch.from_numpy(codes[None, :-1])).log_softmax(-1)[0].detach()
    nats = -p.gather(-1, torch.from_numpy(codes)[..., None])[..., 0]  # [t, g]
    assert result.frames == 10 and len(result.perplexity) == 3
    assert result.bits_per_frame == pytest.approx(float(nats.sum() / 10 / np.log(2)), rel=1e-4)
    assert result.perplexity[1] == pytest.approx(float(nats[:, 1].mean().exp()), rel=1e-4)
    long = CodedClip(np.ones(12, np.float32), np.random.default_rng(1).integers(0, 5, (SMALL.frames * 3 + 5, 3)))
    assert evaluate_gpt2(network, [long]).frames == SMALL.frames * 3 + 5


def test_generate_writes_an_ordinary_recording_marked_as_generated(recording, trained, tiny_model, tiny, bcd, tmp_path):
    out = tmp_path / "new.bcd"
    done = tiny("generate", out, "--content", recording, "--seconds", 2, "--gpt2", trained / "model")
    assert done.code == 0, done.err
    assert "codes checked" in tiny("verify", out).out
    facts = json.loads(bcd("info", out, "--json").out)
    assert (facts["generated"], facts["frames"], facts["frame_rate"]) == (True, 50, 25)
    assert facts["entropy_profile"] == json.loads(bcd("info", recording, "--json").out)["entropy_profile"] == "context"
    assert "SYNTHESISED" in bcd("info", out).out
    new, old = read(out, tiny_model), read(recording, tiny_model)
    assert np.array_equal(new.contents[0].values, old.contents[0].values)
    assert new.metadata["gpt2"] == "gpt2-tiny"


def test_motion_begins_in_the_pose_of_the_still(recording, trained, tiny_model, tiny, tmp_path, monkeypatch):
    from bcdcodec.generation import sampling

    seen, draw = [], sampling.sample_motion

    def watched(model, values, prompt, frames, options):
        seen.append(prompt)
        return draw(model, values, prompt, frames, options)

    monkeypatch.setattr(sampling, "sample_motion", watched)
    out = tmp_path / "new.bcd"
    done = tiny("generate", out, "--content", recording, "--seconds", 0.4, "--gpt2", trained / "model")
    assert done.code == 0, done.err
    assert np.array_equal(seen[0], read(recording, tiny_model).contents[0].reference_codes[None])
    assert sum(len(m.codes) for m in read(out, tiny_model).motions) == 10, "the still's own frame is not written"


def test_contents_are_hidden_from_some_clips(coded, tiny_model):
    clips = load_clips(coded, tiny_model).train
    config = replace(SMALL, batch=40)
    shares = [
        (batch_of(clips, replace(config, content_dropout=p), 0, 1)[0].abs().sum(1) == 0).float().mean()
        for p in (0, 0.5, 1)
    ]
    assert shares[0] == 0 and 0.2 < shares[1] < 0.8 and shares[2] == 1
    plain, hidden = (batch_of(clips, replace(config, content_dropout=p), 0, 1)[1] for p in (0, 1))
    assert torch.equal(plain, hidden), "the same motion, whatever is hidden"


def test_a_prompt_is_kept_and_gone_on_from(recording, trained, coded, tiny_model, tiny, tmp_path):
    out, prompt = tmp_path / "new.bcd", coded / "3.bcd"
    options = ("--prompt", prompt, "--seconds", 1, "--temperature", 0, "--gpt2", trained / "model")
    done = tiny("generate", out, "--content", recording, *options)
    assert done.code == 0, done.err
    codes = np.concatenate([motion.codes for motion in read(out, tiny_model).motions])
    assert len(codes) == 40 + 25 and np.array_equal(codes[:40], read(prompt, tiny_model).motions[0].codes)
    assert (codes[40:44, 0] == (codes[39, 0] + 1 + np.arange(4)) % 4).all(), "it counts on"


def test_generate_takes_a_video_for_the_face(clip, trained, tiny, tmp_path):
    done = tiny("generate", tmp_path / "new.bcd", "--content", clip, "--seconds", 0.2, "--gpt2", trained / "model")
    assert done.code == 0, done.err


def test_what_does_not_fit_is_refused_in_one_line(recording, trained, other_model, tiny_model, clip, bcd, tmp_path):
    out = tmp_path / "new.bcd"
    for options, said in (
        (("--content", recording, "--model", tiny_model), "bcd train gpt2"),
        (("--content", recording, "--model", tiny_model, "--gpt2", tmp_path), "config.json"),
        (("--content", clip, "--model", other_model, "--gpt2", trained / "model"), "is of model"),
    ):
        done = bcd("generate", out, "--seconds", 1, *options)
        assert done.code == 1 and said in done.err and not out.exists()
    assert bcd("generate", tmp_path / "new.mp4", "--seconds", 1, "--content", recording).code == 1

"""The GPT-2s that come with models: they speak these models' codes, and a face moves without any option."""

import json

import pytest
from head_clips import head_frames

pytest.importorskip("transformers", reason="generation is the extra `gpt2`")

from bcdcodec.container.head import MODEL_FINGERPRINT_BYTES  # noqa: E402
from bcdcodec.generation.store import SUBFOLDER, load_gpt2, open_gpt2_for  # noqa: E402
from bcdcodec.model_folder import CARD, SHIPPED, open_model  # noqa: E402
from bcdcodec.video import encode_png  # noqa: E402

MOST_BYTES = 32 * 2**20


SPEAKING = ("heads", "sprites")


@pytest.mark.parametrize("name", SPEAKING)
def test_it_speaks_the_codes_of_its_model(name):
    model = open_model(name)
    path, config = open_gpt2_for(None, name, model.fingerprint[:MODEL_FINGERPRINT_BYTES])
    assert (config.groups, config.codes) == (model.config.quantiser.groups, model.config.quantiser.codes)
    assert sum(file.stat().st_size for file in path.glob("weights-*")) <= MOST_BYTES
    assert "seed 0" in (path / CARD).read_text()
    load_gpt2(path, config)


def test_a_photo_moves_without_any_option(bcd, tmp_path):
    size = open_model("heads").config.latent.picture_size
    (tmp_path / "face.png").write_bytes(encode_png(head_frames(5, 1, size)[0]))
    done = bcd("generate", tmp_path / "new.bcd", "--content", tmp_path / "face.png", "--seconds", 1)
    assert done.code == 0, done.err
    facts = json.loads(bcd("info", tmp_path / "new.bcd", "--json").out)
    assert facts["frames"] == 25 and facts["generated"]


def test_each_has_a_folder_beside_its_model():
    assert tuple(p.parent.name for p in sorted(SHIPPED.glob(f"*/{SUBFOLDER}"))) == SPEAKING
    assert all((p / CARD).is_file() for p in SHIPPED.glob(f"*/{SUBFOLDER}"))

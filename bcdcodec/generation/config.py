"""Sizes and training of the motion GPT-2 and the model of its codes; presets, the paper's is table A9."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from bcdcodec.errors import ModelError

TEMPERATURE, TOP_P = 0.8, 0.95  # defaults: at temperature 1 people move too much, and 1 of 80 sprites changes action


@dataclass(frozen=True)
class GPT2Config:
    """The network, its training, and the model on whose codes it was trained."""

    name: str
    width: int = 256
    layers: int = 6
    heads: int = 4
    frames: int = 128  # of context, beside the content
    dropout: float = 0.1
    batch: int = 16  # clips
    lr: float = 3e-4
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    warmup_steps: int = 100
    content_dropout: float = 0.0  # share of the training clips whose content is hidden
    content_rank: int = 0  # of the map from the content to the width; 0: full
    half_rate_share: float = 0.5  # share of the training clips of which every second frame is taken
    # filled in from the training files
    groups: int = 64
    codes: int = 32
    content_values: int = 0  # tokens * channels of a content
    model_name: str = ""
    model_fingerprint: str = ""  # 8 bytes, in hexadecimal

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> GPT2Config:
        """The config that `to_json` wrote. Raises ModelError when it is not one."""
        try:
            raw = json.loads(text)
            return GPT2Config(**raw | {"betas": tuple(raw["betas"])})
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"GPT-2 config is not readable: {error}") from error


# Table A9: batch 256 in all, 32 on each of eight H100. The paper states neither the context's length nor a dropout.
LRS3 = GPT2Config("gpt2-lrs3", width=1024, layers=12, heads=8, frames=250, dropout=0.0, batch=256, lr=1e-4)

# As small as two CPU cores can train within minutes on half an hour of video. With a hundred people the content soon
# tells which clip follows; hidden from half of the clips, motion must be predicted from the frames before, as for a new
# face. A content of heads has 45,000 values: at full rank its embedding would be two thirds of the network.
HEADS = GPT2Config("gpt2-heads", lr=1e-3, content_dropout=0.5, content_rank=32)

# Clips of eight frames: at half the rate they would show another action.
SPRITES = GPT2Config("gpt2-sprites", width=128, layers=4, heads=4, frames=8, batch=64, lr=1e-3, half_rate_share=0.0)

TINY = GPT2Config("gpt2-tiny", width=32, layers=2, heads=2, frames=16, dropout=0.0, batch=8, lr=3e-3, warmup_steps=5)

PRESETS = {config.name: config for config in (LRS3, HEADS, SPRITES, TINY)}


def gpt2_preset(name: str) -> GPT2Config:
    """The preset of that name; `gpt2` is `gpt2-heads`. Raises ModelError that lists the known ones."""
    if name == "gpt2":
        return HEADS
    if name not in PRESETS:
        raise ModelError(f"no preset named {name!r}; known presets: {', '.join(PRESETS)}")
    return PRESETS[name]

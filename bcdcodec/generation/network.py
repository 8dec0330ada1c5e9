"""GPT-2 whose tokens are frames: the content first, then the sum of each frame's code embeddings (section A.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.errors import BcdError
from bcdcodec.generation.config import GPT2Config


class MotionGPT(nn.Module):
    """Predicts each group's code of the next frame, one head a group. Raises BcdError without transformers."""

    def __init__(self, config: GPT2Config):
        super().__init__()
        try:
            import transformers
        except ImportError as error:
            raise BcdError("generation needs transformers: install bcdcodec[gpt2]") from error
        self.config = config
        g, k = config.groups, config.codes
        rank = config.content_rank
        self.content: nn.Module = nn.Linear(config.content_values, rank or config.width)
        if rank:
            self.content = nn.Sequential(self.content, nn.Linear(rank, config.width))
        self.embedding = nn.Embedding(g * k, config.width)
        nn.init.normal_(self.embedding.weight, std=0.02 / g**0.5)
        self.gpt2 = transformers.GPT2Model(
            transformers.GPT2Config(
                vocab_size=1,
                n_positions=1 + config.frames,
                n_embd=config.width,
                n_layer=config.layers,
                n_head=config.heads,
                bos_token_id=None,
                eos_token_id=None,
                resid_pdrop=config.dropout,
                embd_pdrop=config.dropout,
                attn_pdrop=config.dropout,
            )
        )
        self.heads = nn.Linear(config.width, g * k)
        self.register_buffer("offsets", torch.arange(g) * k, persistent=False)

    def embed_content(self, values: Tensor) -> Tensor:
        """Content values [b, n * d], as coded, at any scale -> [b, 1, width]."""
        return self.content(F.layer_norm(values.float(), values.shape[-1:]))[:, None]

    def embed_frames(self, codes: Tensor) -> Tensor:
        """Codes [b, t, g] -> [b, t, width]."""
        return self.embedding(codes + self.offsets).sum(2)

    def forward(self, values: Tensor, codes: Tensor) -> Tensor:
        """Logits [b, 1 + t, g, k] of the frame after the content and after each of the frames [b, t, g]."""
        x = torch.cat([self.embed_content(values), self.embed_frames(codes)], 1)
        return self._logits(self.gpt2(inputs_embeds=x).last_hidden_state)

    def extend(self, x: Tensor, cache) -> tuple[Tensor, object]:
        """Logits [b, g, k] after embeddings [b, t, width] that follow the cache (None: nothing), and the new cache."""
        out = self.gpt2(inputs_embeds=x, past_key_values=cache, use_cache=True)
        return self._logits(out.last_hidden_state[:, -1:])[:, 0], out.past_key_values

    def _logits(self, hidden: Tensor) -> Tensor:
        return self.heads(hidden).unflatten(-1, (self.config.groups, self.config.codes))


def cross_entropy(logits: Tensor, codes: Tensor, shown: Tensor) -> Tensor:
    """Mean nats a code: logits [b, t, g, k] for codes [b, t, g] in the frames where `shown` [b, t] is true."""
    return F.cross_entropy(logits[shown].flatten(0, 1), codes[shown].flatten())

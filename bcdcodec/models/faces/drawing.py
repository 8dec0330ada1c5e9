"""The drawing network: a diffusion transformer that draws what no warp of the reference shows.

Teeth, lids, irises, a cheek that turns into view, detail that the reference's coding has lost. What is drawn is the
difference between the true face and the warped one, in the face-aligned frame. Noise goes in together with the warped
and the unwarped reference, the occlusion and the inner mouth of the geometry network; the base motion and the noise
level enter by adaptive layer norm (AdaLN, as in DiT). The scales of input and output are not those of EDM (Karras et
al. 2022, table 1). The input is the linear estimate of the difference, c_skip x, so that noise which says nothing does
not hide the rest. The output is the clean difference itself: EDM's skip connection asks for the noise at low levels,
and a token is narrower than a patch, so it cannot hold the noise of a patch (Li and He 2025, arXiv 2511.13720).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from bcdcodec.models.edm import preconditioning
from bcdcodec.models.faces.alignment_frame import head_radii, positions
from bcdcodec.models.faces.config import DrawingConfig
from bcdcodec.models.faces.geometry import Geometry
from bcdcodec.models.faces.motion_pair import condition_layers, motion_pair
from bcdcodec.models.faces.overlap import Overlap
from bcdcodec.models.faces.transformer import Block, patches

REACH = 1.2  # radii of the head's ellipse up to which patches are drawn; from 1.15 on the frame is not shown
LEVELS = 16  # numbers that tell the network the noise level


class DrawingInput(NamedTuple):
    """What is known of b faces before anything is drawn; r references serve b / r of the faces each."""

    warped: Tensor  # [b, 3, s, s] -1 to 1: the reference as the geometry network has it moved
    reference: Tensor  # [r, 3, s, s] -1 to 1
    geometry: Geometry  # of the b faces
    motion_reference: Tensor  # [b, m] the first numbers of base motion
    motion: Tensor  # [b, m]


class DrawingNetwork(nn.Module):
    """What is known of faces and their noisy difference -> the difference without noise."""

    def __init__(self, config: DrawingConfig):
        super().__init__()
        self.config = c = config
        self.register_buffer("motion_mean", torch.zeros(c.motion))
        self.register_buffer("motion_scale", torch.ones(c.motion))
        with torch.device("cpu"):  # also where the network is built on the device meta, for its shapes alone
            near = head_radii(positions(c.grid)[0]) < REACH  # patches by their centres
        self.drawn = near.flatten().nonzero()[:, 0].tolist()
        seen, masks = c.patch + 2 * c.margin, (c.patch + 2 * c.margin) // c.cell
        self.embed = nn.Linear(3 * seen**2 + 3 * c.patch**2 + 2 * masks**2, c.width)
        self.embed_noisy = nn.Linear(3 * seen**2, c.width, bias=False)
        self.position = nn.Parameter(0.02 * torch.randn(len(self.drawn), c.width))
        self.condition = condition_layers(3 * c.motion + LEVELS, c.width)
        self.blocks = nn.ModuleList(Block(c.width, c.heads) for _ in range(c.blocks))
        self.norm = nn.LayerNorm(c.width, elementwise_affine=False)
        self.to_window = nn.Linear(c.width, 3 * (2 * c.patch) ** 2)
        nn.init.zeros_(self.to_window.weight)
        nn.init.zeros_(self.to_window.bias)
        self.overlap = Overlap(c.grid, c.patch)

    def forward(self, noisy: Tensor, sigma: Tensor, known: DrawingInput) -> Tensor:
        """D(x; sigma): the difference [b, 3, s, s] of the true face and the warped one, of its noisy x = `noisy`.

        `sigma` [b]: noise levels, in units of pictures from -1 to 1.
        """
        warped, reference, geometry = known.warped, known.reference, known.geometry
        c, kind = self.config, self.embed.weight.dtype
        c_skip, _, _, c_noise = preconditioning(sigma, c.sigma_data)
        masks = torch.cat([geometry.occlusion.sigmoid(), geometry.mouth.sigmoid()], 1)
        tokens = torch.cat([
            patches(warped.to(kind), c.patch, c.margin),
            patches(reference.to(kind), c.patch).repeat_interleave(len(warped) // len(reference), 0),
            patches(masks.to(kind), c.patch // c.cell, c.margin // c.cell),
        ], -1)  # fmt: skip
        noise = patches((c_skip[:, None, None, None] / c.sigma_data * noisy).to(kind), c.patch, c.margin)
        x = self.embed(tokens[:, self.drawn]) + self.embed_noisy(noise[:, self.drawn]) + self.position.to(kind)
        condition = self._condition(known.motion_reference, known.motion, c_noise).to(kind)
        for block in self.blocks:
            x = block(x, condition)
        windows = self.to_window(self.norm(x)).float()
        everywhere = windows.new_zeros(len(x), c.grid**2, windows.shape[-1])
        everywhere[:, self.drawn] = windows
        return c.sigma_data * self.overlap(everywhere, 3)

    def layers(self) -> list[nn.Module]:
        """What may be converted to bfloat16: all but the statistics of the motion."""
        return [self.embed, self.embed_noisy, self.condition, self.blocks, self.to_window]

    def _condition(self, motion_reference: Tensor, motion: Tensor, c_noise: Tensor) -> Tensor:
        waves = c_noise[:, None] * (torch.arange(LEVELS // 2, device=c_noise.device) + 1)
        level = torch.cat([waves.sin(), waves.cos()], -1)
        both = torch.cat([motion_pair(self, motion_reference, motion), level], -1)
        return self.condition(both.to(self.condition[0].weight.dtype))


def draw(network: DrawingNetwork, known: DrawingInput, noise: Tensor, steps: int) -> Tensor:
    """The face [b, 3, s, s] that `steps` steps draw from unit noise [b, 3, s, s].

    The first step sees noise alone. Each later one sees what was drawn, with a little of the same noise over it, and
    draws it again (Song et al. 2023, arXiv 2303.01469, algorithm 1).
    """
    said = torch.zeros_like(noise)
    for level in step_levels(network.config, steps):
        sigma = noise.new_full((len(noise),), level)
        said = network(said + level * noise, sigma, known)
    return known.warped + said


def step_levels(config: DrawingConfig, steps: int) -> list[float]:
    """The noise level of each step: sigma_max, then from sigma_again down to sigma_min, by equal factors."""
    later = max(steps - 1, 0)
    share = torch.linspace(0, 1, later) if later > 1 else torch.zeros(later)
    falling = config.sigma_again * (config.sigma_min / config.sigma_again) ** share
    return [config.sigma_max, *falling.tolist()][:steps]

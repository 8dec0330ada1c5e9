"""The whole model (figure 2): encoder, group VQ, content quantiser, preconditioned diffusion decoder."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.config import ModelConfig
from bcdcodec.errors import ModelError
from bcdcodec.models.content_quantiser import ContentQuantiser, PatchTransform
from bcdcodec.models.dit import Condition, DiT
from bcdcodec.models.edm import preconditioning, sample_heun
from bcdcodec.models.encoder import Encoder
from bcdcodec.models.group_vq import GroupVQ
from bcdcodec.models.heads.denoiser import StillFilter, StillNet
from bcdcodec.models.heads.flow_basis import LEVELS, FlowBasis, Levels
from bcdcodec.models.heads.refiner import Painter
from bcdcodec.models.heads.residual_basis import Appearance, CommonAppearance, Portrait, fit_appearance
from bcdcodec.models.warp import warp, warp_large


@dataclass(frozen=True)
class Denoised:
    """D(x; sigma) and what it was made of."""

    latents: Tensor  # [b, t, c, h, w]
    flow: Tensor | None  # [b, t, 2, gh, gw]
    still: Tensor | None  # [b, c, h, w] the content picture
    looks: Tensor | None  # [b, t, c, h, w] the content picture with what each frame's motion adds to it
    warped: Tensor | None  # [b, t, c, h, w] that through the flow


@dataclass(frozen=True)
class Decoded:
    """What sampling gives; for larger pictures, what it adds to the still, which is moved at their size: moved on latents it would blur."""

    latents: Tensor  # [b, t, c, h, w]
    large: Tensor | None  # [b, t, c, H, W] the moved still; None where pictures are no larger


class BCD(nn.Module):
    """Bitrate-controlled diffusion over latents [b, t, c, h, w] (pixels in [-1, 1], or VAE latents)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.vq = GroupVQ(config.quantiser)
        self.content = ContentQuantiser(config)
        self.decoder = DiT(config)
        self.painter: Painter | None = None
        if config.decoder.painter:
            self.painter = Painter(
                config.latent.channels, config.decoder.painter, self.decoder.side, config.decoder.width
            )
        self.flow_basis: FlowBasis | None = None
        if config.decoder.flow_basis:
            self.flow_basis = FlowBasis(
                config.motion_channels, self.decoder.side * config.decoder.warp_grid, config.content.appearance
            )
        self.common: CommonAppearance | None = None
        if config.content.appearance:
            self.common = CommonAppearance(
                config.content.appearance, config.latent.channels, config.latent.size, config.motion_channels
            )
        self.transform: PatchTransform | None = None
        self.still_filter: StillFilter | None = None
        self.still_detail: StillNet | None = None
        if config.content.still_dim:
            components = max(config.content.still_dim, config.decoder.klt_output)
            self.still_filter = StillFilter(config.latent.channels, config.content.still_filter)
            if config.content.detail:
                self.still_detail = StillNet(
                    config.latent.channels, config.latent.channels, config.content.detail, config.latent.factor
                )
            self.transform = PatchTransform(
                config.decoder.patch, config.latent.channels, config.content.rows, config.content.columns, components
            )

    def encode(self, z: Tensor, reference: int = 0) -> tuple[Tensor, Tensor]:
        """Content tokens [b, n, d] and motion [b, t, m] of latents [b, t, c, h, w].

        `reference`: the frame whose patches the tokens hold, where the preset keeps a still.
        """
        still = None
        if self.transform is not None:
            still = self.transform(z[:, reference])[..., : self.config.content.still_dim]
        content, m = self.encoder(z, still)
        return content, self._scaled(m)

    def encode_motion(self, z: Tensor) -> Tensor:
        """The motion of `encode` alone, [b, t, m]."""
        if self.config.encoder.frames_see_queries:
            return self.encode(z)[1]
        return self._scaled(self.encoder.motion(z))

    def _scaled(self, m: Tensor) -> Tensor:
        """What the encoder says [b, t, m] in units of each channel."""
        return m if self.flow_basis is None else self.flow_basis.without_amounts(m * self.flow_basis.deviation)

    @torch.no_grad()
    def aligned_motion(
        self, z: Tensor, m: Tensor, portrait: Portrait, levels: Levels = LEVELS
    ) -> tuple[Tensor, Tensor]:
        """Motion [b, t, m] whose flow makes the portraits' stills [b, c, h, w] most like z [b, t, c, h, w].

        And the curvature [b, t, m, m] of the error about it, `FlowBasis.align_with_curvature`. Searched from the encoder's
        motion `m` on. For models with a flow basis; an appearance is one for all.
        """
        b, t = z.shape[:2]
        picture = portrait.still[:, None].expand(b, t, *z.shape[2:])
        change, curvature = self.flow_basis.align_with_curvature(
            picture.flatten(0, 1),
            z.flatten(0, 1),
            (m - portrait.motion[:, None]).flatten(0, 1),
            portrait.appearance,
            levels,
        )
        return portrait.motion[:, None] + change.unflatten(0, (b, t)), curvature.unflatten(0, (b, t))

    @torch.no_grad()
    def unreached(self, z: Tensor, m: Tensor, portrait: Portrait) -> Tensor:
        """What a portrait [1, ...] moved as m [t, m] does not show of z [t, c, h, w]: mean squared errors [t, 2], of pictures in 0..1.

        First where its appearance says that looks matter, at mouth and eyes (everywhere without one), then everywhere.
        """
        change = m - portrait.motion
        flow = self.flow_basis(change)
        frames = portrait.looks(change[None], len(z))[0]
        weight = torch.ones_like(z[:, :1])
        if portrait.appearance is not None:
            weight = warp(portrait.appearance.salience.expand_as(weight), flow)
        error = (warp(frames, flow) - z).square().mean(1, keepdim=True) / 4
        salient = (weight * error).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp_min(1e-6)
        return torch.stack([salient, error.mean((1, 2, 3))], -1)

    def with_appearance(self, content: Tensor, still: Tensor, frames: Tensor, m: Tensor, shown: Tensor) -> Tensor:
        """Tokens [1, n, channels] of tokens [1, n, dim] and of how frames [t, c, h, w] look other than the warped still.

        `still` [c, h, w] and its motion `shown` [m], motion `m` [t, m] of the frames.
        """
        change = self.flow_basis.align(still.expand_as(frames), frames, m - shown)
        coded = self.vq.quantise(shown[None, None])[0]  # the decoder's only word of where the face is
        common, salience = self.common.of(self.flow_basis, coded)[0], self.common.salience_of(self.flow_basis, coded)[0]
        own = fit_appearance(self.flow_basis, common, salience, still, frames, change)
        coefficients = self.transform.coefficients(own - common, self.config.content.appearance_dim)  # [k, n, d]
        return torch.cat([content, coefficients.movedim(0, -1).flatten(1)[None]], -1)

    def appearance(self, content: Tensor, reference_motion: Tensor) -> Appearance | None:
        """How a person of tokens [b, n, channels], shown in `reference_motion` [b, m], changes; None where they do not say."""
        c = self.config.content
        if content.shape[-1] == c.dim:
            return None
        coefficients = content[..., c.dim :].unflatten(-1, (-1, c.appearance)).movedim(-1, 1)  # [b, k, n, d]
        own = self.transform.difference(coefficients.flatten(0, 1)).unflatten(0, coefficients.shape[:2])
        return Appearance(
            self.common.of(self.flow_basis, reference_motion) + own,
            self.common.salience_of(self.flow_basis, reference_motion),
        )

    def still(self, content: Tensor) -> Tensor | None:
        """The picture the content tokens [b, n, d] hold, [b, c, h, w]; None without the transform."""
        if self.transform is None:
            return None
        return self.still_filter(self.transform.inverse(content[..., : self.config.content.still_dim]))

    def portrait(self, content: Tensor, reference_motion: Tensor | None) -> Portrait | None:
        """What content tokens [b, n, channels] show, in `reference_motion` [b, m]; None without the transform."""
        still = self.still(content)
        return None if still is None else Portrait(still, reference_motion, self.appearance(content, reference_motion))

    def detailed(self, portrait: Portrait | None) -> Portrait | None:
        """A portrait for pictures: with what larger ones show, where they are larger. Neither encoder nor training look at that."""
        if portrait is None or self.still_detail is None:
            return portrait
        return replace(portrait, detail=self.still_detail(portrait.still))

    def denoise(
        self, x: Tensor, sigma: Tensor, condition: Condition, temporal: bool = True, painted: bool = True
    ) -> Denoised:
        """D(x; sigma) for noisy latents x [b, t, c, h, w] and noise levels sigma [b].

        Where the output warps the content picture, that warp is the mean of the prior: with a Gaussian
        residual of deviation sigma_data the best estimate is c_skip x + (1 - c_skip) warp, and the
        network corrects it. Without a warp this is EDM's equation 7.

        No gradient of the sum reaches the warp or the still: what cannot be aligned yet would teach them
        to blur. The warp learns from an error of its own, the still's filter before the run. The painter, where
        there is one, has the last word, unless `painted` is False.
        """
        c_skip, c_out, c_in, c_noise = preconditioning(sigma, self.config.diffusion.sigma_data)
        expand = (slice(None), None, None, None, None)
        moved: Tensor | None = None
        change: Tensor | None = None
        shown = condition.reference_motion
        if self.flow_basis is not None:
            change = condition.motion - condition.reference_motion[:, None]
            moved = self.flow_basis(change)
            if condition.portrait is not None:
                moved = condition.portrait.moved_by(moved)
            condition = replace(
                condition,
                motion=self.flow_basis.embedded(condition.motion),
                reference_motion=self.flow_basis.embedded(condition.reference_motion),
            )
        scaled = (x * c_in[expand]).to(self.decoder.to_residual.weight.dtype)  # a decoder in bfloat16 takes bfloat16
        out = self.decoder(scaled, c_noise, condition, temporal, self.transform)
        latents = c_skip[expand] * x + c_out[expand] * out.residual
        still = looks = warped = None
        flow = out.flow
        if flow is not None:
            b, t = x.shape[:2]
            # Flow fields say a person's own motion exactly; what the decoder finds bends them to another face.
            if condition.reference_motion is not None and (moved is None or condition.foreign is not None):
                # In its own motion the still must stay as it is: what the decoder would move then is no motion.
                reference = condition.reference_motion
                anchor = Condition(condition.content, reference[:, None], reference, condition.keep)
                flow = flow - self.decoder(scaled[:, :1], c_noise, anchor, False, self.transform).flow
            if moved is not None:
                flow = moved if condition.foreign is None else moved + condition.foreign[expand] * flow
            portrait = condition.portrait or self.portrait(condition.content, shown)
            still, looks = portrait.still, portrait.looks(change, t)
            frames = looks.flatten(0, 1)
            warped = warp(frames, flow.flatten(0, 1)).unflatten(0, (b, t))
            latents = latents + (1 - c_skip[expand]) * warped.detach()
            if self.painter is not None and painted:
                latents = self.painter(
                    latents.flatten(0, 1),
                    frames,
                    warped.detach().flatten(0, 1),
                    flow.detach().flatten(0, 1),
                    out.tokens.flatten(0, 1),
                    out.condition.flatten(0, 1),
                ).unflatten(0, (b, t))
        return Denoised(latents, flow, still, looks, warped)

    @torch.no_grad()
    def warped_alone(self, condition: Condition) -> Denoised:
        """The mean of the prior alone: the still with its pictures of change, moved by the flow fields. Neither decoder nor painter is asked.

        Raises ModelError for a model without a flow basis.
        """
        if self.flow_basis is None:
            raise ModelError(
                f"in 0 steps the content's picture is moved by the motion alone; the motion of model "
                f"{self.config.name!r} is no flow, which needs its networks: give 1 step or more"
            )
        change = condition.motion - condition.reference_motion[:, None]
        portrait = condition.portrait or self.portrait(condition.content, condition.reference_motion)
        flow, looks = portrait.moved_by(self.flow_basis(change)), portrait.looks(change, change.shape[1])
        warped = warp(looks.flatten(0, 1), flow.flatten(0, 1)).unflatten(0, looks.shape[:2])
        return Denoised(warped, flow, portrait.still, looks, warped)

    @torch.no_grad()
    def decode(self, condition: Condition, noise: Tensor, steps: int, guidance: float | None = None) -> Decoded:
        """Sample latents from unit noise [b, t, c, h, w] in `steps` EDM steps; in none what `warped_alone` gives."""
        scale = self.config.decoder.guidance if guidance is None else guidance
        masked = replace(condition, keep=torch.zeros(noise.shape[0], device=noise.device))
        found: Denoised | None = None  # of the last step

        def denoise(x: Tensor, sigma: float) -> Tensor:
            nonlocal found
            levels = torch.full((x.shape[0],), sigma, device=x.device)
            found = self.denoise(x, levels, condition)
            if scale == 1.0:
                return found.latents
            without = self.denoise(x, levels, masked).latents
            return without + scale * (found.latents - without)

        if steps:
            latents = sample_heun(denoise, noise, self.config.diffusion, steps)
        else:
            found = self.warped_alone(condition)
            latents = found.latents
        if condition.portrait is None or condition.portrait.detail is None:
            return Decoded(latents, None)
        b, t = noise.shape[:2]
        detail = condition.portrait.detail[:, None].expand(b, t, -1, -1, -1)
        large = warp_large(*(x.flatten(0, 1) for x in (found.looks, detail, found.flow)))
        return Decoded(latents - found.warped, large.unflatten(0, (b, t)))


def coarse_warp_error(still: Tensor, flow: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of the warped content picture at two coarse scales, [].

    Photometric gradients reach only neighbouring pixels; on averaged pictures they reach far.
    still [b, c, h, w], flow [b, t, 2, gh, gw], target [b, t, c, h, w].
    """
    still = still.detach()
    b, t = target.shape[:2]
    frames, target = still[:, None].expand(b, t, *still.shape[1:]).flatten(0, 1), target.flatten(0, 1)
    flow = flow.flatten(0, 1)
    total = target.new_zeros(())
    for factor in (4, 8):
        size = target.shape[-1] // factor
        coarse_flow = F.adaptive_avg_pool2d(flow, min(size, flow.shape[-1]))
        total = total + F.mse_loss(warp(F.avg_pool2d(frames, factor), coarse_flow), F.avg_pool2d(target, factor))
    return total

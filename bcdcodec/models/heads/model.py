"""The `heads` model: reference image, flow and residual basis as motion, diffusion transformer over the warp."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bcdcodec.models.base import Condition, Decoded
from bcdcodec.models.edm import preconditioning, sample_heun
from bcdcodec.models.group_vq import GroupVQ
from bcdcodec.models.heads.alignment import LEVELS, Levels, align, align_with_hessian
from bcdcodec.models.heads.config import HeadsConfig
from bcdcodec.models.heads.denoiser import StillFilter
from bcdcodec.models.heads.dit import HeadsDiT
from bcdcodec.models.heads.encoder import HeadsEncoder
from bcdcodec.models.heads.flow_basis import FlowBasis
from bcdcodec.models.heads.reference_image import PatchTransform, ReferenceQuantiser
from bcdcodec.models.heads.refiner import Painter
from bcdcodec.models.heads.residual_basis import Appearance, CommonAppearance, Portrait, fit_appearance
from bcdcodec.models.load_older import rename_on_load
from bcdcodec.models.unet import UNet
from bcdcodec.models.warp import warp, warp_large


@dataclass(frozen=True)
class Denoised:
    """D(x; sigma) and what it was made of."""

    latents: Tensor  # [b, t, c, h, w]
    flow: Tensor  # [b, t, 2, gh, gw]
    still: Tensor  # [b, c, h, w] the content picture
    looks: Tensor  # [b, t, c, h, w] the content picture with what each frame's motion adds to it
    warped: Tensor  # [b, t, c, h, w] that through the flow


class HeadsModel(nn.Module):
    """Bitrate-controlled diffusion over pixels [b, t, 3, h, w] in [-1, 1], as corrections of a warped reference image."""

    def __init__(self, config: HeadsConfig):
        super().__init__()
        self.config = config
        latent, content, d = config.latent, config.content, config.decoder
        self.encoder = HeadsEncoder(config)
        self.vq = GroupVQ(config.quantiser)
        self.content = ReferenceQuantiser(content)
        self.decoder = HeadsDiT(config)
        side = self.decoder.side
        self.painter = Painter(latent.channels, d.painter, side, d.width)
        self.flow_basis = FlowBasis(config.motion_channels, side * d.warp_grid, content.appearance)
        self.common = CommonAppearance(content.appearance, latent.channels, latent.size, config.motion_channels)
        self.still_filter = StillFilter(latent.channels, content.still_filter)
        self.still_detail: UNet | None = None
        if content.detail:
            self.still_detail = UNet(latent.channels, latent.channels, content.detail, latent.factor)
        components = max(content.still_dim, d.klt_output)
        self.transform = PatchTransform(d.patch, latent.channels, content.rows, content.columns, components)
        rename_on_load(
            self,
            {
                r"decoder\.null_(motion|content)": None,
                r"painter\.tokens\.": "painter.unet.coarse_input.",
                r"painter\.(?!condition|unet)": "painter.unet.",
            },
        )

    def encode(self, z: Tensor, reference: int = 0) -> tuple[Tensor, Tensor]:
        """Content tokens [b, n, d] and motion [b, t, m] of latents [b, t, c, h, w].

        `reference`: the frame whose patches the tokens hold.
        """
        still = self.transform(z[:, reference])[..., : self.config.content.still_dim]
        content, m = self.encoder(z, still)
        return content, self._scaled(m)

    def encode_motion(self, z: Tensor) -> Tensor:
        """The motion of `encode` alone, [b, t, m]."""
        return self._scaled(self.encoder.motion(z))

    def _scaled(self, m: Tensor) -> Tensor:
        """What the encoder says [b, t, m] in units of each channel."""
        return self.flow_basis.without_amounts(m * self.flow_basis.deviation)

    @torch.no_grad()
    def aligned_motion(
        self, z: Tensor, m: Tensor, portrait: Portrait, levels: Levels = LEVELS
    ) -> tuple[Tensor, Tensor]:
        """Motion [b, t, m] whose flow makes the portraits' stills [b, c, h, w] most like z [b, t, c, h, w].

        And the Hessian [b, t, m, m] of the error about it, as `align_with_hessian` gives it. Searched from the encoder's
        motion `m` on. An appearance is one for all.
        """
        b, t = z.shape[:2]
        picture = portrait.still[:, None].expand(b, t, *z.shape[2:])
        change, hessian = align_with_hessian(
            self.flow_basis,
            picture.flatten(0, 1),
            z.flatten(0, 1),
            (m - portrait.motion[:, None]).flatten(0, 1),
            portrait.appearance,
            levels,
        )
        return portrait.motion[:, None] + change.unflatten(0, (b, t)), hessian.unflatten(0, (b, t))

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
        change = align(self.flow_basis, still.expand_as(frames), frames, m - shown)
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

    def still(self, content: Tensor) -> Tensor:
        """The picture the content tokens [b, n, d] hold, [b, c, h, w]."""
        return self.still_filter(self.transform.inverse(content[..., : self.config.content.still_dim]))

    def portrait(self, content: Tensor, reference_motion: Tensor) -> Portrait:
        """What content tokens [b, n, channels] show, in `reference_motion` [b, m]."""
        return Portrait(self.still(content), reference_motion, self.appearance(content, reference_motion))

    def detailed(self, portrait: Portrait) -> Portrait:
        """A portrait for pictures: with what larger ones show, where they are larger. Neither encoder nor training look at that."""
        if self.still_detail is None:
            return portrait
        return replace(portrait, detail=self.still_detail(portrait.still))

    def denoise(
        self, x: Tensor, sigma: Tensor, condition: Condition, temporal: bool = True, painted: bool = True
    ) -> Denoised:
        """D(x; sigma) for noisy latents x [b, t, c, h, w] and noise levels sigma [b].

        The warped reference image is the mean of the prior: with a Gaussian residual of deviation sigma_data the best
        estimate is c_skip x + (1 - c_skip) warp, and the network corrects it.

        No gradient of the sum reaches the warp or the still: what cannot be aligned yet would teach them
        to blur. The warp learns from an error of its own, the still's filter before the run. The painter has the last
        word, unless `painted` is False.
        """
        c_skip, c_out, c_in, c_noise = preconditioning(sigma, self.config.diffusion.sigma_data)
        expand = (slice(None), None, None, None, None)
        b, t = x.shape[:2]
        portrait = condition.portrait or self.portrait(condition.content, condition.reference_motion)
        change = condition.motion - condition.reference_motion[:, None]
        flow = portrait.moved_by(self.flow_basis(change))
        embedded = replace(
            condition,
            motion=self.flow_basis.embedded(condition.motion),
            reference_motion=self.flow_basis.embedded(condition.reference_motion),
        )
        scaled = (x * c_in[expand]).to(self.decoder.to_residual.weight.dtype)  # a decoder in bfloat16 takes bfloat16
        out = self.decoder(scaled, c_noise, embedded, temporal, self.transform)
        latents = c_skip[expand] * x + c_out[expand] * out.residual
        # Flow fields say a person's own motion exactly; what the decoder finds bends them to another face.
        if condition.foreign is not None:
            # In its own motion the still must stay as it is: what the decoder would move then is no motion.
            reference = embedded.reference_motion
            anchor = Condition(condition.content, reference[:, None], reference)
            bend = out.flow - self.decoder(scaled[:, :1], c_noise, anchor, False, self.transform).flow
            flow = flow + condition.foreign[expand] * bend
        looks = portrait.looks(change, t)
        frames = looks.flatten(0, 1)
        warped = warp(frames, flow.flatten(0, 1)).unflatten(0, (b, t))
        latents = latents + (1 - c_skip[expand]) * warped.detach()
        if painted:
            latents = self.painter(
                latents.flatten(0, 1),
                frames,
                warped.detach().flatten(0, 1),
                flow.detach().flatten(0, 1),
                out.tokens.flatten(0, 1),
                out.condition.flatten(0, 1),
            ).unflatten(0, (b, t))
        return Denoised(latents, flow, portrait.still, looks, warped)

    def warped_alone(self, condition: Condition) -> Denoised:
        """The mean of the prior alone: the still with its residual basis, moved by the flow fields. No network is asked."""
        change = condition.motion - condition.reference_motion[:, None]
        portrait = condition.portrait or self.portrait(condition.content, condition.reference_motion)
        flow, looks = portrait.moved_by(self.flow_basis(change)), portrait.looks(change, change.shape[1])
        warped = warp(looks.flatten(0, 1), flow.flatten(0, 1)).unflatten(0, looks.shape[:2])
        return Denoised(warped, flow, portrait.still, looks, warped)

    @torch.no_grad()
    def decode(self, condition: Condition, noise: Tensor, steps: int) -> Decoded:
        """Sample latents from unit noise [b, t, c, h, w] in `steps` EDM steps; in none what `warped_alone` gives."""
        found: Denoised | None = None  # of the last step

        def denoise(x: Tensor, sigma: float) -> Tensor:
            nonlocal found
            found = self.denoise(x, torch.full((x.shape[0],), sigma, device=x.device), condition)
            return found.latents

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

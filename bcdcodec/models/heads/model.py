"""The `heads` model: motion as flow and residual of a reference image, and a diffusion transformer over its warp."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from bcdcodec.models.alignment import LEVELS, QUICK
from bcdcodec.models.base import Refined, Synthesis
from bcdcodec.models.edm import preconditioning, sample_heun
from bcdcodec.models.flow_basis import FlowBasis
from bcdcodec.models.group_vq import GroupVQ
from bcdcodec.models.heads.alignment import align
from bcdcodec.models.heads.config import HeadsConfig
from bcdcodec.models.heads.denoiser import Denoiser
from bcdcodec.models.heads.dit import HeadsDiT
from bcdcodec.models.heads.encoder import HeadsEncoder
from bcdcodec.models.heads.reference import HeadsReference
from bcdcodec.models.heads.reference_frame import reference_frame
from bcdcodec.models.heads.reference_image import PatchTransform, ReferenceQuantiser
from bcdcodec.models.heads.refiner import Refiner
from bcdcodec.models.heads.residual_basis import ResidualBasis, SharedBasis, fit_residual_basis
from bcdcodec.models.load_older import rename_on_load
from bcdcodec.models.unet import UNet
from bcdcodec.models.warp import warp, warp_large

BASIS_FRAMES = 40  # of a clip, evenly spread, to which its residual basis is fitted


@dataclass(frozen=True)
class Denoised:
    """D(x; sigma) and what it was made of."""

    latents: Tensor  # [b, t, c, h, w]
    flow: Tensor  # [b, t, 2, gh, gw]
    images: Tensor  # [b, t, c, h, w] the reference image with each frame's residual
    warped: Tensor  # [b, t, c, h, w] that through the flow


class HeadsModel(nn.Module):
    """Bitrate-controlled diffusion over pixels [b, t, 3, h, w] in [-1, 1]: corrections of a warped reference image."""

    warps = True
    noise_per_frame = False

    def __init__(self, config: HeadsConfig):
        super().__init__()
        self.config = config
        latent, content, d = config.latent, config.content, config.decoder
        self.encoder = HeadsEncoder(config)
        self.vq = GroupVQ(config.quantiser)
        self.content_quantiser = ReferenceQuantiser(content)
        self.decoder = HeadsDiT(config)
        side = self.decoder.side
        self.refiner = Refiner(latent.channels, d.refiner, side, d.width)
        self.flow_basis = FlowBasis(config.motion_channels, side * d.flow_grid, content.residual_components)
        self.shared_basis = SharedBasis(
            content.residual_components, latent.channels, latent.size, config.motion_channels
        )
        self.denoiser = Denoiser(latent.channels, content.denoiser)
        self.super_resolution: UNet | None = None
        if content.super_resolution:
            self.super_resolution = UNet(latent.channels, latent.channels, content.super_resolution, latent.factor)
        components = max(content.transform_dim, d.transform_output)
        self.transform = PatchTransform(d.patch, latent.channels, content.rows, content.columns, components)
        rename_on_load(
            self,
            {
                r"decoder\.null_(motion|content)": None,
                r"painter\.condition\.": "refiner.condition.",
                r"painter\.tokens\.": "refiner.unet.coarse_input.",
                r"painter\.": "refiner.unet.",
                r"common\.": "shared_basis.",
                r"still_filter\.": "denoiser.",
                r"still_detail\.": "super_resolution.",
            },
        )

    # ---- motion and content of a clip

    def encode(self, z: Tensor, reference: int = 0) -> tuple[Tensor, Tensor]:
        """Content tokens [b, n, dim] and motion [b, t, m] of latents [b, t, c, h, w].

        `reference`: the frame whose patches the tokens hold.
        """
        content, m = self.encoder(z, self.transform(z[:, reference])[..., : self.config.content.transform_dim])
        return content, self._scaled(m)

    def motion(self, z: Tensor) -> Tensor:
        return self._scaled(self.encoder.motion(z))

    def _scaled(self, m: Tensor) -> Tensor:
        """The encoder's output [b, t, m] in units of each channel; the residual's coefficients come from alignment."""
        return self.flow_basis.flow_channels(m * self.flow_basis.deviation)

    def content(self, frames: Callable[[Tensor], Tensor], m: Tensor) -> tuple[Tensor, Tensor]:
        config, order = self.config.content, self.vq.from_middle(m)
        picked = order[torch.linspace(0, len(m) - 1, min(config.frames, len(m))).long()].cpu()
        picked[0] = reference_frame(self.flow_basis, self.shared_basis, frames, m, order)
        z = frames(picked)
        tokens, m_own = self.encode(z[None])
        tokens[..., config.transform_dim :] = 0.0  # they take 129 bytes a content and change no picture
        others = torch.from_numpy(np.unique(np.linspace(0, len(m) - 1, BASIS_FRAMES).astype(int)))
        residual = self._own_residual(z[0], frames(others), m[others], m[picked[0]])
        return torch.cat([tokens, residual], -1), m_own[0, :1]

    def _own_residual(self, image: Tensor, frames: Tensor, m: Tensor, m_image: Tensor) -> Tensor:
        """Coefficients [1, n, k * d] of a clip's residual basis, less the shared one.

        Frames [t, c, h, w] of motion `m` [t, m], the reference image [c, h, w] of motion `m_image` [m].
        """
        change, _ = align(self.flow_basis, image.expand_as(frames), frames, m - m_image)
        # The decoder knows no more of where the face is than the quantised motion.
        shared = self.shared_basis.at(self.flow_basis, self.vq.quantise(m_image[None, None])[0])
        own = fit_residual_basis(self.flow_basis, shared, image, frames, change)
        difference = own - shared.components[0]
        coefficients = self.transform.coefficients(difference, self.config.content.residual_dim)  # [k, n, d]
        return coefficients.movedim(0, -1).flatten(1)[None]

    # ---- the reference of a scene

    def reference(self, tokens: Tensor, motion: Tensor, detailed: bool = False) -> HeadsReference:
        image = self.image(tokens)
        # The super-resolution network: neither encoder nor training look at what it adds.
        detail = self.super_resolution(image) if detailed and self.super_resolution is not None else None
        return HeadsReference(tokens, motion, image, self.residual_basis(tokens, motion), detail)

    def image(self, tokens: Tensor) -> Tensor:
        """The reference image [b, c, h, w] that the content tokens [b, n, d] hold."""
        return self.denoiser(self.transform.inverse(tokens[..., : self.config.content.transform_dim]))

    def residual_basis(self, tokens: Tensor, motion: Tensor) -> ResidualBasis | None:
        """That of tokens [b, n, channels] whose image has `motion` [b, m]; None for tokens of `dim` channels."""
        c = self.config.content
        if tokens.shape[-1] == c.dim:
            return None
        coefficients = tokens[..., c.dim :].unflatten(-1, (-1, c.residual_components)).movedim(-1, 1)  # [b, k, n, d]
        own = self.transform.difference(coefficients.flatten(0, 1)).unflatten(0, coefficients.shape[:2])
        shared = self.shared_basis.at(self.flow_basis, motion)
        return replace(shared, components=shared.components + own)

    # ---- motion by alignment

    @torch.no_grad()
    def refine(self, z: Tensor, m: Tensor, reference: HeadsReference, quick: bool = False) -> Refined:
        """The motion whose flow makes the reference image most like z, by `alignment`. One residual basis for all."""
        b, t = z.shape[:2]
        change, hessian = align(
            self.flow_basis,
            reference.image[:, None].expand(b, t, *z.shape[2:]).flatten(0, 1),
            z.flatten(0, 1),
            (m - reference.motion[:, None]).flatten(0, 1),
            reference.residual_basis,
            QUICK if quick else LEVELS,
        )
        return Refined(reference.motion[:, None] + change.unflatten(0, (b, t)), hessian.unflatten(0, (b, t)))

    @torch.no_grad()
    def warp_errors(self, z: Tensor, refined: Refined, reference: HeadsReference) -> Tensor:
        change = refined.motion[0] - reference.motion
        flow = self.flow_basis(change)
        weight = torch.ones_like(z[:, :1])
        if reference.residual_basis is not None:
            weight = warp(reference.residual_basis.salience.expand_as(weight), flow)
        error = (warp(reference.with_residual(change[None])[0], flow) - z).square().mean(1, keepdim=True) / 4
        salient = (weight * error).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp_min(1e-6)
        return torch.stack([salient, error.mean((1, 2, 3))], -1)

    # ---- the decoder

    def denoise(
        self,
        x: Tensor,
        sigma: Tensor,
        reference: HeadsReference,
        m_hat: Tensor,
        temporal: bool = True,
        refined: bool = True,
    ) -> Denoised:
        """D(x; sigma) for noisy latents x [b, t, c, h, w], noise levels sigma [b] and quantised motion [b, t, m].

        The warped reference image is the mean of the prior: with a Gaussian residual of deviation sigma_data the best
        estimate is c_skip x + (1 - c_skip) warp, and the network corrects it. Then, unless `refined` is False, the
        refiner corrects the estimate.

        No gradient of the sum reaches the warp or the image: what cannot be aligned yet would teach them to blur. The
        warp learns from an error of its own, the denoiser before the run.
        """
        c_skip, c_out, c_in, c_noise = preconditioning(sigma, self.config.diffusion.sigma_data)
        expand = (slice(None), None, None, None, None)
        b, t = x.shape[:2]
        embedded, m_image = (self.flow_basis.embedded(m) for m in (m_hat, reference.motion))
        scaled = (x * c_in[expand]).to(self.decoder.to_residual.weight.dtype)  # a decoder in bfloat16 takes bfloat16
        out = self.decoder(scaled, c_noise, reference.tokens, embedded, m_image, self.transform, temporal)
        latents = c_skip[expand] * x + c_out[expand] * out.residual
        flow, images = self._moved(reference, m_hat)
        if reference.cross_identity is not None:
            # The decoder adapts another person's flow to this face. In the image's own motion nothing may move.
            anchor = self.decoder(scaled[:, :1], c_noise, reference.tokens, m_image[:, None], m_image, self.transform)
            flow = flow + reference.cross_identity[expand] * (out.flow - anchor.flow)
        warped = _warp(images, flow)
        latents = latents + (1 - c_skip[expand]) * warped.detach()
        if refined:
            seen = latents, images, warped.detach(), flow.detach(), out.tokens, out.condition
            latents = self.refiner(*(part.flatten(0, 1) for part in seen)).unflatten(0, (b, t))
        return Denoised(latents, flow, images, warped)

    def _moved(self, reference: HeadsReference, m_hat: Tensor) -> tuple[Tensor, Tensor]:
        """What quantised motion [b, t, m] makes of a reference: the flow, and the image with the residual."""
        change = m_hat - reference.motion[:, None]
        return self.flow_basis(change), reference.with_residual(change)

    @torch.no_grad()
    def synthesise(self, reference: HeadsReference, m_hat: Tensor, noise: Tensor, steps: int) -> Synthesis:
        found: Denoised | None = None  # of the last step

        def denoise(x: Tensor, sigma: float) -> Tensor:
            nonlocal found
            found = self.denoise(x, torch.full((x.shape[0],), sigma, device=x.device), reference, m_hat)
            return found.latents

        if steps:
            latents = sample_heun(denoise, noise, self.config.diffusion, steps)
        else:
            flow, images = self._moved(reference, m_hat)
            latents = _warp(images, flow)
            found = Denoised(latents, flow, images, latents)
        if reference.detail is None:
            return Synthesis(latents)
        # The image is warped at the size of the pictures, where that blurs less; the latents are what comes on top.
        detail = reference.detail[:, None].expand(*noise.shape[:2], -1, -1, -1)
        large = warp_large(*(x.flatten(0, 1) for x in (found.images, detail, found.flow)))
        return Synthesis(latents - found.warped, large.unflatten(0, noise.shape[:2]))

    def decoding_networks(self) -> list[nn.Module]:
        return [self.decoder, self.refiner]


def _warp(images: Tensor, flow: Tensor) -> Tensor:
    """Images [b, t, c, h, w] through flow [b, t, 2, gh, gw]."""
    return warp(images.flatten(0, 1), flow.flatten(0, 1)).unflatten(0, images.shape[:2])

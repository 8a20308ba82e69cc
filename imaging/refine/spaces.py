"""Where a diffusion model works: on an autoencoder's latents, or on pictures themselves."""

from typing import Any

import torch
from torch import Tensor

from .parts import RefinerParts
from .pixel_space import PixelSpace

__all__ = ["LatentSpace", "space_of"]


class LatentSpace:
    """Latents of diffusers' AutoencoderKL, or of its small stand-in AutoencoderTiny.

    It has the methods of :class:`~barelens.imaging.refine.pixel_space.PixelSpace`, and no use for
    the linear reconstruction that they take.

    Parameters
    ----------
    vae : diffusers.AutoencoderKL or diffusers.AutoencoderTiny
        The autoencoder.
    """

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        blocks = vae.config.get("block_out_channels") or vae.config["encoder_block_out_channels"]
        self.patch = 2 ** (len(blocks) - 1)
        self._scale = float(vae.config["scaling_factor"])

    def conditioning(self, image: Tensor, linear: Tensor) -> Tensor:
        """Give what the ControlNet sees: the image as it is."""
        return image

    def encode(self, picture: Tensor, linear: Tensor) -> Tensor:
        """Map pictures (batch, 3, height, width) in [-1, 1] to float32 latents, without noise."""
        encoded = self._vae.encode(picture.to(self._dtype))
        latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
        return self._scale * latents.float()

    def decode(self, latents: Tensor, linear: Tensor) -> Tensor:
        """Map latents to float32 pictures, about [-1, 1]."""
        return self._vae.decode((latents / self._scale).to(self._dtype)).sample.float()

    def set_tiling(self, tiled: bool) -> None:
        """Choose whether to encode and decode in tiles, for large fields."""
        if tiled:
            self._vae.enable_tiling()
        else:
            self._vae.disable_tiling()

    @property
    def _dtype(self) -> torch.dtype:
        return next(self._vae.parameters()).dtype


def space_of(parts: RefinerParts) -> LatentSpace | PixelSpace:
    """Give the space that a refiner works in."""
    if parts.vae is not None:
        return LatentSpace(parts.vae)
    return PixelSpace(
        parts.record.patch,
        parts.record.residual_scale,
        parts.record.smoothing,
        parts.record.folded_conditioning,
    )

"""What a pixel-space model diffuses: pictures, or what they add to the linear reconstruction."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..shapes import ShapeError

__all__ = ["PixelSpace"]


@dataclass(frozen=True)
class PixelSpace:
    """An exact, invertible map between pictures and the samples of a pixel-space model.

    Parameters
    ----------
    patch : int, optional
        Side of the squares of pixels that become channels: a sample has ``3 * patch**2`` channels
        and sides ``patch`` times smaller than the picture's.
    residual_scale : float or None, optional
        If given, a sample is the picture less the smoothed linear reconstruction, over this scale:
        a model then starts from that and has only to correct it.
    smoothing : float, optional
        Standard deviation, in pixels, of the Gaussian that smooths it, at least 0. Noise that is
        not in the start needs no undoing.
    folded_conditioning : bool, optional
        Whether the ControlNet sees its conditioning with the linear reconstruction as a picture
        in front, and in squares of pixels as well: all that it shall correct, pixel by pixel.

    Raises
    ------
    ValueError
        An argument is not positive.

    References
    ----------
    Whang et al., "Deblurring via Stochastic Refinement", CVPR 2022, for the residual.
    """

    patch: int = 1
    residual_scale: float | None = None
    smoothing: float = 0.0
    folded_conditioning: bool = False

    def __post_init__(self) -> None:
        if self.patch < 1:
            raise ValueError(f"patch must be at least 1, got {self.patch}")
        if self.residual_scale is not None and not self.residual_scale > 0:
            raise ValueError(f"residual_scale must be positive or None, got {self.residual_scale}")
        if not self.smoothing >= 0:
            raise ValueError(f"smoothing must be at least 0, got {self.smoothing}")

    @property
    def channels(self) -> int:
        """Channels of a sample."""
        return 3 * self.patch**2

    def conditioning(self, image: Tensor, linear: Tensor) -> Tensor:
        """Give what the ControlNet sees of a conditioning image (batch, channels, height, width).

        Folded, it has ``(3 + channels) * patch**2`` channels.
        """
        if not self.folded_conditioning:
            return image
        return functional.pixel_unshuffle(torch.cat([linear, image], 1), self.patch)

    def encode(self, picture: Tensor, linear: Tensor) -> Tensor:
        """Map pictures to samples.

        Parameters
        ----------
        picture, linear : Tensor, shape (batch, 3, height, width)
            The picture and the linear reconstruction, both as sRGB in [-1, 1], see
            :func:`~barelens.imaging.refine.to_model_range`; sides are multiples of ``patch``.

        Raises
        ------
        ShapeError
            A side is no multiple of ``patch``.
        """
        height, width = picture.shape[-2:]
        if height % self.patch or width % self.patch:
            raise ShapeError(f"picture must have sides of {self.patch}n, got {height}x{width}")
        if self.residual_scale is not None:
            picture = (picture - self._smoothed(linear)) / self.residual_scale
        return functional.pixel_unshuffle(picture, self.patch)

    def decode(self, sample: Tensor, linear: Tensor) -> Tensor:
        """Undo :meth:`encode`; nothing is clipped."""
        picture = functional.pixel_shuffle(sample, self.patch)
        if self.residual_scale is None:
            return picture
        return self._smoothed(linear) + self.residual_scale * picture

    def _smoothed(self, image: Tensor) -> Tensor:
        if not self.smoothing:
            return image
        reach = math.ceil(3 * self.smoothing)
        offsets = torch.arange(-reach, reach + 1, dtype=image.dtype, device=image.device)
        weights = torch.exp(-(offsets / self.smoothing).square() / 2)
        weights = (weights / weights.sum()).expand(image.shape[1], 1, 1, -1)
        channels = image.shape[1]
        padded = functional.pad(image, (reach,) * 4, mode="replicate")
        rows = functional.conv2d(padded, weights, groups=channels)
        return functional.conv2d(rows, weights.mT.contiguous(), groups=channels)

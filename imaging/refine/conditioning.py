r"""What a camera-conditioned refiner is told: the linear reconstruction and how far to trust it.

One model then serves many cameras. The camera's gain map :math:`G = g^2 / (g^2 + \sigma^2/\tau^2)`
lives in the camera's own singular vectors; a convolutional network needs pixels. So it enters as
its diagonal there: the standard deviation that remains in each pixel, and the share of each
pixel's variance that the capture measured.
"""

import math

import torch
from torch import Tensor

from ..bayer import planes_to_rgb
from ..files import linear_to_srgb, srgb_to_linear
from ..prediction import posterior_variance
from ..shapes import ShapeError, check_floating
from ..solvers import SeparableFactors

__all__ = [
    "CONDITIONING_CHANNELS",
    "condition",
    "from_model_range",
    "to_model_range",
    "white_level",
]

#: Linear RGB (3), posterior standard deviation in RGB (3), measured share (1), noise level (1).
CONDITIONING_CHANNELS = 8


def white_level(reconstruction: Tensor, percentile: float = 99.5) -> Tensor:
    """Choose the linear value that a model shall see as 1, for each image.

    Parameters
    ----------
    reconstruction : Tensor, shape (batch, channels, height, width)
        Linear reconstructions, in units of the scene.
    percentile : float, optional
        The share of all values, in percent, that are not brighter, in (0, 100].

    Returns
    -------
    Tensor, shape (batch,)
        Over 0; it is 1 where an image has nothing above 0.
    """
    values = reconstruction.flatten(1)
    rank = math.ceil(values.shape[1] * percentile / 100)
    level = values.kthvalue(rank, dim=1).values
    return torch.where(level > 0, level, torch.ones_like(level))


def condition(
    reconstruction: Tensor,
    factors: SeparableFactors,
    noise_std: float | Tensor,
    prior_std: float | Tensor,
    *,
    white: Tensor | None = None,
) -> Tensor:
    """Give the input of a camera-conditioned ControlNet.

    Parameters
    ----------
    reconstruction : Tensor of a floating-point dtype, shape (batch, 3, height, width)
        Linear RGB in units of the scene, neither clipped nor scaled.
    factors : SeparableFactors
        The camera; its scenes have the reconstruction's height and width.
    noise_std : float or Tensor, shape (batch, planes) or broadcastable to it
        Noise of captures, over 0, in units of captures.
    prior_std : float or Tensor, likewise
        Standard deviation of scene samples. Tikhonov's penalty is
        ``noise_std**2 / prior_std**2``.
    white : Tensor, shape (batch,), optional
        The linear value that becomes 1; :func:`white_level` of the reconstruction by default.

    Returns
    -------
    Tensor, shape (batch, 8, height, width)
        Linear RGB over white; its posterior standard deviation over white, RGB; the share of a
        pixel's variance that the capture measured, from 0 to 1; and the logarithm to base 10 of
        the noise over the largest signal, ``noise_std / (prior_std * largest gain)``.

    Raises
    ------
    ShapeError, TypeError
        The reconstruction is of another shape or dtype.
    ValueError
        A standard deviation is not positive.
    """
    check_floating(reconstruction, "reconstruction")
    wanted = (3, *factors.scene_shape[-2:])
    if reconstruction.ndim != 4 or tuple(reconstruction.shape[1:]) != wanted:
        raise ShapeError(
            f"reconstruction must have shape (batch, {', '.join(map(str, wanted))}), "
            f"got {tuple(reconstruction.shape)}"
        )
    like = factors.gains
    noise, prior = (
        torch.as_tensor(value, dtype=like.dtype, device=like.device)
        for value in (noise_std, prior_std)
    )
    variance = posterior_variance(factors, noise, prior)
    share = 1 - variance / prior.square()[..., None, None]
    level = torch.log10(noise / (prior * factors.gains.amax((-2, -1))))
    if white is None:
        white = white_level(reconstruction)
    scale = white.to(reconstruction)[:, None, None, None]
    shape = reconstruction.shape
    return torch.cat(
        [
            reconstruction / scale,
            _rgb(variance.sqrt(), shape).to(reconstruction) / scale,
            _rgb(share, shape).to(reconstruction).mean(1, keepdim=True),
            _rgb(level[..., None, None], shape).to(reconstruction).mean(1, keepdim=True),
        ],
        dim=1,
    )


def _rgb(maps: Tensor, shape: torch.Size) -> Tensor:
    """Bring maps of one plane, three or four Bayer planes to (batch, 3, height, width)."""
    maps = maps.expand(*maps.shape[:-2], *shape[-2:])
    if maps.ndim > 2 and maps.shape[-3] == 4:
        maps = planes_to_rgb(maps)
    return maps.expand(shape)


def to_model_range(linear: Tensor, white: Tensor) -> Tensor:
    """Encode linear light (batch, 3, height, width) as models see pictures: sRGB in [-1, 1].

    What is below black or above ``white`` (batch,) is clipped, because a picture ends there.
    """
    unit = linear / white.to(linear)[:, None, None, None]
    return 2 * linear_to_srgb(unit.clamp(0, 1)) - 1


def from_model_range(picture: Tensor, white: Tensor) -> Tensor:
    """Undo :func:`to_model_range`: pictures to linear light; values beyond [-1, 1] are clipped."""
    unit = srgb_to_linear((picture.clamp(-1, 1) + 1) / 2)
    return unit * white.to(picture)[:, None, None, None]

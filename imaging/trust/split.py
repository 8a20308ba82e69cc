r"""Measured or invented: what of a picture the sensor determined, and what came from elsewhere.

In the spectral basis of a camera a capture knows of a coefficient with gain :math:`s` the share
:math:`G = s^2 / (s^2 + \sigma^2 / \tau^2)`, with noise :math:`\sigma` and a scene of root mean
square :math:`\tau`. A picture :math:`X` falls into the measured part :math:`V G V^T X` and the
invented part :math:`V (1 - G) V^T X`, which sum to it exactly.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..prediction import measured_share
from ..shapes import ShapeError, check_floating, check_shape
from .spectrum import Factors
from .windows import check_window, window_mean

__all__ = [
    "PromptAudit",
    "Split",
    "audit_prompt",
    "keep_measured",
    "split_picture",
    "support_measured",
]


@dataclass(frozen=True, eq=False)
class Split:
    """A picture in two parts.

    Attributes
    ----------
    measured : Tensor, shape (..., height, width)
        What the sensor determined.
    invented : Tensor, shape (..., height, width)
        The rest; both sum to the picture.
    """

    measured: Tensor
    invented: Tensor

    @property
    def picture(self) -> Tensor:
        """The whole."""
        return self.measured + self.invented

    def fraction(self) -> Tensor:
        """Measured share of the picture's energy, shape (...), in [0, 1]; NaN of a black one."""
        picture = self.picture
        return (picture * self.measured).sum((-2, -1)) / picture.square().sum((-2, -1))

    def share_map(
        self,
        window: int = 9,
        *,
        of: Literal["light", "contrast"] = "light",
        floor: float | Tensor = 0.0,
    ) -> Tensor:
        """Measured share around each pixel.

        Parameters
        ----------
        window : int, optional
            Odd side of the square around each pixel, in pixels.
        of : {"light", "contrast"}, optional
            Whether to compare energies, or variances within the window: invented detail on a
            bright background shows in the second alone.
        floor : float or Tensor, shape (...), optional
            Root mean square below which there is nothing to speak of, such as the noise.

        Returns
        -------
        Tensor, shape (..., height, width)
            In [0, 1], NaN where there is nothing to be measured or invented.

        Raises
        ------
        ValueError
            The window is even or not positive, or ``of`` is unknown.
        """
        check_window(window)
        if of not in ("light", "contrast"):
            raise ValueError(f"of must be 'light' or 'contrast', got {of!r}")
        measured, invented = (
            window_mean(part.square(), window) for part in (self.measured, self.invented)
        )
        if of == "contrast":
            measured = (measured - window_mean(self.measured, window).square()).clamp_min(0)
            invented = (invented - window_mean(self.invented, window).square()).clamp_min(0)
        total = measured + invented
        # What rounding leaves of a flat part is neither measured nor invented.
        rounding = torch.finfo(total.dtype).eps * self.picture.square().amax((-2, -1))
        least = torch.maximum(rounding, torch.as_tensor(floor).to(total).square())
        return torch.where(total > least[..., None, None], measured / total, torch.nan)


def split_picture(
    picture: Tensor,
    factors: Factors,
    noise_std: float | Tensor,
    prior_std: float | Tensor,
    *,
    spectrum: Tensor | None = None,
) -> Split:
    """Split any picture by what a camera can have measured of it.

    Parameters
    ----------
    picture : Tensor, shape (..., *scene_shape)
        In units of the camera's scenes, one plane for each of the camera's.
    factors : SeparableFactors or FourierFactors
        The camera, see :func:`~barelens.imaging.trust.factorise`.
    noise_std : float or Tensor, shape (...)
        Noise of the capture, over 0.
    prior_std : float or Tensor, shape (...)
        Root mean square of the scene, over 0.
    spectrum : Tensor, optional
        ``factors.decompose(picture)``, where it is known already.

    Returns
    -------
    Split
        Both parts, in the shape of the picture.

    Raises
    ------
    ShapeError, TypeError
        The picture is not one of this camera.
    ValueError
        A standard deviation is not positive.

    References
    ----------
    Wang, Yu & Zhang, "Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model",
    ICLR, 2023, for the noiseless case.
    """
    check_floating(picture, "picture")
    check_shape(picture, factors.scene_shape, "picture")
    share = measured_share(factors.gains, noise_std, prior_std)
    spectrum = factors.decompose(picture) if spectrum is None else spectrum
    measured = factors.synthesise(share * spectrum)
    return Split(measured, picture - measured)


def keep_measured(
    picture: Tensor,
    reference: Tensor,
    factors: Factors,
    noise_std: float | Tensor,
    prior_std: float | Tensor,
) -> Tensor:
    """Let a picture differ from its reference in the unmeasured part only.

    Parameters
    ----------
    picture : Tensor, shape (..., *scene_shape)
        A picture made with a prompt, or edited.
    reference : Tensor, shape (..., *scene_shape)
        The picture whose measured part is kept: made without a prompt, or the linear one.
    factors, noise_std, prior_std
        As for :func:`split_picture`.

    Returns
    -------
    Tensor, shape (..., *scene_shape)
        The reference and the invented part of the change.
    """
    check_equal(picture, reference, "picture")
    change = split_picture(picture - reference, factors, noise_std, prior_std)
    return reference + change.invented


@dataclass(frozen=True, eq=False)
class PromptAudit:
    """What prompts changed in a picture made from one capture with one seed.

    Attributes
    ----------
    prompt, wrong_prompt : Split
        The change from the picture without a prompt to those with one; the measured part of a
        change contradicts the sensor.
    prompt_change, wrong_prompt_change : Tensor, shape (...)
        Root mean square of the change over that of the picture without a prompt.
    """

    prompt: Split
    wrong_prompt: Split
    prompt_change: Tensor
    wrong_prompt_change: Tensor


def audit_prompt(
    without: Tensor,
    with_prompt: Tensor,
    with_wrong_prompt: Tensor,
    factors: Factors,
    noise_std: float | Tensor,
    prior_std: float | Tensor,
) -> PromptAudit:
    """Say what a prompt changed, and whether the sensor had a say in it.

    Parameters
    ----------
    without, with_prompt, with_wrong_prompt : Tensor, shape (..., *scene_shape)
        Pictures made from the same capture with the same seed: without a prompt, with one that
        fits the scene and with one that does not.
    factors, noise_std, prior_std
        As for :func:`split_picture`.

    Returns
    -------
    PromptAudit
        Both changes, split.

    Raises
    ------
    ShapeError
        The pictures differ in shape.
    """
    scale = without.square().mean((-2, -1)).sqrt()
    splits = []
    for name, picture in (("with_prompt", with_prompt), ("with_wrong_prompt", with_wrong_prompt)):
        check_equal(picture, without, name)
        splits.append(split_picture(picture - without, factors, noise_std, prior_std))
    changes = [split.picture.square().mean((-2, -1)).sqrt() / scale for split in splits]
    return PromptAudit(splits[0], splits[1], changes[0], changes[1])


def support_measured(share_map: Tensor, keypoints: Tensor, radius: float) -> Tensor:
    """Measured share of the picture around each keypoint.

    Parameters
    ----------
    share_map : Tensor, shape (..., height, width)
        As from :meth:`Split.share_map`; NaN counts as no evidence and is left out.
    keypoints : Tensor, shape (..., keypoints, 2)
        (x, y) in pixels of the map, with 0 at the centre of the first one.
    radius : float
        Radius of the disc around a keypoint, over 0, in pixels.

    Returns
    -------
    Tensor, shape (..., keypoints)
        In [0, 1]; NaN for a keypoint that is NaN or whose disc holds no pixel.

    Raises
    ------
    ShapeError
        Keypoints have another shape.
    ValueError
        The radius is not positive.
    """
    if keypoints.ndim < 2 or keypoints.shape[-1] != 2:
        raise ShapeError(f"keypoints must have shape (..., n, 2), got {tuple(keypoints.shape)}")
    if not radius > 0:
        raise ValueError(f"radius must be positive, got {radius}")
    height, width = share_map.shape[-2:]
    points = keypoints.to(share_map)
    reach = torch.arange(-math.ceil(radius), math.ceil(radius) + 1).to(share_map)
    columns = points[..., :1].round() + reach
    rows = points[..., 1:].round() + reach
    distance = torch.hypot(
        (rows - points[..., 1:])[..., :, None], (columns - points[..., :1])[..., None, :]
    )
    rows_in, columns_in = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    inside = (distance <= radius) & rows_in[..., :, None] & columns_in[..., None, :]
    at_row = torch.where(rows_in, rows, 0.0).long()
    at_column = torch.where(columns_in, columns, 0.0).long()
    index = (at_row[..., :, None] * width + at_column[..., None, :]).flatten(-3)
    lead = (share_map[..., 0, 0] + points[..., 0, 0]).shape
    flat = share_map.flatten(-2).expand(*lead, height * width)
    shares = flat.gather(-1, index.expand(*lead, -1)).reshape(*lead, *inside.shape[-3:])
    known = inside & ~shares.isnan()
    return torch.where(known, shares, 0.0).sum((-2, -1)) / known.sum((-2, -1))


def check_equal(picture: Tensor, reference: Tensor, name: str) -> None:
    if picture.shape != reference.shape:
        raise ShapeError(
            f"{name} must have the shape of its reference, {tuple(reference.shape)}, "
            f"got {tuple(picture.shape)}"
        )

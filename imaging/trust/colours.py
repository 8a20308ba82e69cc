"""Measured or invented in colour: splits of RGB pictures by what each plane of a sensor saw."""

import torch
from torch import Tensor

from ..bayer import plane_mixing
from ..shapes import ShapeError
from .spectrum import Factors
from .split import Split, check_equal, split_picture

__all__ = ["keep_measured_colours", "split_colours"]


def split_colours(
    picture: Tensor,
    factors: Factors,
    noise_std: Tensor,
    prior_std: Tensor,
    *,
    colour_matrix: Tensor | None = None,
) -> Split:
    """Split RGB pictures by what the planes of a camera can have measured of them.

    Of two greens the mean is taken of what each has measured.

    Parameters
    ----------
    picture : Tensor, shape (..., 3, *scene size)
        Linear light in units of the camera's scenes.
    factors : SeparableFactors or FourierFactors
        The camera, see :func:`~barelens.imaging.trust.factorise`.
    noise_std, prior_std : Tensor, shape (planes)
        Noise of the capture and root mean square of the scene, over 0; 4 planes for R, Gr, Gb and
        B, 3 for RGB, 1 for grey.
    colour_matrix : Tensor, shape (3, 3), optional
        From the camera's RGB to that of the picture.

    Returns
    -------
    Split
        Both parts in RGB.

    Raises
    ------
    ShapeError, TypeError
        The picture is not one of this camera, or the numbers of planes differ.
    ValueError
        A standard deviation is not positive, or no camera has so many planes.
    """
    if picture.ndim < 3 or picture.shape[-3] != 3:
        raise ShapeError(f"picture must have shape (..., 3, h, w), got {tuple(picture.shape)}")
    if noise_std.ndim != 1 or prior_std.shape != noise_std.shape:
        raise ShapeError(
            "noise_std and prior_std must have one shape (planes), "
            f"got {tuple(noise_std.shape)} and {tuple(prior_std.shape)}"
        )
    mixing = plane_mixing(len(noise_std), colour_matrix)
    planes = _mix(mixing, picture)
    measured = split_picture(planes, factors, noise_std, prior_std).measured
    merged = _mix(torch.linalg.pinv(mixing), measured)
    return Split(merged, picture - merged)


def keep_measured_colours(
    picture: Tensor,
    reference: Tensor,
    factors: Factors,
    noise_std: Tensor,
    prior_std: Tensor,
    *,
    colour_matrix: Tensor | None = None,
) -> Tensor:
    """Let RGB pictures differ from their reference in the unmeasured part only.

    Parameters
    ----------
    picture, reference : Tensor, shape (..., 3, *scene size)
        As for :func:`~barelens.imaging.trust.keep_measured`.
    factors, noise_std, prior_std, colour_matrix
        As for :func:`split_colours`.

    Returns
    -------
    Tensor, shape (..., 3, *scene size)
        The reference and the invented part of the change.

    Raises
    ------
    ShapeError
        The pictures differ in shape.
    """
    check_equal(picture, reference, "picture")
    change = split_colours(
        picture - reference, factors, noise_std, prior_std, colour_matrix=colour_matrix
    )
    return reference + change.invented


def _mix(matrix: Tensor, channels: Tensor) -> Tensor:
    return torch.einsum("ij,...jhw->...ihw", matrix.to(channels), channels)

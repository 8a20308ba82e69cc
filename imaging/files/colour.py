"""The sRGB transfer curve."""

import torch
from torch import Tensor

from ..shapes import check_floating

__all__ = ["linear_to_srgb", "srgb_to_linear"]

_LINEAR_KNEE = 0.0031308
_SRGB_KNEE = 0.04045


def srgb_to_linear(encoded: Tensor) -> Tensor:
    """Decode sRGB values to linear light.

    The curve is extended to all reals by symmetry, ``f(-v) = -f(v)``, and continues above 1, so
    that nothing is clipped. The standard's rounded constants leave a gap of 3e-8 at the knee; the
    round trip with :func:`linear_to_srgb` is exact to that there and to rounding elsewhere.

    Parameters
    ----------
    encoded : Tensor, any shape
        Encoded values; 0 to 1 is black to white.

    Returns
    -------
    Tensor
        Linear values of the same shape and dtype.

    Raises
    ------
    TypeError
        The dtype is not floating point.

    References
    ----------
    IEC 61966-2-1:1999, "Default RGB colour space - sRGB".
    """
    check_floating(encoded, "encoded")
    # The clamp keeps the branch that is not taken from giving infinite gradients.
    magnitude = encoded.abs().clamp_min(_SRGB_KNEE)
    curve = torch.sign(encoded) * ((magnitude + 0.055) / 1.055) ** 2.4
    return torch.where(encoded.abs() <= _SRGB_KNEE, encoded / 12.92, curve)


def linear_to_srgb(linear: Tensor) -> Tensor:
    """Encode linear light as sRGB values, the inverse of :func:`srgb_to_linear`.

    Parameters
    ----------
    linear : Tensor, any shape
        Linear values; 0 to 1 is black to white, others by the same symmetry.

    Returns
    -------
    Tensor
        Encoded values of the same shape and dtype.

    Raises
    ------
    TypeError
        The dtype is not floating point.
    """
    check_floating(linear, "linear")
    magnitude = linear.abs().clamp_min(_LINEAR_KNEE)
    curve = torch.sign(linear) * (1.055 * magnitude ** (1 / 2.4) - 0.055)
    return torch.where(linear.abs() <= _LINEAR_KNEE, linear * 12.92, curve)

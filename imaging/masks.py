"""Mask profiles: the one-dimensional ±1 sequences that separable masks are made of."""

import torch
from torch import Tensor

from .shapes import ShapeError, check_floating

__all__ = [
    "check_profile",
    "m_sequence",
    "mura",
    "open_fraction",
    "physical_mask",
    "random_profile",
]


def m_sequence(order: int, *, repeats: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    """Maximum-length sequence of a shift register.

    Its circular autocorrelation is flat but for its peak, which makes the mask as well
    conditioned as a 0/1 mask of its length can be.

    Parameters
    ----------
    order : int
        Length of the shift register, 2 to 12.
    repeats : int, optional
        How many periods; FlatCam's masks have two, so that every shift sees a full one.
    dtype : torch.dtype, optional
        Floating-point dtype of the result.

    Returns
    -------
    Tensor, shape (repeats * (2**order - 1),)
        Values -1 (opaque) and 1 (open).

    Raises
    ------
    ValueError
        The order or the number of repeats is out of range.

    References
    ----------
    Golomb, "Shift Register Sequences", 1967; Asif et al., "FlatCam", 2017.
    """
    from scipy.signal import max_len_seq

    if not 2 <= order <= 12:
        raise ValueError(f"order must be from 2 to 12, got {order}")
    bits, _ = max_len_seq(order)
    return _repeated(torch.from_numpy(bits).to(dtype) * 2 - 1, repeats)


def mura(length: int, *, repeats: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    """Profile of a modified uniformly redundant array: quadratic residues of a prime.

    The outer product of the profile with itself is, but for its first row and column, the two
    dimensional MURA.

    Parameters
    ----------
    length : int
        An odd prime.
    repeats : int, optional
        How many periods.
    dtype : torch.dtype, optional
        Floating-point dtype of the result.

    Returns
    -------
    Tensor, shape (repeats * length,)
        1 at 0 and at quadratic residues, -1 elsewhere.

    Raises
    ------
    ValueError
        The length is no odd prime.

    References
    ----------
    Gottesman & Fenimore, "New family of binary arrays for coded aperture imaging", Applied
    Optics, 1989.
    """
    if length < 3 or any(length % factor == 0 for factor in range(2, int(length**0.5) + 1)):
        raise ValueError(f"length must be an odd prime, got {length}")
    profile = -torch.ones(length, dtype=dtype)
    profile[[k * k % length for k in range(length)]] = 1
    return _repeated(profile, repeats)


def random_profile(length: int, *, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Draw a profile of independent, equally likely -1 and 1.

    Parameters
    ----------
    length : int
        Number of features, at least 2.
    seed : int
        Seed of the draw.
    dtype : torch.dtype, optional
        Floating-point dtype of the result.

    Returns
    -------
    Tensor, shape (length,)
        Values -1 and 1.
    """
    if length < 2:
        raise ValueError(f"length must be at least 2, got {length}")
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, (length,), generator=generator).to(dtype) * 2 - 1


def check_profile(profile: Tensor, name: str = "profile") -> Tensor:
    """Require a one-dimensional profile of -1 and 1, and return it.

    Raises
    ------
    ShapeError
        The profile is not one-dimensional or has fewer than two features.
    TypeError
        It has no floating-point dtype.
    ValueError
        It holds other values, or only one of the two.
    """
    check_floating(profile, name)
    if profile.ndim != 1 or profile.numel() < 2:
        raise ShapeError(
            f"{name} must have shape (features,) with 2 or more, got {tuple(profile.shape)}"
        )
    if not bool((profile.abs() == 1).all()):
        raise ValueError(f"{name} must hold only -1 (opaque) and 1 (open)")
    if bool((profile == profile[0]).all()):
        raise ValueError(f"{name} must hold both -1 and 1, got {float(profile[0]):g} everywhere")
    return profile


def physical_mask(profile_left: Tensor, profile_right: Tensor) -> Tensor:
    """Transmission of the mask that is made: 0 (chrome) and 1 (open).

    It is half the outer product of the profiles plus a half. The constant part passes light that
    the separable model does not hold; removing row and column means from captures removes it.

    Parameters
    ----------
    profile_left, profile_right : Tensor, shape (rows,) and (columns,)
        Profiles of -1 and 1.

    Returns
    -------
    Tensor, shape (rows, columns)
        Values 0 and 1.
    """
    check_profile(profile_left, "profile_left")
    check_profile(profile_right, "profile_right")
    return (torch.outer(profile_left, profile_right) + 1) / 2


def open_fraction(profile_left: Tensor, profile_right: Tensor) -> float:
    """Share of the physical mask's area that is open, in [0, 1]."""
    return float(physical_mask(profile_left, profile_right).double().mean())


def _repeated(profile: Tensor, repeats: int) -> Tensor:
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    return profile.repeat(repeats)

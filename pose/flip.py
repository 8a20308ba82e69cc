"""Flip test: the mean of what a model says of a picture and of its mirror image."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["flip_test", "unflip_maps"]


def flip_test(
    model: Callable[[Tensor], Tensor],
    pixels: Tensor,
    *,
    flip_indices: Tensor | None = None,
    negate_x: bool = False,
) -> Tensor:
    """Run a model on pictures and on their mirror images in one batch, and average.

    Parameters
    ----------
    model : callable
        Maps pixels (batch, 3, height, width) to maps (batch, channels, rows, columns).
    pixels : Tensor, shape (batch, 3, height, width)
        Normalised pictures.
    flip_indices : Tensor of int64, shape (channels,), optional
        Which channel each one becomes in a mirror: left and right trade places.
    negate_x : bool
        Whether the first channel changes its sign in a mirror, as normals do.

    Returns
    -------
    Tensor, shape (batch, channels, rows, columns)
        The mean, in the orientation of ``pixels``.
    """
    maps = model(torch.cat([pixels, pixels.flip(-1)]))
    straight, mirrored = maps.chunk(2)
    return (straight + unflip_maps(mirrored, flip_indices, negate_x=negate_x)) / 2


def unflip_maps(
    maps: Tensor, flip_indices: Tensor | None = None, *, negate_x: bool = False
) -> Tensor:
    """Bring maps of mirror images (..., channels, rows, columns) to those of the pictures.

    Raises
    ------
    ValueError
        ``flip_indices`` has another number of channels.
    """
    maps = maps.flip(-1)
    if flip_indices is not None:
        if tuple(flip_indices.shape) != (maps.shape[-3],):
            raise ValueError(
                f"flip_indices must have one index for each of {maps.shape[-3]} channels, got "
                f"shape {tuple(flip_indices.shape)}"
            )
        maps = maps.index_select(-3, flip_indices.to(maps.device))
    if negate_x:
        signs = maps.new_tensor([-1.0] + [1.0] * (maps.shape[-3] - 1))
        maps = maps * signs[:, None, None]
    return maps

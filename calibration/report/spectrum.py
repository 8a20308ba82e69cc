"""Singular values of a transfer matrix: how strongly its components reach the sensor."""

import torch
from torch import Tensor

__all__ = ["relative_singular_values"]


def relative_singular_values(phi: Tensor, *, mean_removal: bool) -> Tensor:
    """Give singular values over the largest, of captures as the camera prepares them.

    Parameters
    ----------
    phi : Tensor, shape (sensor, scene) or (planes, sensor, scene)
        Transfer matrices.
    mean_removal : bool
        Whether the camera removes means from captures.

    Returns
    -------
    Tensor of float64, shape (planes, components)
        In descending order, from 1.
    """
    phi = phi.double()
    phi = phi - phi.mean(-2, keepdim=True) if mean_removal else phi
    values = torch.linalg.svdvals(phi).reshape(-1, min(phi.shape[-2:]))
    return values / values[:, :1]

"""Gradient magnitude similarity deviation: a perceptual distance that needs no trained weights.

Xue, Zhang, Mou & Bovik, "Gradient Magnitude Similarity Deviation: A Highly Efficient Perceptual
Image Quality Index", IEEE Transactions on Image Processing, 2014. It stands in for LPIPS and DISTS,
whose networks have to be downloaded; it sees luminance only, and texture that is plausible but
elsewhere counts as wrong.
"""

import torch
from torch import Tensor
from torch.nn import functional

_C = 170 / 255**2  # the paper's constant, for values in [0, 1]


def gmsd(picture: Tensor, reference: Tensor) -> Tensor:
    """Compare sRGB pictures (batch, 3, height, width) in [0, 1], each; 0 for equal ones."""
    first, second = _gradient(picture), _gradient(reference)
    similarity = (2 * first * second + _C) / (first.square() + second.square() + _C)
    return similarity.std((-3, -2, -1), correction=0)


def _gradient(picture: Tensor) -> Tensor:
    """Magnitude of the Prewitt gradient of luminance, at half the size as in the paper."""
    weights = torch.tensor([0.299, 0.587, 0.114]).to(picture)
    luminance = (picture * weights[:, None, None]).sum(1, keepdim=True)
    small = functional.avg_pool2d(luminance, 2)
    column = torch.tensor([[1.0, 0.0, -1.0]] * 3).to(picture) / 3
    kernels = torch.stack([column, column.T])[:, None]
    return functional.conv2d(small, kernels, padding=1).square().sum(1, keepdim=True).sqrt()

"""What every iterative solver returns."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Solution", "item_norm"]


@dataclass(frozen=True, eq=False)
class Solution:
    """The end of an iterative solve, item by item of a batch.

    Attributes
    ----------
    scene : Tensor, shape (..., *scene_shape)
        The reconstruction.
    iterations : Tensor of int64, shape (...)
        Iterations each item took part in until it converged or the limit was reached.
    residuals : Tensor, shape (iterations_run + 1, ...)
        Relative residual ``||A x - y|| / ||y||`` before the first and after each iteration.
    converged : Tensor of bool, shape (...)
        Whether each item met the tolerance.
    """

    scene: Tensor
    iterations: Tensor
    residuals: Tensor
    converged: Tensor


def item_norm(tensor: Tensor, item_ndim: int) -> Tensor:
    """Euclidean norm over the last ``item_ndim`` axes, so that batch items never mix."""
    if item_ndim == 0:
        return tensor.abs()
    return torch.linalg.vector_norm(tensor, dim=tuple(range(-item_ndim, 0)))

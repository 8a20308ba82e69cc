"""Checks of array arguments: one message form for every shape and type error."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["ShapeError", "check_floating", "check_shape"]


class ShapeError(ValueError):
    """An array has the wrong shape."""


def check_shape(tensor: Tensor, shape: Sequence[int], name: str) -> None:
    """Require the trailing axes of a tensor to have the given sizes.

    Parameters
    ----------
    tensor : Tensor, shape (..., *shape)
        The argument to check; any leading axes are allowed.
    shape : sequence of int
        Wanted sizes of the trailing axes.
    name : str
        Name of the argument, for the message.

    Raises
    ------
    ShapeError
        The trailing axes differ from ``shape``.
    """
    wanted = tuple(shape)
    if tensor.ndim < len(wanted) or tuple(tensor.shape[tensor.ndim - len(wanted) :]) != wanted:
        sizes = ", ".join(map(str, wanted))
        raise ShapeError(f"{name} must have shape (..., {sizes}), got {tuple(tensor.shape)}")


def check_floating(tensor: Tensor, name: str) -> None:
    """Require a real floating-point tensor, because nothing here converts a dtype silently.

    Raises
    ------
    TypeError
        The tensor has an integer, boolean or complex dtype.
    """
    if not torch.is_floating_point(tensor):
        raise TypeError(f"{name} must have a real floating-point dtype, got {tensor.dtype}")

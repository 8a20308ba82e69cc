"""Tensors as JSON data."""

import math
from typing import Any

from torch import Tensor

__all__ = ["json_numbers"]


def json_numbers(values: Tensor) -> Any:
    """Give a tensor as nested lists, with null for what is not finite."""
    if values.ndim:
        return [json_numbers(value) for value in values]
    number = values.item()
    return number if math.isfinite(number) else None

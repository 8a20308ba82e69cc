"""Bookkeeping that the iterative solvers share: batches whose items stop on their own."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..operators import LinearOperator
from ..shapes import check_floating, check_shape
from .solution import Solution, item_norm

__all__ = ["Progress", "batch_shape", "check_iterations", "per_item"]


def batch_shape(operator: LinearOperator, capture: Tensor) -> tuple[int, ...]:
    """Check a capture and return the shape of its batch axes."""
    check_floating(capture, "capture")
    check_shape(capture, operator.capture_shape, "capture")
    return tuple(capture.shape[: capture.ndim - len(operator.capture_shape)])


def check_iterations(iterations: int, tolerance: float) -> None:
    """Require a positive number of iterations and a tolerance that is not negative."""
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}")
    if tolerance < 0:
        raise ValueError(f"tolerance must be at least 0, got {tolerance}")


def per_item(scalars: Tensor, item_ndim: int) -> Tensor:
    """Give one scalar an item (...) the axes it needs to multiply items (..., *item)."""
    return scalars.reshape(*scalars.shape, *(1,) * item_ndim)


@dataclass
class Progress:
    """Which items of a batch still run, and what their residuals were.

    An item that has met its tolerance is frozen, so that it comes out as it would alone.
    """

    capture_norm: Tensor
    tolerance: float
    residuals: list[Tensor] = field(default_factory=list)
    active: Tensor = field(init=False)
    iterations: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.active = torch.ones_like(self.capture_norm, dtype=torch.bool)
        self.iterations = torch.zeros_like(self.capture_norm, dtype=torch.int64)

    @classmethod
    def of(cls, operator: LinearOperator, capture: Tensor, tolerance: float) -> "Progress":
        """Start for a batch of captures."""
        return cls(item_norm(capture, len(operator.capture_shape)), tolerance)

    def record(self, residual_norm: Tensor) -> None:
        """Add the residual norms (...) of all items; frozen items keep their last one."""
        relative = residual_norm / self.capture_norm.clamp_min(
            torch.finfo(residual_norm.dtype).tiny
        )
        if self.residuals:
            relative = torch.where(self.active, relative, self.residuals[-1])
        self.residuals.append(relative)

    def keep(self, new: Tensor, old: Tensor, item_ndim: int) -> Tensor:
        """Take the new value of running items and the old value of frozen ones."""
        if not self.tolerance:
            return new
        return torch.where(per_item(self.active, item_ndim), new, old)

    def advance(self, change: Tensor | None) -> bool:
        """Count an iteration and freeze the items whose relative change met the tolerance.

        Returns
        -------
        bool
            Whether any item still runs.
        """
        self.iterations += self.active
        if not self.tolerance or change is None:
            return True
        self.active = self.active & ~(change <= self.tolerance)
        return bool(self.active.any())

    def finish(self, scene: Tensor) -> Solution:
        """Pack the solution."""
        return Solution(
            scene=scene,
            iterations=self.iterations,
            residuals=torch.stack(self.residuals),
            converged=~self.active,
        )

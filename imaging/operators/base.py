"""What a linear operator is, and the algebra that every operator inherits."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..shapes import ShapeError

__all__ = ["Composition", "LinearOperator", "Scaled", "Sum", "operator_norm"]


@runtime_checkable
class LinearOperator(Protocol):
    """A linear map from scenes to captures.

    An operator acts on the trailing ``len(scene_shape)`` axes of its argument; every leading axis
    is a batch axis. It changes neither dtype nor device, and is differentiable in its argument
    and in its own tensors. Inheriting from this protocol gives the algebra: ``outer @ inner``,
    ``first + second``, ``2.0 * operator``, ``-operator``.

    Attributes
    ----------
    scene_shape : tuple of int
        Trailing shape that :meth:`forward` takes.
    capture_shape : tuple of int
        Trailing shape that :meth:`forward` gives.
    """

    @property
    def scene_shape(self) -> tuple[int, ...]:
        """Trailing shape of a scene."""
        ...

    @property
    def capture_shape(self) -> tuple[int, ...]:
        """Trailing shape of a capture."""
        ...

    def forward(self, scene: Tensor) -> Tensor:
        """Map scenes (..., *scene_shape) to captures (..., *capture_shape)."""
        ...

    def adjoint(self, capture: Tensor) -> Tensor:
        """Map captures (..., *capture_shape) to scenes (..., *scene_shape) by the transpose."""
        ...

    def normal(self, scene: Tensor) -> Tensor:
        """Apply the adjoint after the forward map; the shape stays (..., *scene_shape)."""
        return self.adjoint(self.forward(scene))

    def __matmul__(self, inner: "LinearOperator") -> "LinearOperator":
        return Composition(self, inner)

    def __add__(self, other: "LinearOperator") -> "LinearOperator":
        return Sum(self, other)

    def __mul__(self, factor: float) -> "LinearOperator":
        return Scaled(self, factor)

    def __rmul__(self, factor: float) -> "LinearOperator":
        return Scaled(self, factor)

    def __neg__(self) -> "LinearOperator":
        return Scaled(self, -1.0)

    def __sub__(self, other: "LinearOperator") -> "LinearOperator":
        return Sum(self, Scaled(other, -1.0))


@dataclass(frozen=True, eq=False)
class Composition(LinearOperator):
    """``outer @ inner``: the inner operator first, then the outer one."""

    outer: LinearOperator
    inner: LinearOperator

    def __post_init__(self) -> None:
        if self.outer.scene_shape != self.inner.capture_shape:
            raise ShapeError(
                f"outer @ inner needs outer.scene_shape == inner.capture_shape, "
                f"got {self.outer.scene_shape} and {self.inner.capture_shape}"
            )

    @property
    def scene_shape(self) -> tuple[int, ...]:
        """Scene shape of the inner operator."""
        return self.inner.scene_shape

    @property
    def capture_shape(self) -> tuple[int, ...]:
        """Capture shape of the outer operator."""
        return self.outer.capture_shape

    def forward(self, scene: Tensor) -> Tensor:
        """Map scenes (..., *scene_shape) to captures (..., *capture_shape)."""
        return self.outer.forward(self.inner.forward(scene))

    def adjoint(self, capture: Tensor) -> Tensor:
        """Map captures (..., *capture_shape) to scenes (..., *scene_shape)."""
        return self.inner.adjoint(self.outer.adjoint(capture))


@dataclass(frozen=True, eq=False)
class Sum(LinearOperator):
    """``first + second``: two operators of equal shapes, added."""

    first: LinearOperator
    second: LinearOperator

    def __post_init__(self) -> None:
        for name in ("scene_shape", "capture_shape"):
            if getattr(self.first, name) != getattr(self.second, name):
                raise ShapeError(
                    f"first + second needs equal {name}, "
                    f"got {getattr(self.first, name)} and {getattr(self.second, name)}"
                )

    @property
    def scene_shape(self) -> tuple[int, ...]:
        """Scene shape of both operators."""
        return self.first.scene_shape

    @property
    def capture_shape(self) -> tuple[int, ...]:
        """Capture shape of both operators."""
        return self.first.capture_shape

    def forward(self, scene: Tensor) -> Tensor:
        """Map scenes (..., *scene_shape) to captures (..., *capture_shape)."""
        return self.first.forward(scene) + self.second.forward(scene)

    def adjoint(self, capture: Tensor) -> Tensor:
        """Map captures (..., *capture_shape) to scenes (..., *scene_shape)."""
        return self.first.adjoint(capture) + self.second.adjoint(capture)


@dataclass(frozen=True, eq=False)
class Scaled(LinearOperator):
    """``factor * operator`` for a real factor."""

    operator: LinearOperator
    factor: float

    @property
    def scene_shape(self) -> tuple[int, ...]:
        """Scene shape of the operator."""
        return self.operator.scene_shape

    @property
    def capture_shape(self) -> tuple[int, ...]:
        """Capture shape of the operator."""
        return self.operator.capture_shape

    def forward(self, scene: Tensor) -> Tensor:
        """Map scenes (..., *scene_shape) to captures (..., *capture_shape)."""
        return self.factor * self.operator.forward(scene)

    def adjoint(self, capture: Tensor) -> Tensor:
        """Map captures (..., *capture_shape) to scenes (..., *scene_shape)."""
        return self.factor * self.operator.adjoint(capture)


def operator_norm(
    operator: LinearOperator,
    *,
    iterations: int = 100,
    tolerance: float = 1e-6,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> float:
    """Estimate the largest singular value of an operator by power iteration on its normal map.

    The estimate approaches the norm from below; step sizes that must not exceed its inverse
    square should leave a small margin.

    Parameters
    ----------
    operator : LinearOperator
        The operator to measure.
    iterations : int, optional
        Most applications of the normal map.
    tolerance : float, optional
        Stop when an application changes the estimate by less than this fraction.
    seed : int, optional
        Seed of the random start.
    dtype, device : optional
        Where to iterate; those of the operator's own tensors.

    Returns
    -------
    float
        Largest singular value, at least 0.
    """
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(operator.scene_shape, generator=generator, dtype=dtype).to(device)
    estimate = 0.0
    with torch.no_grad():
        for _ in range(iterations):
            vector = vector / vector.norm().clamp_min(torch.finfo(dtype).tiny)
            vector = operator.normal(vector)
            previous, estimate = estimate, float(vector.norm()) ** 0.5
            if abs(estimate - previous) <= tolerance * estimate:
                break
    return estimate

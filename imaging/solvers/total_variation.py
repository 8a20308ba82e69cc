"""Total variation: its value, its gradient operator and its proximal map."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..operators import LinearOperator
from ..shapes import ShapeError, check_shape

__all__ = ["FiniteDifference", "TotalVariationKind", "shrink", "total_variation", "tv_prox"]

TotalVariationKind = Literal["isotropic", "anisotropic"]


@dataclass(frozen=True, eq=False)
class FiniteDifference(LinearOperator):
    """Forward differences along height and width, zero across the far border.

    Parameters
    ----------
    shape : tuple of int
        Trailing shape of scenes; its last two axes are height and width. The differences have the
        shape (2, *shape): along height first.
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.shape) < 2:
            raise ShapeError(f"shape must hold at least (height, width), got {self.shape}")

    @property
    def scene_shape(self) -> tuple[int, ...]:
        """Shape of what is differentiated."""
        return self.shape

    @property
    def capture_shape(self) -> tuple[int, ...]:
        """Shape of the differences, (2, *scene_shape)."""
        return (2, *self.shape)

    def forward(self, scene: Tensor) -> Tensor:
        """Differences (..., 2, *scene_shape) of scenes (..., *scene_shape)."""
        check_shape(scene, self.shape, "scene")
        axis = scene.ndim - len(self.shape)
        differences = scene.new_zeros(*scene.shape[:axis], 2, *self.shape)
        differences.select(axis, 0)[..., :-1, :] = scene[..., 1:, :] - scene[..., :-1, :]
        differences.select(axis, 1)[..., :, :-1] = scene[..., :, 1:] - scene[..., :, :-1]
        return differences

    def adjoint(self, capture: Tensor) -> Tensor:
        """Minus the divergence of differences (..., 2, *scene_shape)."""
        check_shape(capture, self.capture_shape, "capture")
        along_height, along_width = capture.unbind(capture.ndim - len(self.shape) - 1)
        scene = torch.zeros_like(along_height)
        scene[..., 1:, :] += along_height[..., :-1, :]
        scene[..., :-1, :] -= along_height[..., :-1, :]
        scene[..., :, 1:] += along_width[..., :, :-1]
        scene[..., :, :-1] -= along_width[..., :, :-1]
        return scene


def shrink(differences: Tensor, threshold: Tensor, kind: TotalVariationKind, axis: int) -> Tensor:
    """Proximal map of ``threshold`` times the total variation, in terms of the differences.

    Parameters
    ----------
    differences : Tensor
        Differences, with the two directions along ``axis``.
    threshold : Tensor
        At least 0; broadcasts to the differences.
    kind : {"isotropic", "anisotropic"}
        Length of the gradient, or the sum of its components' magnitudes.
    axis : int
        The axis of the two directions.
    """
    if kind == "anisotropic":
        return differences - differences.clamp(-threshold, threshold)
    length = _length(differences, axis)
    tiny = torch.finfo(differences.dtype).tiny
    return differences * ((length - threshold).clamp_min_(0) / length.clamp_min(tiny))


def _length(differences: Tensor, axis: int) -> Tensor:
    """Length of each gradient; a reduction over an axis of two is many times slower than this."""
    return torch.hypot(*differences.unbind(axis)).unsqueeze(axis)


def total_variation(
    scene: Tensor, *, kind: TotalVariationKind = "isotropic", item_ndim: int = 2
) -> Tensor:
    """Total variation of each item.

    Parameters
    ----------
    scene : Tensor, shape (..., height, width)
        Scenes.
    kind : {"isotropic", "anisotropic"}, optional
        Length of the gradient, or the sum of its components' magnitudes.
    item_ndim : int, optional
        Trailing axes summed over, at least 2; channels are summed, not coupled.

    Returns
    -------
    Tensor, shape scene.shape[:-item_ndim]
        At least 0.
    """
    shape = tuple(scene.shape[scene.ndim - item_ndim :])
    differences = FiniteDifference(shape).forward(scene)
    axis = -item_ndim - 1
    axes = tuple(range(-item_ndim, 0))
    if kind == "anisotropic":
        return differences.abs().sum((axis, *axes))
    return _length(differences, axis).squeeze(axis).sum(axes)


def tv_prox(
    target: Tensor,
    weight: float | Tensor,
    *,
    kind: TotalVariationKind = "isotropic",
    nonnegative: bool = False,
    iterations: int = 20,
    dual: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Denoise: :math:`\min_x \tfrac12 \|x - t\|^2 + w\, TV(x)`, with :math:`x \ge 0` on request.

    Parameters
    ----------
    target : Tensor, shape (..., height, width)
        What to denoise.
    weight : float or Tensor that broadcasts to the target
        :math:`w > 0`, in units of the target.
    kind : {"isotropic", "anisotropic"}, optional
        Form of the total variation.
    nonnegative : bool, optional
        Whether negative values are excluded.
    iterations : int, optional
        Fast gradient projections of the dual problem.
    dual : Tensor, shape (2, ..., height, width), optional
        Dual variable of an earlier call on a similar target: a warm start.

    Returns
    -------
    scene : Tensor, shape (..., height, width)
        The minimiser, to the accuracy of the iterations.
    dual : Tensor, shape (2, ..., height, width)
        For the next warm start.

    References
    ----------
    Beck & Teboulle, "Fast Gradient-Based Algorithms for Constrained Total Variation Image
    Denoising and Deblurring Problems", IEEE Transactions on Image Processing, 2009.
    """
    gradient = FiniteDifference(tuple(target.shape))

    def primal(dual: Tensor) -> Tensor:
        scene = target - weight * gradient.adjoint(dual)
        return scene.clamp_min(0) if nonnegative else scene

    current = target.new_zeros(gradient.capture_shape) if dual is None else dual
    ahead, momentum = current, 1.0
    for _ in range(iterations):
        step = ahead + gradient.forward(primal(ahead)) / (8 * weight)
        previous, current = current, _project(step, kind)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = current + (momentum - 1) / following * (current - previous)
        momentum = following
    return primal(current), current


def _project(dual: Tensor, kind: TotalVariationKind) -> Tensor:
    """Project the dual onto unit lengths of each gradient, or of each of its components."""
    if kind == "anisotropic":
        return dual.clamp(-1, 1)
    return dual / _length(dual, 0).clamp_min(1)

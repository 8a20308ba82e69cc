"""The settings of ADMM, and the steps that every camera's variant shares."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .iteration import check_iterations
from .solution import item_norm
from .total_variation import TotalVariationKind

__all__ = ["AdmmSettings"]


@dataclass(frozen=True, eq=False)
class AdmmSettings:
    """The settings of :func:`admm_tv`, which documents them."""

    weight: float | Tensor
    kind: TotalVariationKind = "isotropic"
    nonnegative: bool = True
    iterations: int = 100
    tolerance: float = 0.0
    coupling: float = 0.3

    def __post_init__(self) -> None:
        check_iterations(self.iterations, self.tolerance)
        for name in ("weight", "coupling"):
            value = getattr(self, name)
            if not bool(torch.as_tensor(value > 0).all()):
                raise ValueError(f"{name} must be positive, got {value}")

    def threshold(self, scene: Tensor, coupling: float | Tensor, axis: int) -> Tensor:
        """Give what slopes of scenes (..., height, width) lose, with directions along an axis."""
        weight = torch.as_tensor(self.weight, dtype=scene.dtype, device=scene.device)
        images = weight.expand(scene.shape[:-2])[..., None, None]
        return (images / coupling).unsqueeze(axis)

    def feasible(self, scene: Tensor) -> Tensor:
        """Bring scenes to where they may be."""
        return scene.clamp_min(0) if self.nonnegative else scene

    def relative_change(self, new: Tensor, old: Tensor, item_ndim: int) -> Tensor | None:
        """Change of each item, where the tolerance asks for it."""
        if not self.tolerance:
            return None
        tiny = torch.finfo(new.dtype).tiny
        return item_norm(new - old, item_ndim) / item_norm(new, item_ndim).clamp_min(tiny)

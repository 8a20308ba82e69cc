"""Changing an image's size, and undoing it, as products with one small matrix a side."""

from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from ..shapes import check_shape

__all__ = ["Resampling", "resize", "resize_matrix"]


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images (batch, channels, height, width) linearly, averaging where they shrink."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    return functional.interpolate(image, tuple(size), mode="bilinear", antialias=True)


def resize_matrix(source: int, target: int) -> Tensor:
    """Give the matrix, shape (target, source), that :func:`resize` applies to one side."""
    identity = torch.eye(source, dtype=torch.float64)[None, None]
    return functional.interpolate(
        identity, (target, source), mode="bilinear", antialias=True
    ).squeeze()


class Resampling:
    """Between scenes of a camera and the pictures of a model, exactly one way and back.

    A picture is brought to the scene's size by averaging. What changes there is lifted back by
    the pseudo-inverse, the smallest change of the picture that has this effect: ``lower(lift(x))``
    is ``x`` where the picture is at least as large as the scene.

    Parameters
    ----------
    scene_size, picture_size : tuple of int
        (height, width) of both.
    """

    def __init__(self, scene_size: tuple[int, int], picture_size: tuple[int, int]) -> None:
        self.scene_size, self.picture_size = tuple(scene_size), tuple(picture_size)

    @cached_property
    def _matrices(self) -> tuple[Tensor, Tensor]:
        left, right = (
            resize_matrix(picture, scene)
            for picture, scene in zip(self.picture_size, self.scene_size, strict=True)
        )
        return left, right

    @cached_property
    def _inverses(self) -> tuple[Tensor, Tensor]:
        left, right = self._matrices
        return torch.linalg.pinv(left), torch.linalg.pinv(right)

    def lower(self, picture: Tensor) -> Tensor:
        """Bring pictures (..., *picture_size) to the size of scenes."""
        return self._apply(picture, self.picture_size, "picture")

    def lift(self, scene: Tensor) -> Tensor:
        """Bring scenes (..., *scene_size) to the size of pictures."""
        return self._apply(scene, self.scene_size, "scene")

    def _apply(self, image: Tensor, size: tuple[int, ...], name: str) -> Tensor:
        check_shape(image, size, name)
        if self.scene_size == self.picture_size:
            return image
        left, right = self._matrices if name == "picture" else self._inverses
        return left.to(image) @ image @ right.to(image).mT

"""Photographs of scikit-image as scenes."""

import torch

from barelens.imaging.files import srgb_to_linear


def photograph(size: int, name: str = "astronaut") -> torch.Tensor:
    """Take the middle square of a photograph as linear light, (3, size, size)."""
    from skimage import data

    picture = torch.from_numpy(getattr(data, name)().copy()).float() / 255
    picture = picture if picture.ndim == 3 else picture[..., None].expand(-1, -1, 3)
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    square = picture[top : top + side, left : left + side].permute(2, 0, 1)
    light = srgb_to_linear(square)[None]
    return torch.nn.functional.interpolate(light, (size, size), mode="area")[0]

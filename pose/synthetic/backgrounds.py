"""What is behind people: photographs that ship with scikit-image, and noise and shapes."""

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["PHOTOS", "sample_background"]

PHOTOS = (
    "brick.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png", "rocket.jpg",
)  # fmt: skip
"""Photographs in scikit-image's wheel without people in them."""


def sample_background(random: np.random.Generator, size: tuple[int, int]) -> Tensor:
    """Draw a background.

    Parameters
    ----------
    random : numpy Generator
        Where chance comes from.
    size : (int, int)
        Height and width.

    Returns
    -------
    Tensor, shape (3, *size)
        Display-encoded RGB in [0, 1].
    """
    picture = _photo(random, size) if random.random() < 0.45 else _noise(random, size)
    if random.random() < 0.6:
        picture = _shapes(random, picture)
    grey = picture.mean(dim=0, keepdim=True)
    picture = grey + float(random.uniform(0, 1.1)) * (picture - grey)
    gains = torch.from_numpy(np.exp(random.normal(0, 0.1, (3, 1, 1)))).float()
    return (picture * gains * float(random.uniform(0.5, 1.3))).clamp(0, 1)


@cache
def _read_photo(name: str) -> Tensor:
    import cv2
    from skimage import data

    pixels = cv2.imread(f"{data.data_dir}/{name}", cv2.IMREAD_COLOR)
    if pixels is None:
        raise FileNotFoundError(f"scikit-image came without {name}, which backgrounds are made of")
    return torch.from_numpy(pixels[..., ::-1].copy()).permute(2, 0, 1).float() / 255


def _photo(random: np.random.Generator, size: tuple[int, int]) -> Tensor:
    photo = _read_photo(PHOTOS[random.integers(len(PHOTOS))])
    height, width = photo.shape[1:]
    zoom = random.uniform(max(size[0] / height, size[1] / width) * 0.35, 1.2)
    rows, columns = (
        min(limit, max(8, round(wanted / zoom / 2)))
        for limit, wanted in ((height, size[0]), (width, size[1]))
    )
    top, left = random.integers(height - rows + 1), random.integers(width - columns + 1)
    part = photo[:, top : top + rows, left : left + columns]
    if random.random() < 0.5:
        part = part.flip(2)
    return F.interpolate(part[None], size=size, mode="bilinear", align_corners=False)[0]


def _noise(random: np.random.Generator, size: tuple[int, int]) -> Tensor:
    """Sum noise of several sizes, from smooth changes to texture, around one colour."""
    picture = torch.from_numpy(random.random((3, 1, 1))).float().expand(3, *size).clone()
    roughness = random.uniform(0.4, 0.9)
    strength = random.uniform(0.05, 0.4)
    for octave in range(int(random.integers(1, 6))):
        cells = (2 + 2**octave, 2 + 2**octave)
        colours = 1 if random.random() < 0.5 else 3
        values = torch.from_numpy(random.normal(0, strength, (1, colours, *cells))).float()
        picture += F.interpolate(values, size=size, mode="bilinear", align_corners=True)[0]
        strength *= roughness
    return picture


def _shapes(random: np.random.Generator, picture: Tensor) -> Tensor:
    """Put rectangles and ellipses on a picture, as furniture, posts and windows would be."""
    height, width = picture.shape[1:]
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    for _ in range(int(random.integers(1, 9))):
        centre, extent = random.random(2), random.uniform(0.02, 0.4, 2)
        angle = random.normal(0, 0.4)
        across = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
        along = (y - centre[1]) * np.cos(angle) - (x - centre[0]) * np.sin(angle)
        across, along = across / extent[0], along / extent[1]
        round_one = random.random() < 0.35
        inside = (
            across**2 + along**2 < 1 if round_one else torch.maximum(across.abs(), along.abs()) < 1
        )
        colour = torch.from_numpy(random.random((3, 1, 1))).float()
        slope = float(random.normal(0, 0.3)) * along
        picture = torch.where(inside, (colour + slope).clamp(0, 1), picture)
    return picture

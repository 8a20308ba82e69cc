"""Initial weights that know what patches look like and where they lie.

A transformer that starts from noise spends its first thousands of steps on finding both out.
"""

import math
import os

import torch
from torch import Tensor
from torch.nn import functional as F

from ..sapiens import MultiTaskModel, load_multitask
from .augment import BatchMaker

__all__ = ["sine_positions", "start_from", "start_informed", "whitening_patches"]

_BATCHES = 16  # to learn what patches look like


@torch.no_grad()
def start_informed(model: MultiTaskModel, people: BatchMaker) -> None:
    """Set a new model's positions and, where it has one, its patch embedding.

    Parameters
    ----------
    model : MultiTaskModel
        Changed in place.
    people : BatchMaker
        Whose first batches tell what patches look like.
    """
    config = model.config
    positions = sine_positions(config.backbone.grid, config.embed_dim)
    model.get_parameter("backbone.pos_embed").copy_(positions.flatten(0, 1)[None])
    if config.pyramid is not None:
        return  # convolutions find out for themselves what pictures look like
    pixels = torch.cat([people.training(step).pixels for step in range(_BATCHES)])
    weight = whitening_patches(pixels, config.patch_size, config.embed_dim)
    model.get_parameter("backbone.patch_embed.projection.weight").copy_(weight)


@torch.no_grad()
def start_from(model: MultiTaskModel, path: str | os.PathLike[str]) -> list[str]:
    """Copy the weights of a trained model whose names and shapes are those of a new one.

    Parameters
    ----------
    model : MultiTaskModel
        Changed in place.
    path : path
        A file that :func:`~barelens.pose.save_multitask` wrote. Its heads may have other layers,
        but as many keypoints and parts of the same names.

    Returns
    -------
    list of str
        Names of the weights that keep their initial values.

    Raises
    ------
    ValueError
        The file is no such file, or of other keypoints or parts.
    """
    earlier = load_multitask(path)
    for names in ("keypoints", "parts"):
        if getattr(earlier.config, names) != getattr(model.config, names):
            raise ValueError(f"{path} has other {names} than the model that shall start from it")
    found, wanted = earlier.state_dict(), model.state_dict()
    fitting = {
        name
        for name, weight in wanted.items()
        if name in found and found[name].shape == weight.shape
    }
    for name in fitting:
        wanted[name].copy_(found[name])
    return [name for name in wanted if name not in fitting]


def whitening_patches(pixels: Tensor, patch_size: int, channels: int) -> Tensor:
    """Return filters whose outputs on patches are uncorrelated and of about equal strength.

    Parameters
    ----------
    pixels : Tensor, shape (batch, 3, height, width)
        Normalised.
    patch_size : int
        Side of a patch.
    channels : int
        How many filters. They are the strongest principal components of patches, each divided by
        its deviation; the weaker ones, mostly noise, are raised less.

    Returns
    -------
    Tensor, shape (channels, 3, patch_size, patch_size)

    References
    ----------
    Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv 2404.00498.
    """
    patches = F.unfold(pixels, patch_size, stride=patch_size).mT.flatten(0, 1).double()
    strengths, directions = torch.linalg.eigh(patches.mT @ patches / len(patches))
    strengths = strengths[-channels:].flip(0)
    directions = directions[:, -channels:].flip(1)
    filters = directions / (strengths + 0.02 * strengths.mean()).sqrt()
    return filters.mT.reshape(-1, 3, patch_size, patch_size).to(pixels.dtype)


def sine_positions(grid: tuple[int, int], channels: int) -> Tensor:
    """Return sines and cosines of rows and columns, shape (*grid, channels).

    References
    ----------
    Beyer et al., "Better Plain ViT Baselines for ImageNet-1k", arXiv 2205.01580.
    """
    waves = math.pi * 2 ** torch.linspace(-1, 3, channels // 4)
    rows, columns = (torch.linspace(-1, 1, count)[:, None] * waves for count in grid)
    down = torch.cat([rows.sin(), rows.cos()], dim=1)
    across = torch.cat([columns.sin(), columns.cos()], dim=1)
    return torch.cat(
        [down[:, None].expand(-1, grid[1], -1), across[None].expand(grid[0], -1, -1)], dim=2
    )

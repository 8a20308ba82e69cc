"""Initial weights that know what patches look like and where they lie.

A transformer that starts from noise spends its first thousands of steps on finding both out.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..sapiens import MultiTaskModel
from .augment import BatchMaker

__all__ = ["sine_positions", "start_informed", "whitening_patches"]

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

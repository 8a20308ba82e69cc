"""What each head is trained to make small."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..synthetic import OUTSIDE
from .augment import Batch

__all__ = ["HEATMAP_SIGMA", "LossWeights", "fit_maps", "heatmaps", "losses"]

HEATMAP_SIGMA = 2.0
"""Standard deviation of a keypoint's Gaussian in cells of the heatmap, as the decoding expects."""

_SMALL = 1e-4  # under a root, whose slope at 0 has no end


@dataclass(frozen=True)
class LossWeights:
    """Weight of each loss in their sum; see :func:`losses`."""

    pose: float = 4.0
    parts: float = 1.0
    depth: float = 0.5
    normals: float = 1.0
    angles: float = 0.0


def heatmaps(
    keypoints: Tensor, visibility: Tensor, size: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """Draw a Gaussian for each keypoint; nothing for those outside of the picture.

    Parameters
    ----------
    keypoints : Tensor, shape (..., keypoints, 2)
        x and y in pixels of the crop.
    visibility : Tensor, shape (..., keypoints)
        0 outside.
    size, grid : (int, int)
        Height and width of the crop, rows and columns of the maps. The outermost pixels lie on
        the outermost cells, as :func:`~barelens.pose.decode.decode_heatmaps` has it.

    Returns
    -------
    Tensor, shape (..., keypoints, rows, columns)
        1 at the keypoint.
    """
    profiles = []
    for axis, (cells, pixels) in enumerate(zip(grid[::-1], size[::-1], strict=True)):
        centre = keypoints[..., axis, None] * ((cells - 1) / (pixels - 1))
        place = torch.arange(cells, device=keypoints.device, dtype=keypoints.dtype)
        profiles.append(torch.exp(-((place - centre) ** 2) / (2 * HEATMAP_SIGMA**2)))
    columns, rows = profiles
    inside = (visibility != OUTSIDE).to(keypoints.dtype)
    return rows[..., :, None] * columns[..., None, :] * inside[..., None, None]


def losses(outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """Return the loss of each head on a batch.

    ``pose`` is the squared error of heatmaps over the energy of one Gaussian, so that empty maps
    cost 1; ``parts`` cross-entropy plus dice; ``depth`` the absolute error against depth of mean
    0 and mean absolute deviation 1 in each person, so that neither scale nor origin of the scene
    matters; ``normals`` one minus the cosine; ``angles`` the distance between true and found unit
    normals, which is about their angle in radians: it asks for small mean angles, as the scores
    do, where ``normals`` asks above all for few large ones.
    """
    parts, depth, normals = (
        fit_maps(outputs[name].float(), batch.grid) for name in ("parts", "depth", "normals")
    )
    off = 1 - (F.normalize(normals, dim=1) * batch.normals).sum(dim=1, keepdim=True)
    return {
        "pose": _pose_loss(outputs["pose"].float(), batch),
        "parts": _parts_loss(parts, batch.parts),
        "depth": _depth_loss(depth, batch.depth, batch.mask),
        "normals": _masked_mean(off, batch.mask).mean(),
        "angles": _masked_mean((2 * off.clamp(min=0) + _SMALL).sqrt(), batch.mask).mean(),
    }


def fit_maps(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bring maps (batch, channels, rows, columns) of a coarse head to the grid of the labels."""
    if maps.shape[-2:] == grid:
        return maps
    return F.interpolate(maps, size=grid, mode="bilinear", align_corners=False)


def _pose_loss(maps: Tensor, batch: Batch) -> Tensor:
    size = (batch.pixels.shape[-2], batch.pixels.shape[-1])
    grid = (maps.shape[-2], maps.shape[-1])
    wanted = heatmaps(batch.keypoints, batch.visibility, size, grid)
    energy = math.pi * HEATMAP_SIGMA**2
    return (maps - wanted).square().sum(dim=(-2, -1)).mean() / energy


def _parts_loss(logits: Tensor, parts: Tensor) -> Tensor:
    logs = logits.log_softmax(dim=1)
    of_truth = logs.gather(1, parts[:, None])
    # By sums over classes rather than by one-hot maps, which take as long as a layer.
    flat, classes = parts.flatten(), logits.shape[1]
    both = logs.new_zeros(classes).index_add(0, flat, of_truth.exp().flatten())
    pixels = torch.bincount(flat, minlength=classes)
    total = logs.exp().sum(dim=(0, 2, 3)) + pixels
    dice = 1 - (2 * both + 1) / (total + 1)
    return dice[pixels > 0].mean() - of_truth.mean()


def _depth_loss(depth: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    # The model gives standardised depth itself: standardising what it gives would make gradients
    # of any size while that is still flat.
    return _masked_mean((depth - _standardised(wanted, mask)).abs(), mask).mean()


def _standardised(depth: Tensor, mask: Tensor) -> Tensor:
    centred = depth - _masked_mean(depth, mask)
    # A millimetre more, so that the noise of someone all but flat is not stretched.
    return centred / (_masked_mean(centred.abs(), mask) + 1e-3)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average (batch, 1, rows, columns) over the mask of each person; 0 where it is empty."""
    weight = mask.to(values.dtype)
    total = weight.sum(dim=(-2, -1), keepdim=True).clamp(min=1)
    return (values * weight).sum(dim=(-2, -1), keepdim=True) / total

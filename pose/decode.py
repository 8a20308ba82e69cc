"""Heatmaps to keypoints: DARK's sub-pixel maxima, all people and points at once on the device."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..imaging.shapes import ShapeError
from .crops import Frames

__all__ = ["Keypoints", "decode_heatmaps", "place_keypoints"]

_LOWEST, _HIGHEST = 1e-3, 50.0  # what the logarithm sees
_RADIUS = 5  # of the blur, 11x11
_SIGMA = 2.0  # OpenCV's choice for 11 taps: 0.3 ((11 - 1) / 2 - 1) + 0.8
_RIDGE = torch.finfo(torch.float32).eps


@dataclass(frozen=True, eq=False)
class Keypoints:
    """Points of people.

    Attributes
    ----------
    positions : Tensor, shape (..., keypoints, 2)
        x and y in pixels, always finite.
    scores : Tensor, shape (..., keypoints)
        Height of the heatmap's maximum, about 1 for a sure point; 0 where there is none.
    """

    positions: Tensor
    scores: Tensor


def decode_heatmaps(
    heatmaps: Tensor, size: tuple[int, int], *, method: Literal["dark", "argmax"] = "dark"
) -> Keypoints:
    """Find the maximum of each heatmap to a fraction of a pixel.

    The map is blurred by a Gaussian of 11x11 and brought back to its old maximum; then one Newton
    step on its logarithm goes from the highest value to the maximum of the Gaussian it should be.
    Only the 3x3 values around the maximum are computed; the rest of a blurred map is needed only
    where the logarithm's lower limit of 1e-3 may come into play, for very weak maps.

    Parameters
    ----------
    heatmaps : Tensor of a floating-point dtype, shape (..., keypoints, rows, columns)
        Raw output of a pose head; half precision is decoded in float32.
    size : (int, int)
        Height and width of the crop in pixels.
    method : "dark" or "argmax"
        Whether to take the Newton step.

    Returns
    -------
    Keypoints
        Positions in the crop. A map that is nowhere positive, or constant, or not finite, has no
        maximum: it gives a score of 0 and the middle of the crop.

    References
    ----------
    Zhang et al., "Distribution-Aware Coordinate Representation for Human Pose Estimation",
    CVPR 2020.
    """
    if heatmaps.ndim < 3 or heatmaps.numel() == 0:
        raise ShapeError(
            f"heatmaps must have shape (..., keypoints, rows, columns), got {heatmaps.shape}"
        )
    if not heatmaps.is_floating_point():
        raise TypeError(f"heatmaps must have a floating-point dtype, got {heatmaps.dtype}")
    rows, columns = heatmaps.shape[-2:]
    maps = heatmaps.reshape(-1, rows, columns)
    highest, y, x = _highest(maps)
    highest = _wide(highest)
    sound = torch.isfinite(highest) & (highest > 0)
    # A constant map has its first maximum in the corner, so that few maps need a second look.
    corner = sound & (y == 0) & (x == 0)
    if bool(corner.any()):
        sound[corner] = maps[corner].amin(dim=(-2, -1)) < highest[corner]
    steps = torch.stack([x, y], dim=-1).to(highest.dtype)
    if method == "dark":
        steps = steps - _newton_step(maps, highest, y, x, sound)
    # Encoding scales by (size - 1) / (rows - 1); the published decoding by size / (rows - 1).
    extent = highest.new_tensor([size[1], size[0]])
    grid = highest.new_tensor([max(columns - 1, 1), max(rows - 1, 1)])
    positions = torch.where(sound[:, None], steps / grid * extent, extent / 2)
    scores = torch.where(sound, highest, torch.zeros_like(highest))
    shape = heatmaps.shape[:-2]
    return Keypoints(positions.reshape(*shape, 2), scores.reshape(shape))


def place_keypoints(keypoints: Keypoints, size: tuple[int, int], frames: Frames) -> Keypoints:
    """Move keypoints from crops to the picture the crops were cut from.

    Parameters
    ----------
    keypoints : Keypoints of shape (people, keypoints, 2)
        From :func:`decode_heatmaps`.
    size : (int, int)
        Height and width of the crops in pixels.
    frames : Frames of shape (people, 2)
        Of the crops.
    """
    positions = keypoints.positions
    extent = positions.new_tensor([size[1], size[0]])
    scales, corners = frames.scales.to(positions), frames.corners.to(positions)
    placed = positions / extent * scales[..., None, :] + corners[..., None, :]
    return Keypoints(placed, keypoints.scores)


def _highest(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return value, row and column of the first maximum of each map.

    Maxima of rows first: the one pass over all values is then a plain maximum, which runs
    several times faster than one that carries indices along.
    """
    count, rows, columns = maps.shape
    highest, y = maps.amax(dim=-1).max(dim=-1)
    chosen = torch.arange(count, device=maps.device) * rows + y
    x = maps.reshape(-1, columns).index_select(0, chosen).argmax(dim=-1)
    return highest, y, x


def _newton_step(maps: Tensor, highest: Tensor, y: Tensor, x: Tensor, sound: Tensor) -> Tensor:
    """Return what to take from x and y, shape (maps, 2); 0 where the step is not finite."""
    rows, columns = maps.shape[-2:]
    blurred = _blurred_around(maps, y, x)
    weak = sound & ((blurred.amin(dim=(-2, -1)) < _LOWEST) | (highest > _HIGHEST))
    if bool(weak.any()):
        scale = highest[weak] / _blur(_wide(maps[weak])).amax(dim=(-2, -1))
        blurred[weak] *= scale[:, None, None]
    log = blurred.clamp(_LOWEST, _HIGHEST).log()
    # Beyond the edge the map goes on with the value at the edge.
    offsets = torch.arange(-1, 2, device=maps.device)
    near_y = (y[:, None] + offsets).clamp(0, rows - 1) - y[:, None] + 1
    near_x = (x[:, None] + offsets).clamp(0, columns - 1) - x[:, None] + 1
    each = torch.arange(len(maps), device=maps.device)
    log = log[each[:, None, None], near_y[:, :, None], near_x[:, None, :]]
    slope_x = (log[:, 1, 2] - log[:, 1, 0]) / 2
    slope_y = (log[:, 2, 1] - log[:, 0, 1]) / 2
    bend_x = log[:, 1, 2] - 2 * log[:, 1, 1] + log[:, 1, 0] + _RIDGE
    bend_y = log[:, 2, 1] - 2 * log[:, 1, 1] + log[:, 0, 1] + _RIDGE
    twist = (
        log[:, 2, 2] + log[:, 0, 0] + 2 * log[:, 1, 1]
        - log[:, 1, 2] - log[:, 2, 1] - log[:, 1, 0] - log[:, 0, 1]
    ) / 2  # fmt: skip
    determinant = bend_x * bend_y - twist * twist
    step = torch.stack(
        [bend_y * slope_x - twist * slope_y, bend_x * slope_y - twist * slope_x], dim=-1
    )
    step = step / determinant[:, None]
    return torch.where(torch.isfinite(step).all(-1, keepdim=True), step, torch.zeros_like(step))


def _blurred_around(maps: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Blur each map at the 3x3 positions around (y, x) only; shape (maps, 3, 3)."""
    reach = _RADIUS + 1
    rows, columns = maps.shape[-2:]
    offsets = torch.arange(-reach, reach + 1, device=maps.device)
    around_y, around_x = y[:, None] + offsets, x[:, None] + offsets
    inside = ((around_y >= 0) & (around_y < rows))[:, :, None] & (
        (around_x >= 0) & (around_x < columns)
    )[:, None, :]
    places = around_y.clamp(0, rows - 1)[:, :, None] * columns
    places = places + around_x.clamp(0, columns - 1)[:, None, :]
    patches = maps.flatten(1).gather(1, places.flatten(1)).reshape(places.shape)
    patches = torch.where(inside, _wide(patches), 0)
    taps = _taps(patches)
    band = torch.stack([F.pad(taps, (shift, 2 - shift)) for shift in range(3)])
    return band @ patches @ band.mT


def _wide(values: Tensor) -> Tensor:
    """Bring half precision to float32 and leave the others."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _blur(maps: Tensor) -> Tensor:
    """Blur whole maps (maps, rows, columns) with zeros around them."""
    taps = _taps(maps)
    along = F.conv2d(maps[:, None], taps[None, None, None, :], padding=(0, _RADIUS))
    return F.conv2d(along, taps[None, None, :, None], padding=(_RADIUS, 0))[:, 0]


def _taps(maps: Tensor) -> Tensor:
    place = torch.arange(-_RADIUS, _RADIUS + 1, device=maps.device, dtype=maps.dtype)
    taps = torch.exp(-(place**2) / (2 * _SIGMA**2))
    return taps / taps.sum()

"""ADMM for shift-invariant cameras, where every linear step is a division of spectra."""

import torch
from torch import Tensor

from ..operators import ConvolutionOperator
from .iteration import Progress
from .solution import Solution, item_norm
from .total_variation import TotalVariationKind, shrink

__all__ = ["admm_convolution"]


def admm_convolution(
    operator: ConvolutionOperator,
    capture: Tensor,
    *,
    weight: float,
    kind: TotalVariationKind,
    nonnegative: bool,
    iterations: int,
    tolerance: float,
    coupling: float,
) -> Solution:
    """Split the image v = H x on the FFT grid, the slopes u = D x and the feasible scene w = x.

    The crop to the sensor makes the camera not circulant; on the uncropped image it is a mask and
    therefore diagonal (Almeida & Figueiredo 2013). Differences that cross the scene's border have
    no weight, and the scene is held at zero outside its size, so that the objective is exactly
    that of :func:`admm_tv` although the differences wrap around the grid.
    """
    grid, ndim = operator.grid, len(operator.scene_shape)
    rows, columns = operator.scene_shape[-2:]
    sensor_rows, sensor_columns = operator.capture_shape[-2:]
    transfer = operator.transfer
    magnitude = transfer.abs()
    image_weight = coupling
    # Between the gains of the strongest and of the typical frequency, which for a point spread
    # function with a pedestal lie orders of magnitude apart.
    scene_weight = coupling * float(magnitude.max() * magnitude.square().mean().sqrt())
    slope_weight = scene_weight
    inverse = 1 / (
        image_weight * magnitude.square() + slope_weight * _laplacian(grid, capture) + scene_weight
    )

    batch = capture.shape[: capture.ndim - len(operator.capture_shape)]
    shape = (*batch, *operator.psf.shape[:-2], *grid)
    counted = _counted_differences(grid, (rows, columns), capture)
    counted = counted.reshape(2, *(1,) * (len(shape) - 2), *grid)
    free = 1 - counted
    scene, image = capture.new_zeros(shape), capture.new_zeros(shape)
    feasible = capture.new_zeros(shape)
    image_dual, scene_dual = capture.new_zeros(shape), capture.new_zeros(shape)
    slopes_dual = capture.new_zeros(2, *shape)
    best = feasible[..., :rows, :columns]

    progress = Progress.of(operator, capture, tolerance)
    progress.record(progress.capture_norm)
    for _ in range(iterations):
        # The sensor's samples weigh 1 + coupling, those beyond its edge coupling alone.
        split_image = image + image_dual
        window = split_image[..., :sensor_rows, :sensor_columns]
        window.mul_(image_weight).add_(capture).div_(1 + image_weight)
        slopes = _differences(scene)
        split_slopes = slopes + slopes_dual
        shrunk = shrink(split_slopes * counted, weight / slope_weight, kind, 0)
        split_slopes = torch.addcmul(shrunk, split_slopes, free)
        feasible = scene + scene_dual
        if nonnegative:
            feasible.clamp_min_(0)
        feasible[..., rows:, :] = 0
        feasible[..., :, columns:] = 0

        image_dual += image - split_image
        slopes_dual += slopes - split_slopes
        scene_dual += scene - feasible

        spatial = slope_weight * _divergence(split_slopes - slopes_dual)
        spatial += scene_weight * (feasible - scene_dual)
        spectrum = torch.fft.rfft2(split_image - image_dual) * transfer.conj()
        spectrum = inverse * (image_weight * spectrum + torch.fft.rfft2(spatial))
        scene = torch.fft.irfft2(spectrum, s=grid)
        image = torch.fft.irfft2(spectrum * transfer, s=grid)

        moved = progress.keep(feasible[..., :rows, :columns], best, ndim)
        change = None
        if tolerance:
            tiny = torch.finfo(capture.dtype).tiny
            change = item_norm(moved - best, ndim) / item_norm(moved, ndim).clamp_min(tiny)
        best = moved
        residual = image[..., :sensor_rows, :sensor_columns] - capture
        progress.record(item_norm(residual, len(operator.capture_shape)))
        if not progress.advance(change):
            break
    # The history is that of the unconstrained split; its last entry that of the scene returned.
    progress.residuals.pop()
    progress.record(item_norm(operator.forward(best) - capture, len(operator.capture_shape)))
    return progress.finish(best.contiguous())


def _differences(scene: Tensor) -> Tensor:
    """Circular forward differences, shape (2, *scene)."""
    return torch.stack([scene.roll(-1, -2) - scene, scene.roll(-1, -1) - scene])


def _divergence(slopes: Tensor) -> Tensor:
    """Adjoint of :func:`_differences`."""
    along_height, along_width = slopes
    return along_height.roll(1, -2) - along_height + along_width.roll(1, -1) - along_width


def _laplacian(grid: tuple[int, int], like: Tensor) -> Tensor:
    """Squared transfer of the circular differences on the half grid of a real FFT."""
    rows = torch.fft.fftfreq(grid[0], dtype=like.dtype, device=like.device)
    columns = torch.fft.rfftfreq(grid[1], dtype=like.dtype, device=like.device)
    row_part = 4 * torch.sin(torch.pi * rows).square()
    return row_part[:, None] + 4 * torch.sin(torch.pi * columns).square()


def _counted_differences(grid: tuple[int, int], size: tuple[int, int], like: Tensor) -> Tensor:
    """1 for the differences inside the scene, 0 for those that cross its border or lie beyond."""
    counted = like.new_zeros(2, *grid)
    counted[0, : size[0] - 1, : size[1]] = 1
    counted[1, : size[0], : size[1] - 1] = 1
    return counted

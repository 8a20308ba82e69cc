"""ADMM for shift-invariant cameras, where every linear step is a division of spectra."""

import torch
from torch import Tensor

from ..operators import ConvolutionOperator
from ..operators.convolution import from_spectrum, to_spectrum
from .admm_settings import AdmmSettings
from .iteration import Progress
from .solution import Solution, item_norm
from .total_variation import FiniteDifference, shrink

__all__ = ["admm_convolution"]


def admm_convolution(
    operator: ConvolutionOperator, capture: Tensor, settings: AdmmSettings
) -> Solution:
    """Split the image v = H x on the FFT grid, the slopes u = D x and the feasible scene w = x.

    The crop to the sensor makes the camera not circulant; on the uncropped image it is a mask and
    therefore diagonal (Almeida & Figueiredo 2013). Differences that cross the scene's border have
    no weight and the scene is held at zero outside its size, so that the objective is exactly
    that of :func:`admm_tv` although the differences wrap around the grid.

    Beyond the sensor the image is free, and so are slopes beyond the scene: their duals are zero
    there. Each iteration therefore only adds to the spectrum what the windows ask for.
    """
    coupling = settings.coupling
    grid, ndim = operator.grid, len(operator.scene_shape)
    size, sensor_size = operator.scene_shape[-2:], operator.capture_shape[-2:]
    gradient = FiniteDifference(operator.scene_shape)
    transfer = operator.transfer
    magnitude = transfer.abs()
    # Between the gains of the strongest and of the typical frequency, which for a point spread
    # function with a pedestal lie orders of magnitude apart.
    scene_weight = coupling * float(magnitude.max() * magnitude.square().mean().sqrt())
    inverse = 1 / (coupling * magnitude.square() + scene_weight * (_laplacian(grid, capture) + 1))
    image_inverse = coupling * inverse * operator.adjoint_transfer

    batch = capture.shape[: capture.ndim - len(operator.capture_shape)]
    shape = (*batch, *operator.psf.shape[:-2], *grid)
    image, image_dual = torch.zeros_like(capture), torch.zeros_like(capture)
    scene, scene_dual = capture.new_zeros(shape), capture.new_zeros(shape)
    slopes_dual = capture.new_zeros(*batch, *gradient.capture_shape)
    best = _window(scene, size)
    threshold = settings.threshold(best, scene_weight, -ndim - 1)
    spectrum = to_spectrum(scene, grid)

    progress = Progress.of(operator, capture, settings.tolerance)
    progress.record(progress.capture_norm)
    for _ in range(settings.iterations):
        pushed = image + image_dual
        # The sensor's samples weigh 1 + coupling, those beyond its edge coupling alone.
        split = torch.add(capture, pushed, alpha=coupling).div_(1 + coupling)
        image_dual = pushed - split
        image_change = split - image_dual - image

        slopes = gradient.forward(_window(scene, size))
        pushed = slopes + slopes_dual
        split = shrink(pushed, threshold, settings.kind, -ndim - 1)
        slopes_dual = pushed - split
        slope_change = gradient.adjoint(split - slopes_dual - slopes)

        scene_dual = scene + scene_dual
        feasible = settings.feasible(_window(scene_dual, size).clone())
        scene_change = (scene_dual + scene).neg_()
        _window(scene_change, size).add_(feasible, alpha=2).add_(slope_change)
        _window(scene_dual, size).sub_(feasible)

        spectrum = (
            to_spectrum(scene_change.mul_(scene_weight), grid)
            .mul_(inverse)
            .add_(spectrum)
            .add_(to_spectrum(image_change, grid).mul_(image_inverse))
        )
        scene = from_spectrum(spectrum, grid, grid)
        image = from_spectrum(spectrum * transfer, grid, (sensor_size[0], sensor_size[1]))

        moved = progress.keep(feasible, best, ndim)
        change = settings.relative_change(moved, best, ndim)
        best = moved
        progress.record(item_norm(image - capture, len(operator.capture_shape)))
        if not progress.advance(change):
            break
    # The history is that of the unconstrained split; its last entry that of the scene returned.
    progress.residuals.pop()
    progress.record(item_norm(operator.forward(best) - capture, len(operator.capture_shape)))
    return progress.finish(best)


def _window(image: Tensor, size: tuple[int, ...]) -> Tensor:
    """View of the part of the grid that the scene covers."""
    return image[..., : size[0], : size[1]]


def _laplacian(grid: tuple[int, int], like: Tensor) -> Tensor:
    """Squared transfer of the circular differences on the half grid of a real FFT."""
    rows = torch.fft.fftfreq(grid[0], dtype=like.dtype, device=like.device)
    columns = torch.fft.rfftfreq(grid[1], dtype=like.dtype, device=like.device)
    row_part = 4 * torch.sin(torch.pi * rows).square()
    return row_part[:, None] + 4 * torch.sin(torch.pi * columns).square()

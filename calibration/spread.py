"""What the light of a point source shows: noise, hot pixels, extent, and number of sources."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from .camera import Crop

__all__ = [
    "clean_hot_pixels",
    "darkest_corner",
    "find_support",
    "keep_within",
    "noise_in",
    "peak_to_noise",
    "reaches_edge",
    "second_peak",
    "shifts_between",
    "smoothed",
]

_ALONE = 4.0  # times the second brightest neighbour
_HOT = 8.0  # times the noise
_EDGE = 6.0  # times the noise of smoothed planes
_SMOOTHING_PX = 2.0
_MAIN_LOBE = 0.2


def darkest_corner(planes: Tensor) -> Tensor:
    """Cut out the darkest corner of each plane, shape (planes, samples)."""
    height, width = (max(size // 20, 10) for size in planes.shape[-2:])
    corners = torch.stack(
        [
            planes[:, rows, columns].flatten(1)
            for rows in (slice(height), slice(-height, None))
            for columns in (slice(width), slice(-width, None))
        ],
        dim=1,
    )
    darkest = corners.median(-1).values.argmin(1)
    return corners[torch.arange(len(planes)), darkest]


def noise_in(planes: Tensor) -> Tensor:
    """Measure the noise without light from the median deviation in the darkest corner."""
    corner = darkest_corner(planes)
    deviation = (corner - corner.median(-1, keepdim=True).values).abs()
    return 1.4826 * deviation.median(-1).values


def clean_hot_pixels(planes: Tensor, noise: Tensor) -> tuple[Tensor, int]:
    """Give pixels that stand alone their neighbours' median, and count them.

    A pixel stands alone where it is four times as bright as the second brightest of its eight
    neighbours, and clearly over the noise. Thin lines and pairs of hot pixels pass.
    """
    import numpy as np
    from scipy.ndimage import rank_filter

    ring = np.ones((1, 3, 3), dtype=bool)
    ring[0, 1, 1] = False
    array = planes.numpy()
    second, median = (
        torch.from_numpy(rank_filter(array, rank, footprint=ring)) for rank in (-2, 4)
    )
    hot = planes > _ALONE * second.clamp_min(0) + _HOT * noise[:, None, None]
    return torch.where(hot, median, planes), int(hot.sum())


def peak_to_noise(planes: Tensor, noise: Tensor) -> float:
    """Brightest mean of 3x3 pixels over the noise of such a mean."""
    means = avg_pool2d(planes[:, None], 3, stride=1)[:, 0]
    return float((means.amax((-2, -1)) / (noise / 3)).max())


def shifts_between(images: Sequence[Tensor]) -> Tensor:
    """How far each image lies (down, right) of the typical one, in pixels, shape (images, 2)."""
    from skimage.registration import phase_cross_correlation

    arrays = [image.numpy() for image in images]
    found = [
        phase_cross_correlation(  # type: ignore[no-untyped-call]
            array, arrays[0], upsample_factor=20, normalization=None
        )[0]
        for array in arrays
    ]
    shifts = torch.tensor([[float(down), float(right)] for down, right in found])
    return shifts - shifts.median(0).values


def second_peak(image: Tensor) -> tuple[float, tuple[int, int]]:
    """Largest autocorrelation outside the main lobe, and the offset (down, right) it is at.

    Structures of 1 to 8 pixels count: broader ones resemble themselves at any offset. Two equal
    sources give 1/2, sources of ratio ``a`` give ``a / (1 + a**2)``.
    """
    from scipy.ndimage import gaussian_filter, label

    array = image.numpy()
    band = torch.from_numpy(gaussian_filter(array, 1.0) - gaussian_filter(array, 8.0))
    size = [2 * length for length in band.shape]
    spectrum = torch.fft.rfft2(band, s=size)
    correlation = torch.fft.irfft2(spectrum.abs().square(), s=size)
    correlation = torch.fft.fftshift(correlation / correlation[0, 0])
    centre = tuple(length // 2 for length in size)
    lobes, _ = label(correlation.numpy() > _MAIN_LOBE)
    outside = correlation.masked_fill(torch.from_numpy(lobes == lobes[centre]), -1.0)
    position = int(outside.argmax())
    offset = position // size[1] - centre[0], position % size[1] - centre[1]
    return float(outside.max()), (abs(offset[0]), offset[1] * (1 if offset[0] >= 0 else -1))


def find_support(planes: Tensor, noise: Tensor, margin: float) -> Crop:
    """Find the window outside of which no plane shows light, and widen it on every side.

    ``margin`` is a share of the window's height and width; at least 8 pixels are added.
    """
    from scipy.ndimage import gaussian_filter

    sigma = (0, _SMOOTHING_PX, _SMOOTHING_PX)
    smooth = torch.from_numpy(gaussian_filter(planes.numpy(), sigma))
    remaining = noise / (2 * torch.pi**0.5 * _SMOOTHING_PX)
    lit = (smooth > _EDGE * remaining[:, None, None]).any(0)
    top, height = _extent(lit.any(1), margin)
    left, width = _extent(lit.any(0), margin)
    return Crop(top, left, height, width)


def _extent(lit: Tensor, margin: float) -> tuple[int, int]:
    inside = torch.nonzero(lit).flatten()
    first, last = int(inside[0]), int(inside[-1])
    added = max(round(margin * (last - first + 1)), 8)
    first, last = max(first - added, 0), min(last + added, len(lit) - 1)
    return first, last - first + 1


def keep_within(planes: Tensor, window: Crop) -> Tensor:
    """Set everything outside a window to 0."""
    inside = torch.zeros_like(planes)
    rows = slice(window.top, window.top + window.height)
    columns = slice(window.left, window.left + window.width)
    inside[..., rows, columns] = planes[..., rows, columns]
    return inside


def reaches_edge(planes: Tensor, window: Crop) -> bool:
    """Tell whether a window touches the border of its planes."""
    height, width = planes.shape[-2:]
    return (
        min(window.top, window.left) == 0
        or window.top + window.height == height
        or window.left + window.width == width
    )


def smoothed(planes: Tensor, noise: Tensor) -> Tensor:
    """Smooth by non-local means according to the noise; each plane keeps its light."""
    from skimage.restoration import denoise_nl_means

    smooth = torch.stack(
        [
            torch.from_numpy(
                denoise_nl_means(
                    plane.numpy(), patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma
                )
            )
            for plane, sigma in zip(planes, noise.tolist(), strict=True)
        ]
    ).to(planes)
    return smooth * (planes.sum((-2, -1)) / smooth.sum((-2, -1)))[:, None, None]

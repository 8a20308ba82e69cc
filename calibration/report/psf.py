"""The PSF of a shift-invariant camera: picture, autocorrelation and transfer function."""

import math

import torch
from torch import Tensor

from ...imaging.bayer import planes_to_rgb
from ..camera import Camera
from .drawing import Series, line_plot
from .pictures import light_picture, map_picture, shrunk
from .planes import plane_styles
from .tags import figure, paragraph, row, section

__all__ = ["by_frequency", "psf_section"]

_REACH = 40  # pixels around the autocorrelation's centre that are shown
_BINS = 120


def psf_section(camera: Camera) -> str:
    """Show the PSF, how sharply it resembles itself, and which frequencies it passes."""
    assert camera.psf is not None
    psf = camera.psf.double().reshape(-1, *camera.psf.shape[-2:])
    correlation = _autocorrelation(psf).mean(0)
    size = "x".join(map(str, psf.shape[-2:]))
    colours = planes_to_rgb(psf) if camera.bayer else psf
    seen = colours if len(colours) in (1, 3) else colours.mean(0, keepdim=True)
    return section(
        "The point spread function",
        paragraph(
            "The light that one distant point throws on the sensor. A scene's capture is this "
            "picture repeated at every point of the scene."
        ),
        row(
            figure(
                light_picture(
                    shrunk(seen, 800).float(),
                    alt=f"The PSF, {size} pixels, as bright lines or spots.",
                ),
                f"The PSF, {size} pixels; its 99.5 % quantile is white.",
            ),
            figure(
                _centre_picture(correlation),
                f"Autocorrelation within {_REACH} pixels, averaged over planes. One small bright "
                "spot is best; more spots make ghosts.",
            ),
        ),
        row(_correlation_plot(correlation), _transfer_plot(camera, psf)),
    )


def by_frequency(spectrum: Tensor) -> tuple[list[float], list[float]]:
    """Average a spectrum (height, width) of the discrete Fourier transform over directions.

    Returns frequencies in cycles a pixel, up to 1/2, and the means.
    """
    height, width = spectrum.shape
    radius = torch.hypot(
        torch.fft.fftfreq(height, dtype=torch.float64)[:, None],
        torch.fft.fftfreq(width, dtype=torch.float64),
    )
    inside = (radius > 0) & (radius <= 0.5)
    index = (radius[inside] * 2 * _BINS).long().clamp_max(_BINS - 1)
    total = torch.bincount(index, spectrum[inside].double(), minlength=_BINS)
    count = torch.bincount(index, minlength=_BINS)
    kept = count > 0
    centres = (torch.arange(_BINS) + 0.5) / (2 * _BINS)
    return centres[kept].tolist(), (total[kept] / count[kept]).tolist()


def _autocorrelation(psf: Tensor) -> Tensor:
    """Autocorrelation of each plane about its mean, 1 at the centre of (planes, ...)."""
    size = [2 * length for length in psf.shape[-2:]]
    spectrum = torch.fft.rfft2(psf - psf.mean((-2, -1), keepdim=True), s=size)
    correlation = torch.fft.irfft2(spectrum.abs().square(), s=size)
    return torch.fft.fftshift(correlation / correlation[..., :1, :1], dim=(-2, -1))


def _centre_picture(correlation: Tensor) -> str:
    rows, columns = (
        slice(max(length // 2 - _REACH, 0), length // 2 + _REACH + 1)
        for length in correlation.shape
    )
    return map_picture(
        correlation[rows, columns],
        low=0,
        high=1,
        alt="Autocorrelation of the PSF around its centre.",
        palette="magma",
    )


def _correlation_plot(correlation: Tensor) -> str:
    height, width = correlation.shape
    down = correlation[height // 2 :, width // 2][: _REACH + 1].tolist()
    across = correlation[height // 2, width // 2 :][: _REACH + 1].tolist()
    width_px = _half_width(correlation)
    plot = line_plot(
        [
            Series("down", range(len(down)), down, "blue"),
            Series("across", range(len(across)), across, "violet", dashed=True),
        ],
        title="Autocorrelation of the PSF",
        description=f"Falls to one half within {width_px:.1f} pixels.",
        x_label="pixels from the centre",
        y_label="autocorrelation",
    )
    return figure(
        plot,
        f"Autocorrelation from the centre outwards; it falls to one half within {width_px:.1f} "
        "pixels. The steeper, the better are neighbouring points told apart.",
    )


def _half_width(correlation: Tensor) -> float:
    """Radius of the disc as large as the main lobe at one half."""
    from scipy.ndimage import label

    lobes, _ = label((correlation > 0.5).numpy())
    centre = tuple(length // 2 for length in correlation.shape)
    return math.sqrt(float((lobes == lobes[centre]).sum()) / math.pi)


def _transfer_plot(camera: Camera, psf: Tensor) -> str:
    series = []
    for (label, tone, dashed), plane in zip(plane_styles(camera, len(psf)), psf, strict=True):
        power = torch.fft.fft2(plane).abs().square()
        frequency, mean = by_frequency(power / power[0, 0])
        series.append(Series(label, frequency, [math.sqrt(value) for value in mean], tone, dashed))
    plot = line_plot(
        series,
        title="Transfer function of the PSF",
        description="Modulus against spatial frequency, averaged over directions.",
        x_label="cycles a pixel",
        y_label="modulus over that of no detail",
        log_y=True,
    )
    return figure(plot, "Transfer function, root mean square over directions: higher is better.")

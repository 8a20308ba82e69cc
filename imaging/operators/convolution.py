"""Shift-invariant cameras: a diffuser or any mask described by its point spread function."""

import torch
from torch import Tensor

from ..shapes import ShapeError, check_floating, check_shape
from .base import LinearOperator

__all__ = ["ConvolutionOperator"]


class ConvolutionOperator(LinearOperator):
    r"""A lensless camera with one point spread function for the whole field.

    The capture is the linear convolution of the scene with the PSF, cropped to the sensor:
    :math:`y[i] = \sum_j p[i - j + c]\, x[j]`, with the PSF's centre :math:`c` at index
    ``size // 2`` on each axis. Scene and sensor share their centre.

    Parameters
    ----------
    psf : Tensor, shape (height, width) or (channels, height, width)
        Point spread function, in units of capture over scene. It is used as it is, without
        normalising.
    sensor_size : tuple of int, optional
        (height, width) of captures; the PSF's own size by default.
    scene_size : tuple of int, optional
        (height, width) of scenes; the sensor's size by default. A larger one models light from
        outside the field that the sensor's own size covers.

    Notes
    -----
    Convolution runs by FFT on a grid just large enough that no wrapped sample lands on the
    sensor: 1.5 times the sensor on each axis when all three sizes agree, not 2 times.
    """

    def __init__(
        self,
        psf: Tensor,
        sensor_size: tuple[int, int] | None = None,
        scene_size: tuple[int, int] | None = None,
    ) -> None:
        check_floating(psf, "psf")
        if psf.ndim not in (2, 3):
            raise ShapeError(
                f"psf must have shape (height, width) or (channels, height, width), "
                f"got {tuple(psf.shape)}"
            )
        self.psf = psf
        self._psf_size = (psf.shape[-2], psf.shape[-1])
        self._sensor_size = sensor_size or self._psf_size
        self._scene_size = scene_size or self._sensor_size
        grids = [
            _grid(sensor, scene, kernel)
            for sensor, scene, kernel in zip(
                self._sensor_size, self._scene_size, self._psf_size, strict=True
            )
        ]
        #: Size of the FFT grid, (height, width).
        self.grid = (grids[0], grids[1])
        self._transfer: Tensor | None = None
        self._adjoint_transfer: Tensor | None = None

    @property
    def scene_shape(self) -> tuple[int, ...]:
        """(height, width) of scenes, behind the channels if the PSF has any."""
        return (*self.psf.shape[:-2], *self._scene_size)

    @property
    def capture_shape(self) -> tuple[int, ...]:
        """(height, width) of captures, behind the channels if the PSF has any."""
        return (*self.psf.shape[:-2], *self._sensor_size)

    @property
    def transfer(self) -> Tensor:
        """Complex transfer function on the FFT grid, PSF centre and scene offset included.

        It is computed once, or at every use while the PSF is being differentiated.
        """
        if self._transfer is not None:
            return self._transfer
        padded = torch.nn.functional.pad(self.psf, _padding(self._psf_size, self.grid))
        transfer = torch.fft.rfft2(torch.roll(padded, self._shift(), dims=(-2, -1)))
        if not self.psf.requires_grad:
            self._transfer = transfer
        return transfer

    @property
    def adjoint_transfer(self) -> Tensor:
        """Complex conjugate of the transfer function, computed as seldom."""
        if self._adjoint_transfer is not None:
            return self._adjoint_transfer
        conjugate = self.transfer.conj().resolve_conj()
        if not self.psf.requires_grad:
            self._adjoint_transfer = conjugate
        return conjugate

    def _shift(self) -> tuple[int, int]:
        """Index shift that puts scene sample 0 where it falls on the sensor."""
        rows, columns = (
            -(kernel // 2) - (scene - sensor) // 2
            for kernel, scene, sensor in zip(
                self._psf_size, self._scene_size, self._sensor_size, strict=True
            )
        )
        return rows, columns

    def forward(self, scene: Tensor) -> Tensor:
        """Map scenes (..., *scene_shape) to captures (..., *capture_shape)."""
        check_shape(scene, self.scene_shape, "scene")
        return self._filtered(scene, self.transfer, self._sensor_size)

    def adjoint(self, capture: Tensor) -> Tensor:
        """Map captures (..., *capture_shape) to scenes (..., *scene_shape)."""
        check_shape(capture, self.capture_shape, "capture")
        return self._filtered(capture, self.adjoint_transfer, self._scene_size)

    def _filtered(self, image: Tensor, transfer: Tensor, size: tuple[int, int]) -> Tensor:
        # In place, since allocating a spectrum costs more than multiplying it.
        return from_spectrum(to_spectrum(image, self.grid).mul_(transfer), self.grid, size)


def to_spectrum(image: Tensor, grid: tuple[int, int]) -> Tensor:
    """Real FFT of an image padded with zeros to the grid, without transforming zero rows."""
    return torch.fft.fft(torch.fft.rfft(image, n=grid[1]), n=grid[0], dim=-2)


def from_spectrum(spectrum: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Inverse real FFT, cropped to a size, without transforming rows that the crop drops."""
    kept = torch.fft.ifft(spectrum, dim=-2)[..., : size[0], :]
    return torch.fft.irfft(kept, n=grid[1])[..., : size[1]]


def _grid(sensor: int, scene: int, kernel: int) -> int:
    """Smallest fast FFT length on which no wrapped sample reaches the sensor or the scene."""
    first_scene = -((scene - sensor) // 2)
    last_scene = first_scene + scene - 1
    centre = kernel // 2
    reach_above = sensor - 1 - first_scene + centre
    reach_below = last_scene + kernel - 1 - centre
    return _fast_length(max(reach_above + 1, reach_below + 1, sensor, scene, kernel))


def _fast_length(length: int) -> int:
    """Smallest even length that is at least the given one and has no prime factor over 5."""
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1 and length % 2 == 0:
            return length
        length += 1


def _padding(size: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int, int, int]:
    return (0, grid[1] - size[1], 0, grid[0] - size[0])

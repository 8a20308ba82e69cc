"""What a camera will see at a given light: a closed form, with its assumptions in one place."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...imaging import Sensor, SeparableFactors, SeparableOperator
from ...imaging.prediction import (
    capture_noise_std,
    component_variance,
    frequency_variance,
    measured_share,
    posterior_variance,
    predict_psnr,
)
from ..camera import Camera

__all__ = [
    "SCENE_CORRELATION",
    "SCENE_MEAN",
    "SCENE_STD",
    "Outlook",
    "assumed_sensor",
    "light_for_white",
]

#: The assumed scene: independent samples about a known mean, where 1 is white.
SCENE_MEAN, SCENE_STD = 0.5, 0.25
#: Correlation of neighbouring samples that stands for natural scenes.
SCENE_CORRELATION = 0.95


def assumed_sensor(camera: Camera) -> Sensor:
    """Give a sensor of the record's bit depth; well and read noise are not in a record."""
    bits = math.ceil(math.log2(camera.white_level + 1)) if camera.white_level > 15 else 16
    return Sensor(bit_depth=min(bits, 16), black_level_dn=0, dark_current_e_per_s=0)


def light_for_white(camera: Camera) -> Tensor:
    """Estimate the captured light of a white scene in each plane, averaged over the sensor.

    Exact where the record holds all light: the sum of the PSF or of the matrices' rows. Where row
    and column means are removed, the constant light through a mask of 0 and 1 is not in it; each
    scene sample then sheds as much of it as its coded shadow swings, for which the 90 % quantile
    of the swing stands.

    Returns
    -------
    Tensor of float64, shape (planes,)
        1 is the light that saturates; one entry where all planes share their matrices.
    """
    if camera.psf is not None:
        return camera.psf.double().sum((-2, -1)).reshape(-1)
    assert camera.phi_left is not None and camera.phi_right is not None
    sides = [phi.double() for phi in (camera.phi_left, camera.phi_right)]
    if camera.mean_removal:
        left, right = (
            phi.abs().kthvalue(math.ceil(0.9 * phi.shape[-2]), dim=-2).values.sum(-1)
            for phi in sides
        )
    else:
        left, right = (phi.sum(-1).mean(-1) for phi in sides)
    return (left * right).reshape(-1)


@dataclass(frozen=True, eq=False)
class Outlook:
    """The closed-form predictions for one camera.

    Attributes
    ----------
    sensor : Sensor
        What is assumed of the sensor.
    white : Tensor of float64, shape (planes,)
        See :func:`light_for_white`.
    gains : Tensor of float64, shape (planes, rows, columns)
        Gain of each spectral component: products of singular values, or moduli of the PSF's
        transfer function on its own grid, as if scenes went on periodically.
    factors : SeparableFactors or None
        The decomposition of a separable camera.
    smooth : Tensor of float64, shape (planes, rows, columns)
        Variance of each component of scenes whose neighbours correlate by ``SCENE_CORRELATION``,
        over that of independent samples.
    """

    sensor: Sensor
    white: Tensor
    gains: Tensor
    factors: SeparableFactors | None
    smooth: Tensor

    @classmethod
    def of(cls, camera: Camera) -> "Outlook":
        """Decompose a camera; this takes a second or two for large ones."""
        operator = camera.operator(dtype=torch.float64)
        if isinstance(operator, SeparableOperator):
            factors = SeparableFactors.of(operator)
            gains, smooth = factors.gains, component_variance(factors, SCENE_CORRELATION)
        else:
            factors = None
            assert camera.psf is not None
            gains = torch.fft.fft2(camera.psf.double()).abs()
            smooth = frequency_variance(gains.shape[-2:], SCENE_CORRELATION).expand_as(gains)
        gains, smooth = (each.reshape(-1, *gains.shape[-2:]) for each in (gains, smooth))
        return cls(assumed_sensor(camera), light_for_white(camera), gains, factors, smooth)

    @property
    def samples(self) -> int:
        """Samples of a scene in one plane."""
        shape = self.gains.shape if self.factors is None else self.factors.scene_shape
        return shape[-2] * shape[-1]

    def noise_std(self, electrons: float) -> Tensor:
        """Noise at the exposure that the record's units refer to, shape (planes,).

        ``electrons`` are those of a pixel on average over the sensor and its planes, under the
        assumed scene. More light lowers the noise in units of the capture that the record's
        matrices predict.
        """
        in_plane = electrons * self.white / self.white.mean()
        noise = capture_noise_std(self.sensor, in_plane, exposure_s=1.0)
        exposure = electrons / (self.sensor.full_well_e * SCENE_MEAN * self.white.mean())
        return noise / exposure

    def measured(self, electrons: float, *, smooth: bool) -> Tensor:
        """Share of each component that comes from the capture, shape (planes, rows, columns).

        Of scenes with independent samples, or of smooth ones.
        """
        gains = self.gains * self.smooth.sqrt() if smooth else self.gains
        return measured_share(gains, self.noise_std(electrons), SCENE_STD)

    def psnr(self, electrons: float, *, smooth: bool) -> Tensor:
        """Predicted PSNR of each plane in dB, for a range of 1, shape (planes,).

        Smooth as for :meth:`measured`.
        """
        return predict_psnr(
            self.gains,
            self.noise_std(electrons),
            SCENE_STD,
            spectrum=self.smooth if smooth else None,
            scene_samples=self.samples,
        )

    def detail(self, electrons: float) -> Tensor:
        """Side of the scene patch that one measured number stands for, in scene samples.

        The variance of a sample falls by the share of it that the capture tells; the inverse of
        this share is the area over which one number is spread. At least 1; infinite where the
        capture tells nothing. Of shape (planes, scene_height, scene_width), or (planes, 1, 1)
        where it is the same everywhere.
        """
        if self.factors is None:
            told = self.measured(electrons, smooth=False).mean((-2, -1), keepdim=True)
        else:
            noise = self.noise_std(electrons).reshape(self.factors.gains.shape[:-2])
            left_over = posterior_variance(self.factors, noise, SCENE_STD) / SCENE_STD**2
            told = (1 - left_over).reshape(-1, *left_over.shape[-2:])
        return told.clamp_min(0).rsqrt()

"""What was measured, and holding imagined pictures to it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..shapes import ShapeError, check_floating
from ..solvers import SeparableFactors
from .conditioning import from_model_range, to_model_range
from .consistency import RangeConsistency
from .resample import Resampling

__all__ = ["Measurement", "Tether"]


@dataclass(frozen=True, eq=False)
class Measurement:
    """What a camera measured of each scene of a batch, all on one device.

    Attributes
    ----------
    capture : Tensor, shape (batch, planes, sensor_height, sensor_width)
        Prepared captures.
    factors : SeparableFactors
        The camera.
    noise_std : float or Tensor, shape (batch, planes) or broadcastable to it
        Noise of captures, over 0.
    prior_std : float or Tensor, likewise
        Standard deviation of scene samples, over 0.
    colour_matrix : Tensor, shape (3, 3), optional
        From the camera's RGB to that of the reconstruction.
    """

    capture: Tensor
    factors: SeparableFactors
    noise_std: float | Tensor
    prior_std: float | Tensor
    colour_matrix: Tensor | None = None

    def check_linear(self, linear: Tensor) -> Tensor:
        """Require the reconstructions to be of these captures; grey ones become RGB.

        Raises
        ------
        ShapeError, TypeError
            They have another batch, size or dtype.
        """
        check_floating(linear, "linear")
        batch, (height, width) = self.capture.shape[0], self.factors.scene_shape[-2:]
        if list(linear.shape) not in ([batch, n, height, width] for n in (1, 3)):
            wanted = f"({batch}, 3 or 1, {height}, {width})"
            raise ShapeError(f"linear must have shape {wanted}, got {tuple(linear.shape)}")
        return linear.expand(-1, 3, -1, -1)


class Tether:
    """Hold the pictures of a model to the captures they are made from.

    Parameters
    ----------
    measurement : Measurement
        What was measured.
    picture_size : tuple of int
        (height, width) of the model's pictures.
    white : Tensor, shape (batch,)
        The linear value that the model sees as white.
    """

    def __init__(
        self, measurement: Measurement, picture_size: tuple[int, int], white: Tensor
    ) -> None:
        height, width = measurement.factors.scene_shape[-2:]
        self.consistency = RangeConsistency(
            measurement.factors,
            measurement.capture,
            measurement.noise_std,
            measurement.colour_matrix,
        )
        self._resampling = Resampling((height, width), picture_size)
        self._white = white

    def correct(self, picture: Tensor) -> Tensor:
        """Put the measured part of pictures, sRGB in [-1, 1], right."""
        linear = from_model_range(picture, self._white)
        return to_model_range(self.agree(linear), self._white)

    def agree(self, image: Tensor) -> Tensor:
        """Put the measured part of linear pictures right, as far as the noise allows.

        How far to trust the pictures is estimated from how they contradict the captures.
        """
        scene = self._resampling.lower(image)
        corrected = self.consistency(scene, self.consistency.error_std(scene))
        return image + self._resampling.lift(corrected - scene)

    def blend(self, linear: Tensor, imagined: Tensor, imagination: float) -> Tensor:
        """Turn the fidelity dial.

        Parameters
        ----------
        linear : Tensor, shape (batch, 3, scene_height, scene_width)
            The linear reconstruction.
        imagined : Tensor, shape (batch, 3, height, width)
            Linear light of the picture as the model imagined it.
        imagination : float
            0 for the linear reconstruction, 0.5 for the imagined picture with its measured part
            put right, 1 for the imagined picture.

        Returns
        -------
        Tensor, shape (batch, 3, height, width)
            Linear light.
        """
        if imagination == 1:
            return imagined
        agreed = self.agree(imagined)
        if imagination >= 0.5:
            return torch.lerp(agreed, imagined, 2 * imagination - 1)
        return torch.lerp(self._resampling.lift(linear), agreed, 2 * imagination)

    def residual(self, image: Tensor) -> Tensor:
        """Whitened residual, shape (batch, planes), of linear pictures of the model's size."""
        return self.consistency.whitened_residual(self._resampling.lower(image))

r"""The picture that a refiner starts from, and what it is told about it.

Total variation removes most of the noise that the linear reconstruction shows, with an exact
camera and a weight that the noise alone decides. A refiner that starts there need not learn it
again. What total variation flattened is still in the capture: the model also sees the start as the
capture would have it, by the noise-aware consistency of
:class:`~barelens.imaging.refine.RangeConsistency`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..bayer import planes_to_rgb
from ..solvers.admm_separable import admm_separable, noise_weight
from ..solvers.admm_settings import AdmmSettings
from .conditioning import CONDITIONING_CHANNELS, condition, white_level
from .consistency import RangeConsistency
from .measurement import Measurement
from .record import StartKind

__all__ = ["Start", "conditioning_channels", "total_variation_start"]

#: Enough to be within 0.1 dB of the minimum.
TV_ITERATIONS = 15
#: Percentage of values below white: noise leaves the linear one with many stray bright ones.
_WHITE_PERCENTILE = {"linear": 99.5, "total_variation": 99.9}
#: Below this share of white the sRGB curve is so steep that it would show noise alone.
_DARKEST = 0.02
#: From black to white, of sRGB from -1 to 1; what contradicts more is noise.
_LARGEST_CHANGE = 2.0


def conditioning_channels(kind: StartKind) -> int:
    """Channels of :meth:`Start.conditioning`."""
    return CONDITIONING_CHANNELS + (3 if kind == "total_variation" else 0)


@dataclass(frozen=True, eq=False)
class Start:
    """Where refining starts.

    Attributes
    ----------
    kind : {"linear", "total_variation"}
        How it was made.
    picture : Tensor, shape (batch, 3, height, width)
        Linear light in units of the scene.
    white : Tensor, shape (batch,)
        The linear value that the model sees as white.
    measurement : Measurement
        What was measured.
    """

    kind: StartKind
    picture: Tensor
    white: Tensor
    measurement: Measurement

    @classmethod
    def of(cls, kind: StartKind, linear: Tensor, measurement: Measurement) -> "Start":
        """Start from linear reconstructions (batch, 3, height, width) or instead of them."""
        picture = linear if kind == "linear" else total_variation_start(measurement)
        return cls(kind, picture, white_level(picture, _WHITE_PERCENTILE[kind]), measurement)

    def conditioning(self) -> Tensor:
        """Give the input of a camera-conditioned ControlNet.

        Returns
        -------
        Tensor, shape (batch, channels, height, width)
            What :func:`~barelens.imaging.refine.condition` says of the picture; of one by total
            variation also, in RGB, by how much the capture would change its sRGB values, from -1 to
            1, to first order.
        """
        measured = self.measurement
        told = condition(
            self.picture, measured.factors, measured.noise_std, measured.prior_std, white=self.white
        )
        if self.kind == "linear":
            return told
        return torch.cat([told, self._contradiction()], 1)

    def _contradiction(self) -> Tensor:
        measured, scale = self.measurement, self.white[:, None, None, None]
        consistency = RangeConsistency(
            measured.factors, measured.capture, measured.noise_std, measured.colour_matrix
        )
        prior = torch.as_tensor(measured.prior_std).to(self.picture)[..., None, None]
        change = (consistency(self.picture, prior) - self.picture) / scale
        encoded = 2 * _srgb_slope((self.picture / scale).clamp(_DARKEST, 1)) * change
        return encoded.clamp(-_LARGEST_CHANGE, _LARGEST_CHANGE)


def total_variation_start(measurement: Measurement) -> Tensor:
    """Reconstruct by :func:`~barelens.imaging.admm_tv` with a weight that the noise decides.

    Returns
    -------
    Tensor, shape (batch, 3, scene_height, scene_width)
        Linear light in units of the scene, at least 0 in the camera's own colours.
    """
    capture, factors = measurement.capture, measurement.factors
    noise = torch.as_tensor(measurement.noise_std).to(capture).expand(capture.shape[:2])
    if capture.shape[1] == 4 and factors.gains.ndim == 2:
        # Greens that share their matrices are one plane, with less noise.
        capture = planes_to_rgb(capture)
        red, green, other_green, blue = noise.unbind(1)
        noise = torch.stack([red, torch.hypot(green, other_green) / 2, blue], 1)
    settings = AdmmSettings(noise_weight(factors, noise), iterations=TV_ITERATIONS)
    scene = admm_separable(factors, capture, settings).scene
    if scene.shape[1] == 4:
        scene = planes_to_rgb(scene)
    scene = scene.expand(-1, 3, -1, -1)
    if measurement.colour_matrix is None:
        return scene
    return torch.einsum("ij,bjhw->bihw", measurement.colour_matrix.to(scene), scene)


def _srgb_slope(linear: Tensor) -> Tensor:
    """Slope of the sRGB curve above its knee."""
    return 1.055 / 2.4 * linear ** (1 / 2.4 - 1)

r"""From the dimensions of a separable-mask camera to its transfer matrices.

All lengths lie on the sensor plane: light of direction :math:`t` (tangent of its angle to the
axis) that passes the mask at :math:`u` arrives at :math:`x = m u - d\, t` for a far scene, where
:math:`d` is the distance of mask and sensor. A scene at distance :math:`z` from the mask casts a
shadow larger by :math:`m = 1 + d/z`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .masks import check_profile

__all__ = ["SeparableGeometry", "Transfer", "transfer_matrices", "transfer_matrix"]


@dataclass(frozen=True)
class SeparableGeometry:
    """Dimensions of a camera with a mask in front of a bare sensor.

    Parameters
    ----------
    sensor_height, sensor_width : int
        Samples of one colour plane. Of a Bayer sensor that is half its pixels each way.
    scene_height, scene_width : int
        Samples of the scene.
    sample_pitch_um : float
        Distance of neighbouring samples of a plane: twice the pixel pitch of a Bayer sensor.
    fill_factor : float, optional
        Width of a pixel's light-sensitive part over the sample pitch, in (0, 1]. A Bayer plane
        samples half of its pitch, which is the default.
    feature_um : float, optional
        Width of a mask feature.
    mask_distance_mm : float, optional
        Distance of mask and sensor.
    scene_distance_mm : float, optional
        Distance of scene and mask, up to infinity.
    field_of_view_deg : float, optional
        Full angle that the scene's larger side spans.
    wavelength_nm : float or None, optional
        Mean wavelength of light for the blur by diffraction; None for pure geometry.

    Raises
    ------
    ValueError
        A dimension is out of range.
    """

    sensor_height: int
    sensor_width: int
    scene_height: int
    scene_width: int
    sample_pitch_um: float = 10.6
    fill_factor: float = 0.5
    feature_um: float = 30.0
    mask_distance_mm: float = 1.95
    scene_distance_mm: float = math.inf
    field_of_view_deg: float = 36.0
    wavelength_nm: float | None = None

    def __post_init__(self) -> None:
        for name in (
            "sensor_height",
            "sensor_width",
            "scene_height",
            "scene_width",
            "sample_pitch_um",
            "feature_um",
            "mask_distance_mm",
            "scene_distance_mm",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 < self.fill_factor <= 1:
            raise ValueError(f"fill_factor must be in (0, 1], got {self.fill_factor}")
        if not 0 < self.field_of_view_deg < 180:
            raise ValueError(
                f"field_of_view_deg must be between 0 and 180, got {self.field_of_view_deg}"
            )
        if self.wavelength_nm is not None and not self.wavelength_nm > 0:
            raise ValueError(f"wavelength_nm must be positive or None, got {self.wavelength_nm}")

    @property
    def magnification(self) -> float:
        """Size of the mask's shadow over the mask's own."""
        return 1 + self.mask_distance_mm / self.scene_distance_mm

    @property
    def scene_step_um(self) -> float:
        """How far the shadow moves on the sensor from one scene sample to the next."""
        spread = 2 * math.tan(math.radians(self.field_of_view_deg) / 2)
        return 1000 * self.mask_distance_mm * spread / max(self.scene_height, self.scene_width)

    @property
    def slope(self) -> float:
        """The same in samples of the sensor: below 1, neighbours in the scene share pixels."""
        return self.scene_step_um / self.sample_pitch_um

    @property
    def diffraction_blur_um(self) -> float:
        r"""Standard deviation of the shadow's edge by diffraction, 0 in pure geometry.

        The shadow of a straight edge rises over about the width of the first Fresnel zone,
        :math:`\sqrt{\lambda d / 2}`; broadband light leaves none of the fringes around it. The
        Gaussian with the same rise from 10 % to 90 % stands for it. This is the scalar, near-field
        approximation: it knows no fringes and no coupling of neighbouring features.
        """
        if self.wavelength_nm is None:
            return 0.0
        zone_um = math.sqrt(1e-3 * self.wavelength_nm * 1e3 * self.mask_distance_mm / 2)
        return zone_um / 2.563  # the 10-90 % rise of a Gaussian edge in standard deviations


@dataclass(frozen=True, eq=False)
class Transfer:
    """Transfer of one side of a separable mask.

    Attributes
    ----------
    coded : Tensor, shape (sensor, scene)
        Of the ±1 profile, as in the separable model.
    open : Tensor, shape (sensor, scene)
        Of a mask of the same size that is open everywhere: its constant part.
    """

    coded: Tensor
    open: Tensor


def transfer_matrices(
    geometry: SeparableGeometry,
    profile_left: Tensor,
    profile_right: Tensor,
    *,
    oversampling: int = 1,
) -> tuple[Transfer, Transfer]:
    r"""Compute the transfer of both sides of a separable mask.

    A capture behind the physical 0/1 mask is
    :math:`(\Phi_L X \Phi_R^T + O_L X O_R^T) / 2` with the coded transfer :math:`\Phi` and the open
    transfer :math:`O`. Beyond its features the mask is opaque.

    Parameters
    ----------
    geometry : SeparableGeometry
        Dimensions of the camera.
    profile_left, profile_right : Tensor, shape (features,)
        Profiles of -1 and 1 along height and width, centred on the axis.
    oversampling : int, optional
        Split each scene sample into this many: a finer scene over the same field of view.

    Returns
    -------
    left, right : Transfer
        Of shape (sensor_height, oversampling * scene_height) and alike for the width, float64.
        A row sums to the light that a scene of 1 everywhere sends through that side.
    """
    if oversampling < 1:
        raise ValueError(f"oversampling must be at least 1, got {oversampling}")
    left, right = (
        transfer_matrix(geometry, profile, sensor, scene, oversampling)
        for profile, sensor, scene in (
            (profile_left, geometry.sensor_height, geometry.scene_height),
            (profile_right, geometry.sensor_width, geometry.scene_width),
        )
    )
    return left, right


def transfer_matrix(
    geometry: SeparableGeometry, profile: Tensor, sensor: int, scene: int, oversampling: int = 1
) -> Transfer:
    """Compute the transfer of one side; see :func:`transfer_matrices`.

    The shadow is integrated exactly over each pixel's light-sensitive part and each scene
    sample's extent: the integral is a difference of the profile's second antiderivative at four
    corners.
    """
    profile = check_profile(profile).double()
    feature = geometry.feature_um * geometry.magnification
    step = geometry.scene_step_um / oversampling
    aperture = geometry.sample_pitch_um * geometry.fill_factor
    pixels = _centred_positions(sensor, geometry.sample_pitch_um)
    directions = _centred_positions(scene * oversampling, step)
    offset = pixels[:, None] - directions

    def integrate(values: Tensor) -> Tensor:
        shadow = _Shadow(values, feature, geometry.diffraction_blur_um)
        total = torch.zeros_like(offset)
        for side, half in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            corner = offset + side * aperture / 2 + half * step / 2
            total += side * half * shadow.second_integral(corner)
        # The mean over a pixel, and over the field of view: a scene of 1 gives at most 1.
        return total / (aperture * geometry.scene_step_um * scene)

    return Transfer(coded=integrate(profile), open=integrate(torch.ones_like(profile)))


def _centred_positions(number: int, pitch: float) -> Tensor:
    return (torch.arange(number, dtype=torch.float64) - (number - 1) / 2) * pitch


class _Shadow:
    """Shadow of a profile, dark beyond its ends, blurred by a Gaussian."""

    def __init__(self, values: Tensor, feature_um: float, blur_um: float) -> None:
        features = values.numel()
        self._feature, self._blur = feature_um, blur_um
        self._edges = (torch.arange(features + 1, dtype=torch.float64) - features / 2) * feature_um
        # Behind each edge: the value, and at the edge the integral and the integral of that.
        self._values = torch.cat([values, values.new_zeros(1)])
        first = torch.cumsum(values, 0) * feature_um
        self._first = torch.cat([values.new_zeros(1), first])
        second = torch.cumsum(self._first[:-1] * feature_um + values * feature_um**2 / 2, 0)
        self._second = torch.cat([values.new_zeros(1), second])
        self._jumps = torch.diff(self._values, prepend=values.new_zeros(1))

    def second_integral(self, position: Tensor) -> Tensor:
        """Integrate twice from minus infinity, but for terms that the four corners cancel."""
        behind = torch.searchsorted(self._edges, position, right=True) - 1
        edge = behind.clamp_min(0)
        ahead = torch.where(behind >= 0, position - self._edges[edge], 0.0)
        value = torch.where(behind >= 0, self._values[edge], 0.0)
        sharp = self._second[edge] + self._first[edge] * ahead + value * ahead.square() / 2
        if not self._blur:
            return sharp
        blurred = sharp + value * self._blur**2 / 2
        reach = math.ceil(8 * self._blur / self._feature) + 1
        for step in range(-reach, reach + 1):
            near = behind + step
            inside = (near >= 0) & (near < self._edges.numel())
            near = near.clamp(0, self._edges.numel() - 1)
            rounding = _rounded_corner(position - self._edges[near], self._blur)
            blurred += torch.where(inside, self._jumps[near] * rounding, 0.0)
        return blurred


def _rounded_corner(distance: Tensor, blur: float) -> Tensor:
    """Difference of the second integrals of a blurred and a sharp step; it decays both ways."""
    scaled = distance / blur
    density = torch.exp(-scaled.square() / 2) / math.sqrt(2 * math.pi)
    cumulative = torch.special.ndtr(scaled)
    smooth = (scaled.square() + 1) * cumulative + scaled * density
    sharp = torch.where(scaled >= 0, scaled.square() + 1, 0.0)
    return blur**2 * (smooth - sharp) / 2

"""An image sensor: from light on its surface to counts, with the noise that it adds."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .shapes import check_floating

__all__ = ["Sensor"]


@dataclass(frozen=True)
class Sensor:
    """A sensor with shot noise, dark current, read noise, saturation and quantisation.

    Parameters
    ----------
    full_well_e : float, optional
        Electrons at which a pixel saturates.
    read_noise_e : float, optional
        Standard deviation of the read-out, in electrons.
    dark_current_e_per_s : float, optional
        Electrons that gather in a second without light.
    bit_depth : int, optional
        Bits of a count, 1 to 16.
    black_level_dn : float, optional
        Count of a pixel without electrons.
    gain : float, optional
        Amplification relative to the one at which the full well reaches the largest count.

    Raises
    ------
    ValueError
        A property is out of range.

    References
    ----------
    European Machine Vision Association, "EMVA Standard 1288", release 4.0, 2021.
    """

    full_well_e: float = 20_000.0
    read_noise_e: float = 3.0
    dark_current_e_per_s: float = 5.0
    bit_depth: int = 12
    black_level_dn: float = 64.0
    gain: float = 1.0

    def __post_init__(self) -> None:
        for name in ("full_well_e", "gain"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("read_noise_e", "dark_current_e_per_s", "black_level_dn"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 1 <= self.bit_depth <= 16:
            raise ValueError(f"bit_depth must be from 1 to 16, got {self.bit_depth}")
        if self.black_level_dn >= self.white_level_dn:
            raise ValueError(
                f"black_level_dn must be below {self.white_level_dn}, got {self.black_level_dn}"
            )

    @property
    def white_level_dn(self) -> int:
        """Largest count."""
        return 2**self.bit_depth - 1

    @property
    def dn_per_e(self) -> float:
        """Counts an electron."""
        return self.gain * (self.white_level_dn - self.black_level_dn) / self.full_well_e

    def expose(self, electrons_per_s: Tensor, *, exposure_s: float, seed: int) -> Tensor:
        """Expose to light and read out.

        Parameters
        ----------
        electrons_per_s : Tensor of a floating-point dtype
            Electrons that light frees a second in each pixel, at least 0.
        exposure_s : float
            Exposure time.
        seed : int
            Seed of the noise.

        Returns
        -------
        Tensor of int32, the same shape
            Counts from 0 to ``white_level_dn``.

        Raises
        ------
        TypeError, ValueError
            The light is not floating point, negative or not finite, or the exposure negative.
        """
        mean = self._mean_electrons(electrons_per_s, exposure_s).double()
        generator = torch.Generator(device=mean.device).manual_seed(seed)
        electrons = torch.poisson(mean, generator=generator).clamp_max(self.full_well_e)
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
        counts = (electrons + self.read_noise_e * noise) * self.dn_per_e + self.black_level_dn
        return counts.round().clamp(0, self.white_level_dn).to(torch.int32)

    def mean_counts(self, electrons_per_s: Tensor, *, exposure_s: float) -> Tensor:
        """Predict the counts below saturation, in the dtype of the light."""
        electrons = self._mean_electrons(electrons_per_s, exposure_s)
        return electrons * self.dn_per_e + self.black_level_dn

    def noise_variance(self, electrons_per_s: Tensor, *, exposure_s: float) -> Tensor:
        """Predict the variance of counts between the ends: shot, dark, read and rounding noise."""
        electrons = self._mean_electrons(electrons_per_s, exposure_s)
        return (electrons + self.read_noise_e**2) * self.dn_per_e**2 + 1 / 12

    def to_linear(self, counts: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Level counts to black 0 and white 1, without clipping."""
        span = self.white_level_dn - self.black_level_dn
        return (counts.to(dtype) - self.black_level_dn) / span

    def _mean_electrons(self, electrons_per_s: Tensor, exposure_s: float) -> Tensor:
        check_floating(electrons_per_s, "electrons_per_s")
        if not exposure_s > 0:
            raise ValueError(f"exposure_s must be positive, got {exposure_s}")
        if not bool((electrons_per_s >= 0).all() & torch.isfinite(electrons_per_s).all()):
            raise ValueError(
                "electrons_per_s must be finite and at least 0, got "
                f"{float(electrons_per_s.min())} to {float(electrons_per_s.max())}"
            )
        return (electrons_per_s + self.dark_current_e_per_s) * exposure_s

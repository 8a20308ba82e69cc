"""Chi-square tests with the degrees of freedom that are really there."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ChiSquare", "benjamini_hochberg", "normal_p_value"]


@dataclass(frozen=True, eq=False)
class ChiSquare:
    """Energy of a residual against what noise leaves in it.

    Attributes
    ----------
    ratio : Tensor, shape (...)
        Energy over its expectation; 1 if all is well.
    dof : Tensor, shape (...)
        Degrees of freedom: twice the squared mean over the variance of the energy.
    """

    ratio: Tensor
    dof: Tensor

    @classmethod
    def of(
        cls, energy: Tensor, expected: Tensor, variance: Tensor, uncertainty: float = 0.0
    ) -> "ChiSquare":
        """Test energies against the first two moments that they have under noise alone.

        Parameters
        ----------
        energy, expected, variance : Tensor, shape (...)
            The residual's energy, its mean and its variance.
        uncertainty : float, optional
            Relative standard deviation of the noise variance that was assumed; it takes degrees
            of freedom away.

        References
        ----------
        Satterthwaite, "An Approximate Distribution of Estimates of Variance Components",
        Biometrics Bulletin, 1946.
        """
        relative = variance / expected.square() + uncertainty**2
        return cls(energy / expected, 2 / relative)

    @property
    def p_value(self) -> Tensor:
        """Probability of as much energy or more, shape (...), in [0, 1]."""
        half = self.dof.double() / 2
        return torch.special.gammaincc(half, self.ratio.double() * half)

    @property
    def lower_p_value(self) -> Tensor:
        """Probability of as little energy or less, shape (...), in [0, 1]."""
        half = self.dof.double() / 2
        return torch.special.gammainc(half, self.ratio.double() * half)


def normal_p_value(score: Tensor) -> Tensor:
    """Probability that a standard normal variable is over a score, in [0, 1]."""
    return torch.special.ndtr(-score.double())


def benjamini_hochberg(p_values: Tensor, rate: float = 0.05) -> tuple[Tensor, Tensor]:
    """Choose the tests that stand out, with a bound on the share of false ones among them.

    Parameters
    ----------
    p_values : Tensor, shape (..., tests)
        Of tests whose statistics do not depend on each other negatively; NaN is no test.
    rate : float, optional
        Expected share of false discoveries, in (0, 1).

    Returns
    -------
    discovered : Tensor of bool, shape (..., tests)
        The tests that stand out.
    adjusted : Tensor, shape (..., tests)
        The smallest rate at which each would; NaN where there is no test.

    Raises
    ------
    ValueError
        The rate is out of range.

    References
    ----------
    Benjamini & Hochberg, "Controlling the False Discovery Rate", JRSS B, 1995.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate must be in (0, 1), got {rate}")
    known = ~p_values.isnan()
    filled = torch.where(known, p_values, 2.0)
    ordered, order = filled.sort(dim=-1)
    rank = torch.arange(1, p_values.shape[-1] + 1).to(ordered)
    scaled = ordered * known.sum(-1, keepdim=True) / rank
    smallest = scaled.flip(-1).cummin(-1).values.flip(-1).clamp_max(1)
    adjusted = torch.empty_like(smallest).scatter(-1, order, smallest)
    adjusted = torch.where(known, adjusted, torch.nan)
    return adjusted <= rate, adjusted

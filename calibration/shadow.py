r"""The structure that geometry gives a transfer matrix: one shadow that moves with the scene.

As a scene point moves, the mask's shadow moves over the sensor, so that
:math:`\Phi[i, j] = p(i + \phi - a\,(j - j_0))` with one profile :math:`p`, one slope :math:`a`, the
middle of the scene :math:`j_0` and the place :math:`\phi` of a plane's first row in the mosaic. The
profile is a cubic spline, so that the matrix is linear in its coefficients. All rows meet the same
spline values, shifted by whole knots: normal equations cost as much as those of one row.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

__all__ = ["ShadowBasis"]


@dataclass(frozen=True)
class ShadowBasis:
    """Cubic splines for the profile of one side.

    Attributes
    ----------
    sensor, scene : int
        Rows and columns of the matrix.
    slope : float
        Sensor samples that the shadow moves from one scene sample to the next; negative where the
        scene is seen upside down.
    phases : tuple of float
        Where the first row of each plane lies, in sensor samples.
    knots_per_sample : int
        Density of the knots.
    """

    sensor: int
    scene: int
    slope: float
    phases: tuple[float, ...] = (0.0,)
    knots_per_sample: int = 1

    @cached_property
    def _positions(self) -> list[np.ndarray]:
        """Where the first row of each plane meets the shadow, for every scene sample."""
        shadow = self.slope * (np.arange(self.scene) - (self.scene - 1) / 2)
        return [phase - shadow for phase in self.phases]

    @cached_property
    def _first_knot(self) -> int:
        """Number of the knot at which the first spline that any row meets begins."""
        lowest = min(position.min() for position in self._positions)
        return math.floor(lowest * self.knots_per_sample) - 3

    @cached_property
    def _windows(self) -> list[Tensor]:
        """Spline values of the first row of each plane, (scene, coefficients that it meets)."""
        from scipy.interpolate import BSpline

        highest = max(position.max() for position in self._positions)
        last = math.floor(highest * self.knots_per_sample) + 4
        knots = np.arange(self._first_knot, last + 1) / self.knots_per_sample
        return [
            torch.from_numpy(BSpline.design_matrix(position, knots, 3).toarray())
            for position in self._positions
        ]

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return self._width + self.knots_per_sample * (self.sensor - 1)

    @property
    def _width(self) -> int:
        return self._windows[0].shape[1]

    @cached_property
    def positions(self) -> Tensor:
        """Centre of every coefficient's spline, in sensor samples."""
        centres = self._first_knot + 2 + torch.arange(self.size, dtype=torch.float64)
        return centres / self.knots_per_sample

    @cached_property
    def _row_coefficients(self) -> Tensor:
        """Which coefficients each row meets, (sensor, width)."""
        first = self.knots_per_sample * torch.arange(self.sensor)
        return first[:, None] + torch.arange(self._width)

    def matrix(self, coefficients: Tensor) -> Tensor:
        """Give the mean-free matrices (planes, sensor, scene) of coefficients (size,)."""
        rows = coefficients.unfold(0, self._width, self.knots_per_sample)
        matrices = torch.stack([rows @ window.T for window in self._windows])
        return matrices - matrices.mean(-2, keepdim=True)

    def equations(self, scene_gram: Tensor, scene_capture: Tensor) -> tuple[Tensor, Tensor]:
        r"""Give the normal equations of :math:`\sum_c \| Y_c - \Phi_c B_c \|^2`.

        Parameters
        ----------
        scene_gram : Tensor, shape (planes, scene, scene)
            :math:`B_c B_c^T`, float64.
        scene_capture : Tensor, shape (planes, scene, sensor)
            :math:`B_c Y_c^T` of mean-free :math:`Y_c`.

        Returns
        -------
        normal : Tensor, shape (size, size)
        right_side : Tensor, shape (size,)
        """
        normal = torch.zeros(self.size, self.size, dtype=torch.float64)
        right_side = torch.zeros(self.size, dtype=torch.float64)
        for phase in sorted(set(self.phases)):
            members = [c for c, other in enumerate(self.phases) if other == phase]
            window = self._windows[members[0]]
            normal += self._normal(window, scene_gram[members].sum(0))
            right_side += self._right_side(window, scene_capture[members].sum(0))
        return normal, right_side

    def _normal(self, window: Tensor, gram: Tensor) -> Tensor:
        """Every row meets the same block, further down the diagonal."""
        normal = torch.zeros(self.size, self.size, dtype=torch.float64)
        block = window.T @ gram @ window
        for first in self._row_coefficients[:, 0].tolist():
            met = slice(first, first + self._width)
            normal[met, met] += block
        means = self._means(window)
        return normal - self.sensor * means @ gram @ means.T

    def _right_side(self, window: Tensor, cross: Tensor) -> Tensor:
        right_side = torch.zeros(self.size, dtype=torch.float64)
        rows = self._row_coefficients
        return right_side.index_add_(0, rows.flatten(), (cross.T @ window).flatten())

    def fit(self, matrices: Tensor, ridge: float) -> Tensor:
        """Give the coefficients (count, size) closest to measured matrices (count, sensor, scene).

        Each is fitted by itself, with the first phase. The ridge is relative to the largest
        diagonal entry of the normal equations.
        """
        window = self._windows[0]
        centred = matrices.double() - matrices.double().mean(-2, keepdim=True)
        right_sides = [self._right_side(window, matrix.mT) for matrix in centred]
        normal = self._normal(window, torch.eye(self.scene, dtype=torch.float64))
        normal.diagonal().add_(ridge * normal.diagonal().max())
        factor = torch.linalg.cholesky(normal)
        return torch.cholesky_solve(torch.stack(right_sides, dim=-1), factor).mT

    def moved(self, coefficients: Tensor, target: "ShadowBasis") -> Tensor:
        """Give the same profile in another basis of the same knots, zero where it is unknown."""
        result = coefficients.new_zeros(target.size)
        offset = self._first_knot - target._first_knot
        start, end = max(0, offset), min(target.size, offset + self.size)
        result[start:end] = coefficients[start - offset : end - offset]
        return result

    def spread(self, covariance: Tensor) -> Tensor:
        """Give the standard deviation of every entry (planes, sensor, scene) of the matrix.

        The covariance is that of the coefficients, (size, size).
        """
        planes = []
        for window in self._windows:
            values, places = window.topk(4, dim=1)  # a cubic spline meets four coefficients
            meets = self._row_coefficients[:, places]
            blocks = covariance[meets[..., :, None], meets[..., None, :]]
            own = torch.einsum("ja,ijab,jb->ij", values, blocks, values)
            means = self._means(window)
            with_means = covariance @ means
            columns = torch.arange(self.scene)[None, :, None]
            shared = (values * with_means[meets, columns]).sum(-1)
            planes.append(own - 2 * shared + (means * with_means).sum(0))
        return torch.stack(planes).clamp_min(0).sqrt()

    def _means(self, window: Tensor) -> Tensor:
        """Weights (size, scene) of the coefficients in the mean of each column."""
        means = torch.zeros(self.size, self.scene, dtype=torch.float64)
        for first in self._row_coefficients[:, 0].tolist():
            means[first : first + self._width] += window.T
        return means / self.sensor

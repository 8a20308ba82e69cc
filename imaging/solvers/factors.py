"""The singular value decomposition of a separable camera, in which everything is diagonal."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..operators import MeanRemoval, SeparableOperator
from ..shapes import check_floating, check_shape
from .penalty import Gains, SpectralCapture

__all__ = ["SeparableFactors"]


@dataclass(frozen=True, eq=False)
class SeparableFactors:
    r"""Thin singular value decompositions of both transfer matrices.

    With :math:`\Phi = U S V^T` on each side, a scene's coefficient :math:`(i, j)` in the right
    singular vectors reaches the capture multiplied by the gain :math:`s_{L,i} s_{R,j}`.

    Attributes
    ----------
    u_left, u_right : Tensor, shape (..., sensor, modes)
        Orthonormal capture-side vectors along columns and rows; zero where the gain is.
    v_left, v_right : Tensor, shape (..., scene, modes)
        Orthonormal scene-side vectors along columns and rows.
    gains : Tensor, shape (..., modes_left, modes_right)
        Products of the singular values, at least 0.
    mean_free : bool
        Whether the camera removes row and column means from captures.
    """

    u_left: Tensor
    u_right: Tensor
    v_left: Tensor
    v_right: Tensor
    gains: Tensor
    mean_free: bool

    @classmethod
    def of(cls, operator: SeparableOperator) -> "SeparableFactors":
        """Factorise an operator; this is the only expensive step."""
        u_left, s_left, v_left = _thin_svd(operator.phi_left, operator.mean_free)
        u_right, s_right, v_right = _thin_svd(operator.phi_right, operator.mean_free)
        return cls(
            u_left=u_left,
            u_right=u_right,
            v_left=v_left,
            v_right=v_right,
            gains=s_left[..., :, None] * s_right[..., None, :],
            mean_free=operator.mean_free,
        )

    def trimmed(self) -> "SeparableFactors":
        """Leave out the modes of no gain, of which a camera known from few scenes has many.

        Captures hold nothing of them, so that a regularised reconstruction is the same and costs
        less. Scenes are no longer sums of modes where something was left out.
        """
        seen = self.gains.reshape(-1, *self.gains.shape[-2:]).amax(0) > 0
        rows, columns = (max(1, int(seen.any(axis).sum())) for axis in (1, 0))
        return replace(
            self,
            u_left=self.u_left[..., :rows].contiguous(),
            v_left=self.v_left[..., :rows].contiguous(),
            u_right=self.u_right[..., :columns].contiguous(),
            v_right=self.v_right[..., :columns].contiguous(),
            gains=self.gains[..., :rows, :columns].contiguous(),
        )

    @property
    def capture_shape(self) -> tuple[int, ...]:
        """Trailing shape of captures."""
        return (*self.gains.shape[:-2], self.u_left.shape[-2], self.u_right.shape[-2])

    @property
    def scene_shape(self) -> tuple[int, ...]:
        """Trailing shape of scenes."""
        return (*self.gains.shape[:-2], self.v_left.shape[-2], self.v_right.shape[-2])

    @property
    def capture_dof(self) -> int:
        """Independent samples in one channel of a capture."""
        height, width = self.capture_shape[-2:]
        return (height - 1) * (width - 1) if self.mean_free else height * width

    def analyse(self, capture: Tensor) -> Tensor:
        """Coefficients of captures, :math:`U_L^T Y U_R`, shape (..., modes_left, modes_right).

        Row and column means need no removal first: the vectors of a mean-free camera are
        orthogonal to them.
        """
        check_shape(capture, self.capture_shape, "capture")
        return self.u_left.mT @ (capture @ self.u_right)

    def synthesise(self, coefficients: Tensor) -> Tensor:
        """Scenes with the given coefficients, :math:`V_L C V_R^T`, shape (..., *scene_shape)."""
        return self.v_left @ coefficients @ self.v_right.mT

    def decompose(self, scene: Tensor) -> Tensor:
        """Coefficients of scenes, :math:`V_L^T X V_R`, shape (..., modes_left, modes_right)."""
        check_floating(scene, "scene")
        check_shape(scene, self.scene_shape, "scene")
        return self.v_left.mT @ scene @ self.v_right

    def spectral(self, capture: Tensor, *, centred: bool = False) -> SpectralCapture:
        """Give captures in the singular vectors, with what of them no scene can produce.

        ``centred`` says that their row and column means were removed before.
        """
        coefficients = self.analyse(capture)
        return SpectralCapture(
            coefficients=coefficients,
            unreachable=self.unreachable_energy(capture, coefficients, centred=centred),
            dof=self.capture_dof,
            camera=self.shared,
        )

    @cached_property
    def shared(self) -> Gains:
        """What depends on the gains alone, for all captures."""
        return Gains(self.gains)

    def unreachable_energy(
        self, capture: Tensor, coefficients: Tensor, *, centred: bool = False
    ) -> Tensor:
        """Squared norm of what no scene can produce in each channel of a capture, shape (...).

        It holds noise and model error alone, so it measures both without a reference.
        """
        if self.mean_free and not centred:
            capture = MeanRemoval(self.capture_shape).forward(capture)
        energy = capture.square().sum((-2, -1))
        return (energy - coefficients.square().sum((-2, -1))).clamp_min(0)


def _thin_svd(matrix: Tensor, mean_free: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Decompose as u, s, v with exact zeros for modes below rounding.

    The capture-side vectors of such modes are arbitrary. Left as they come they would collect the
    means of a capture, which outweigh its signal a thousandfold; so do, by rounding, the vectors
    of weak modes, which is why they are centred once more.
    """
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    rounding = torch.finfo(s.dtype).eps * max(matrix.shape[-2:])
    s = torch.where(s > rounding * s.amax(-1, keepdim=True), s, 0.0)
    if mean_free:
        u = u - u.mean(-2, keepdim=True)
    u = torch.where(s[..., None, :] > 0, u, 0.0)
    return u.contiguous(), s, vh.mT.contiguous()

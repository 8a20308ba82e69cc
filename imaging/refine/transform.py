"""A learned separable inverse of a separable camera, random or from the camera's own factors."""

import torch
from torch import Tensor, nn

from ..operators import SeparableOperator
from ..shapes import ShapeError, check_shape
from ..solvers import SeparableFactors
from .resample import resize_matrix

__all__ = ["SeparableTransform", "separable_filter"]

#: Bayer planes R, Gr, Gb and B.
NUM_PLANES = 4


class SeparableTransform(nn.Module):
    r"""Map captures to images by :math:`Z_c = W_{L,c}^T Y_c W_{R,c}` in each Bayer plane.

    Parameters
    ----------
    weight_left : Tensor, shape (4, sensor_height, height)
        :math:`W_L` of the planes R, Gr, Gb and B.
    weight_right : Tensor, shape (4, sensor_width, width)
        :math:`W_R` of the same.

    Raises
    ------
    ShapeError
        A weight has other axes.

    References
    ----------
    Yosef & Giryes, "DifuzCam: Replacing Camera Lens with a Mask and a Diffusion Model",
    Scientific Reports 15, 2025.
    """

    def __init__(self, weight_left: Tensor, weight_right: Tensor) -> None:
        super().__init__()
        for name, weight in (("weight_left", weight_left), ("weight_right", weight_right)):
            if weight.ndim != 3 or weight.shape[0] != NUM_PLANES:
                raise ShapeError(
                    f"{name} must have shape ({NUM_PLANES}, sensor, image), "
                    f"got {tuple(weight.shape)}"
                )
        self.weight_left = nn.Parameter(weight_left)
        self.weight_right = nn.Parameter(weight_right)

    @classmethod
    def random(
        cls,
        capture_size: tuple[int, int],
        size: tuple[int, int] = (512, 512),
        *,
        seed: int,
        std: float = 0.001,
    ) -> "SeparableTransform":
        """Draw all weights from N(0, std^2), as DifuzCam starts its training.

        Parameters
        ----------
        capture_size, size : tuple of int
            (height, width) of a capture's plane and of the image.
        seed : int
            Seed of the draw.
        std : float, optional
            Standard deviation.
        """
        generator = torch.Generator().manual_seed(seed)
        left, right = (
            std * torch.randn(NUM_PLANES, sensor, image, generator=generator)
            for sensor, image in zip(capture_size, size, strict=True)
        )
        return cls(left, right)

    @classmethod
    def from_camera_factors(
        cls,
        camera: SeparableFactors | SeparableOperator,
        penalty: float | Tensor,
        size: tuple[int, int] = (512, 512),
    ) -> "SeparableTransform":
        r"""Start from the best separable stand-in for the camera's Tikhonov reconstruction.

        Tikhonov filters the coefficient of the gain :math:`s_i t_j` by
        :math:`F_{ij} = s_i t_j / (s_i^2 t_j^2 + \lambda)`, which is no product of a row's and a
        column's factor. Of all filters that are one, :func:`separable_filter` finds that of the
        least expected error; the singular vectors and the change of size fold into the weights.

        Parameters
        ----------
        camera : SeparableFactors or SeparableOperator
            The camera, with one matrix for all planes or one for each of four.
        penalty : float or Tensor, shape () or (4,)
            Tikhonov's :math:`\lambda`, in squared units of the gains.
        size : tuple of int, optional
            (height, width) of the image.

        Raises
        ------
        ShapeError
            The camera has neither one nor four planes.
        """
        factors = SeparableFactors.of(camera) if isinstance(camera, SeparableOperator) else camera
        if factors.gains.ndim == 3 and factors.gains.shape[0] != NUM_PLANES:
            raise ShapeError(f"camera must have {NUM_PLANES} planes, got {factors.gains.shape[0]}")
        filters = separable_filter(factors.gains, penalty)
        weights = []
        for u, v, gain, length in zip(
            (factors.u_left, factors.u_right),
            (factors.v_left, factors.v_right),
            filters,
            size,
            strict=True,
        ):
            resized = resize_matrix(v.shape[-2], length).to(v) @ v
            weight = (u * gain[..., None, :]) @ resized.mT
            weights.append(weight.expand(NUM_PLANES, *weight.shape[-2:]).contiguous())
        return cls(*weights)

    @property
    def capture_size(self) -> tuple[int, int]:
        """(height, width) of a capture's plane."""
        return self.weight_left.shape[1], self.weight_right.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.weight_left.shape[2], self.weight_right.shape[2]

    def forward(self, capture: Tensor) -> Tensor:
        """Map captures (batch, 4, *capture_size) to images (batch, 4, *size)."""
        check_shape(capture, (NUM_PLANES, *self.capture_size), "capture")
        # The wider side first: a capture of 500x620 then takes 7 % fewer products.
        return self.weight_left.mT @ (capture @ self.weight_right)


def separable_filter(
    gains: Tensor, penalty: float | Tensor, *, iterations: int = 50
) -> tuple[Tensor, Tensor]:
    r"""Find the filter :math:`f g^T` whose output is expected closest to the scene.

    With scene coefficients of variance :math:`\tau^2`, noise of variance :math:`\sigma^2` and
    :math:`\lambda = \sigma^2 / \tau^2`, a filter's expected squared error is, but for a constant,
    :math:`\tau^2 \sum_{ij} (s_i^2 t_j^2 + \lambda) (F_{ij} - f_i g_j)^2`: a weighted rank-one
    approximation of Tikhonov's filter. For a given :math:`g` the best :math:`f` is a
    one-dimensional Tikhonov filter,

    .. math:: f_i = s_i \sum_j t_j g_j \Big/
              \Big(s_i^2 \sum_j t_j^2 g_j^2 + \lambda \sum_j g_j^2\Big),

    and the same the other way round; the two take turns, each lowering the error.

    Parameters
    ----------
    gains : Tensor, shape (..., modes_left, modes_right)
        Products of singular values :math:`s_i t_j`.
    penalty : float or Tensor, shape (...)
        :math:`\lambda > 0`.
    iterations : int, optional
        How often they take turns.

    Returns
    -------
    left : Tensor, shape (..., modes_left)
    right : Tensor, shape (..., modes_right)
        The two factors.

    Raises
    ------
    ValueError
        The penalty is not positive.
    """
    weight = torch.as_tensor(penalty, dtype=gains.dtype, device=gains.device)[..., None]
    if not bool((weight > 0).all()):
        raise ValueError(f"penalty must be positive, got {penalty}")
    root = gains.amax((-2, -1)).sqrt()[..., None]
    s_left, s_right = gains.amax(-1) / root, gains.amax(-2) / root
    right = s_right / (s_right.square() + weight.sqrt())
    for _ in range(iterations):
        left = _best_factor(s_left, s_right, right, weight)
        right = _best_factor(s_right, s_left, left, weight)
    return left, right


def _best_factor(own: Tensor, other: Tensor, other_factor: Tensor, penalty: Tensor) -> Tensor:
    signal = (other * other_factor).sum(-1, keepdim=True)
    gain = (other * other_factor).square().sum(-1, keepdim=True)
    noise = other_factor.square().sum(-1, keepdim=True)
    return own * signal / (own.square() * gain + penalty * noise)

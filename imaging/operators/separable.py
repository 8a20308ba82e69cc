"""Separable cameras: a mask that is an outer product of two one-dimensional profiles."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from ..shapes import ShapeError, check_floating, check_shape
from .base import LinearOperator

__all__ = ["MeanRemoval", "SeparableOperator"]


@dataclass(frozen=True, eq=False)
class SeparableOperator(LinearOperator):
    r"""A separable lensless camera, :math:`Y_c = \Phi_{L,c} X_c \Phi_{R,c}^T` in each channel.

    Parameters
    ----------
    phi_left : Tensor, shape (sensor_height, scene_height) or (channels, ...)
        Transfer along columns, one matrix for all leading axes or one for each channel.
    phi_right : Tensor, shape (sensor_width, scene_width) or (channels, ...)
        Transfer along rows, with as many axes as ``phi_left``.
    mean_free : bool, optional
        Whether row and column means are removed from captures, as :meth:`centred` sets it.

    Raises
    ------
    ShapeError
        The two differ in their axes or channels.
    TypeError
        A matrix is not floating point, or their dtypes or devices differ.

    References
    ----------
    Asif et al., "FlatCam: Thin, Lensless Cameras Using Coded Aperture and Computation",
    IEEE Transactions on Computational Imaging, 2017.
    """

    phi_left: Tensor
    phi_right: Tensor
    mean_free: bool = False

    def __post_init__(self) -> None:
        left, right = self.phi_left, self.phi_right
        check_floating(left, "phi_left")
        check_floating(right, "phi_right")
        if left.ndim not in (2, 3) or left.shape[:-2] != right.shape[:-2]:
            raise ShapeError(
                "phi_left and phi_right must both be (sensor, scene) or (channels, sensor, scene) "
                f"with equal channels, got {tuple(left.shape)} and {tuple(right.shape)}"
            )
        if left.dtype != right.dtype or left.device != right.device:
            raise TypeError(
                "phi_left and phi_right must share dtype and device, "
                f"got {left.dtype} on {left.device} and {right.dtype} on {right.device}"
            )

    @property
    def scene_shape(self) -> tuple[int, ...]:
        """(scene_height, scene_width), behind the channels if the matrices have any."""
        return (*self.phi_left.shape[:-2], self.phi_left.shape[-1], self.phi_right.shape[-1])

    @property
    def capture_shape(self) -> tuple[int, ...]:
        """(sensor_height, sensor_width), behind the channels if the matrices have any."""
        return (*self.phi_left.shape[:-2], self.phi_left.shape[-2], self.phi_right.shape[-2])

    def forward(self, scene: Tensor) -> Tensor:
        """Map scenes (..., *scene_shape) to captures (..., *capture_shape)."""
        check_shape(scene, self.scene_shape, "scene")
        return self.phi_left @ scene @ self.phi_right.mT

    def adjoint(self, capture: Tensor) -> Tensor:
        """Map captures (..., *capture_shape) to scenes (..., *scene_shape)."""
        check_shape(capture, self.capture_shape, "capture")
        return self.phi_left.mT @ capture @ self.phi_right

    def normal(self, scene: Tensor) -> Tensor:
        """Apply the adjoint after the forward map through the small Gram matrices."""
        check_shape(scene, self.scene_shape, "scene")
        if self.phi_left.requires_grad or self.phi_right.requires_grad:
            return self.adjoint(self.forward(scene))  # a cached graph could be walked only once
        gram_left, gram_right = self._grams
        return gram_left @ scene @ gram_right

    @cached_property
    def _grams(self) -> tuple[Tensor, Tensor]:
        return self.phi_left.mT @ self.phi_left, self.phi_right.mT @ self.phi_right

    def centred(self) -> "SeparableOperator":
        """Fold :class:`MeanRemoval` into the matrices, so that it costs nothing a frame.

        Removing row and column means from a capture is itself separable.
        ``MeanRemoval(self.capture_shape) @ self`` gives the same.
        """
        return SeparableOperator(
            self.phi_left - self.phi_left.mean(-2, keepdim=True),
            self.phi_right - self.phi_right.mean(-2, keepdim=True),
            mean_free=True,
        )


@dataclass(frozen=True, eq=False)
class MeanRemoval(LinearOperator):
    r"""Remove row and column means, :math:`(I - 11^T/H)\, Y\, (I - 11^T/W)`.

    A physical mask is 0/1: the outer product of two ±1 profiles plus a constant, halved. The
    constant adds to the capture only terms that do not vary along one axis; this projection takes
    them away and leaves the separable part. It is its own adjoint and its own square.

    Parameters
    ----------
    shape : tuple of int
        Trailing shape of what it acts on; the last two axes are height and width.
    """

    shape: tuple[int, ...]

    @property
    def scene_shape(self) -> tuple[int, ...]:
        """Same as the capture shape."""
        return self.shape

    @property
    def capture_shape(self) -> tuple[int, ...]:
        """Same as the scene shape."""
        return self.shape

    def forward(self, scene: Tensor) -> Tensor:
        """Remove the row and column means; the shape (..., height, width) stays."""
        check_shape(scene, self.shape, "scene")
        column_free = scene - scene.mean(-2, keepdim=True)
        return column_free.sub_(column_free.mean(-1, keepdim=True))  # in its own memory

    @staticmethod
    def within(image: Tensor) -> Tensor:
        """Do the same as :meth:`forward`, in the memory of the image."""
        image.sub_(image.mean(-2, keepdim=True))
        return image.sub_(image.mean(-1, keepdim=True))

    def adjoint(self, capture: Tensor) -> Tensor:
        """Do the same as :meth:`forward`: the projection is symmetric."""
        check_shape(capture, self.shape, "capture")
        return self.forward(capture)

    def __matmul__(self, inner: LinearOperator) -> LinearOperator:
        if isinstance(inner, SeparableOperator) and inner.capture_shape == self.shape:
            return inner.centred()
        return super().__matmul__(inner)

"""Where a picture contradicts its capture, and where on the sensor a capture is unexplained."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..shapes import ShapeError
from ..solvers import SeparableFactors
from .picture_fit import PictureFit
from .statistics import benjamini_hochberg

__all__ = ["LocalTest", "WindowTest", "check_sensor_windows"]

_BIN = 1024  # coefficients of like gain, over which a relative test averages its background
_Z = 3.1  # normal score of a detection, p = 0.001


@dataclass(frozen=True, eq=False)
class LocalTest:
    """A chi-square test in every window.

    Attributes
    ----------
    energy, dof : Tensor, shape (..., windows_down, windows_right)
        What was found, and what noise gives; no freedom where the camera sees nothing.
    sensitivity : Tensor, shape (..., windows_down, windows_right)
        Energy that an object of unit contrast adds: white, over the whole window.
    window, stride : tuple of int
        Size and step of the windows, down and right, in samples.
    """

    energy: Tensor
    dof: Tensor
    sensitivity: Tensor
    window: tuple[int, int]
    stride: tuple[int, int]

    @property
    def p_value(self) -> Tensor:
        """Probability of as much energy from noise; NaN where the camera sees nothing."""
        p_value = torch.special.gammaincc(
            self.dof.double().clamp_min(1) / 2, self.energy.double() / 2
        )
        return torch.where(self.dof > 0, p_value, torch.nan)

    @property
    def faintest(self) -> Tensor:
        """Contrast of an object that is found in every second case at p = 0.001.

        In units of the scene, of an object as rough as white noise, which is the hardest to see;
        infinite where the camera sees nothing.
        """
        needed = _Z * (2 * self.dof).sqrt() + _Z**2
        return (needed / self.sensitivity).sqrt()

    def joined(self) -> "LocalTest":
        """Test all channels of a picture, axis -3, together."""
        if self.energy.ndim < 3:
            raise ShapeError(f"no channels to join in windows {tuple(self.energy.shape)}")
        return LocalTest(
            self.energy.sum(-3),
            self.dof.sum(-3),
            self.sensitivity.sum(-3),
            self.window,
            self.stride,
        )


class WindowTest:
    """Test where in the scene a picture contradicts a capture.

    An object in a window of the scene can only change the capture within the range of the
    window's columns of the matrices, whose bases are computed here once. Of each window the
    directions that the camera sees are tested together; where there are none, nothing can be said.

    Parameters
    ----------
    factors : SeparableFactors
        The camera.
    window : int, optional
        Side of the windows in scene samples.
    stride : int, optional
        Step from one window to the next; half a window by default.

    Raises
    ------
    ValueError
        The window does not fit in the scene.
    """

    def __init__(
        self, factors: SeparableFactors, window: int = 16, stride: int | None = None
    ) -> None:
        height, width = self._scene_shape = factors.scene_shape[-2:]
        if not 1 <= window <= min(height, width):
            raise ValueError(f"window must be from 1 to {min(height, width)}, got {window}")
        self.window, self.stride = window, max(1, window // 2) if stride is None else stride
        if self.stride < 1:
            raise ValueError(f"stride must be at least 1, got {stride}")
        ranks = factors.gains.flatten(-2).argsort(-1).argsort(-1)
        groups = max(1, ranks.shape[-1] // _BIN)
        self._group = ranks * groups // ranks.shape[-1]
        self._group_size = self._group.reshape(-1, ranks.shape[-1])[0].bincount()
        largest = factors.gains[..., :1, :1].sqrt()
        floor = torch.finfo(largest.dtype).tiny
        left = factors.gains[..., :, 0] / largest[..., 0].clamp_min(floor)
        right = factors.gains[..., 0, :] / largest[..., 0].clamp_min(floor)
        self._left, self._power_left = self._bases(factors.v_left, left)
        self._right, self._power_right = self._bases(factors.v_right, right)

    def _bases(self, vectors: Tensor, gains: Tensor) -> tuple[Tensor, Tensor]:
        """Orthonormal bases (..., modes, directions * windows) and squared gains (..., those).

        The strongest direction of all windows comes first, the weakest of all last.
        """
        columns = vectors.unfold(-2, self.window, self.stride)  # (..., windows, modes, window)
        bases, local, _ = torch.linalg.svd(gains[..., None, :, None] * columns, full_matrices=False)
        bases = bases.movedim(-3, -1).flatten(-2).contiguous()
        return bases, local.square().mT.flatten(-2).contiguous()

    def __call__(self, fit: PictureFit, *, relative: bool = False) -> LocalTest:
        """Test the windows of a picture.

        Parameters
        ----------
        fit : PictureFit
            From :func:`check_picture` with the same factors.
        relative : bool, optional
            Whether to test against the disagreement that the whole picture shows in coefficients
            of like gain instead of against noise alone: it finds what stands out of a picture
            that is nowhere quite right, such as a regularised one.

        Returns
        -------
        LocalTest, shape (..., windows_down, windows_right)
            One test a window and channel.
        """
        whitened = fit.whitened
        if relative:
            whitened = whitened / self._background(whitened)
        return self._test(whitened, fit)

    def find(self, fit: PictureFit, rate: float = 1e-3) -> Tensor:
        """Find the windows that contradict the capture, the strongest first.

        What stands in one window also shows in others, weakly, because the camera does not see
        them apart. So whatever the strongest window can explain is taken away before the next one
        is looked for, until none stands out.

        Parameters
        ----------
        fit : PictureFit
            Of one picture, with or without channels, which are tested together.
        rate : float, optional
            Share of false windows, see :func:`benjamini_hochberg`.

        Returns
        -------
        Tensor of bool, shape (windows_down, windows_right)
            The windows that were found; a large object takes several.

        Raises
        ------
        ShapeError
            There is a batch axis.
        """
        if fit.whitened.ndim > 3:
            raise ShapeError(f"fit must be of one picture, got {tuple(fit.noise_std.shape)}")
        whitened = fit.whitened / self._background(fit.whitened)
        found = None
        while True:
            local = self._test(whitened, fit)
            local = local.joined() if local.energy.ndim == 3 else local
            if found is None:
                found = torch.zeros_like(local.energy, dtype=torch.bool)
            p_value = local.p_value.masked_fill(found, torch.nan)
            standing_out, _ = benjamini_hochberg(p_value.flatten(), rate)
            if not bool(standing_out.any()):
                return found
            excess = (local.energy - local.dof).masked_fill(~standing_out.reshape(found.shape), 0)
            row, column = divmod(int(excess.argmax()), found.shape[1])
            found[row, column] = True
            whitened = self._without(whitened, row, column)

    def _without(self, whitened: Tensor, row: int, column: int) -> Tensor:
        """Take away what the content of one window can explain."""
        left = self._left[..., row :: self._windows(0)]
        across = self._right[..., column :: self._windows(1)]
        return whitened - left @ (left.mT @ whitened @ across) @ across.mT

    def _test(self, whitened: Tensor, fit: PictureFit) -> LocalTest:
        noise = fit.noise_std.square()
        least = noise / fit.prior_std.square()
        down, right = self._reach(float(least.min()))
        parts = (self._left[..., :down].mT @ whitened @ self._right[..., :right]).square_()
        power = self._power_left[..., :down, None] * self._power_right[..., None, :right]
        seen = power > least[..., None, None]
        sensitivity = self._by_window(power * seen) / noise[..., None, None]
        return LocalTest(
            energy=self._by_window(parts.mul_(seen)),
            dof=self._by_window(seen).to(parts).expand(*fit.noise_std.shape, -1, -1),
            sensitivity=sensitivity.expand(*fit.noise_std.shape, -1, -1),
            window=(self.window, self.window),
            stride=(self.stride, self.stride),
        )

    def _reach(self, least: float) -> tuple[int, int]:
        """How many vectors there are, down and right, before none is over a squared gain."""
        sides = self._power_left, self._power_right
        counts = []
        for axis, (power, other) in enumerate((sides, sides[::-1])):
            windows = self._windows(axis)
            strongest = power.reshape(-1, power.shape[-1]).amax(0).reshape(-1, windows).amax(-1)
            seen = int((strongest * other.amax() > least).sum())
            counts.append(max(1, seen) * windows)
        return counts[0], counts[1]

    def _windows(self, axis: int) -> int:
        """How many windows there are along an axis."""
        return (self._scene_shape[axis] - self.window) // self.stride + 1

    def _by_window(self, parts: Tensor) -> Tensor:
        """Sum over the directions of each window, (..., windows_down, windows_right)."""
        across = parts.reshape(*parts.shape[:-1], -1, self._windows(1)).sum(-2)
        blocks = across.reshape(*across.shape[:-2], -1, self._windows(0), across.shape[-1])
        return blocks.sum(-3)

    def _background(self, whitened: Tensor) -> Tensor:
        """Root mean square of coefficients of like gain, at least that of noise."""
        squares = whitened.flatten(-2).square()
        group = self._group.expand(squares.shape)
        energy = squares.new_zeros(*squares.shape[:-1], len(self._group_size))
        mean = energy.scatter_add_(-1, group, squares) / self._group_size
        return mean.gather(-1, group).clamp_min(1).sqrt().reshape(whitened.shape)


def check_sensor_windows(
    residual: Tensor, noise_std: Tensor, *, window: int = 20, freedom: float = 1.0
) -> LocalTest:
    """Test where on the sensor a capture is not explained: dust, stray light, a fold.

    Parameters
    ----------
    residual : Tensor, shape (..., height, width)
        Of a :class:`CameraFit`.
    noise_std : Tensor, shape (...)
        Noise a sample.
    window : int, optional
        Side of the windows, which do not overlap, in samples; an incomplete border is left out,
        and on a smaller sensor there is one window of its smaller side.
    freedom : float, optional
        Degrees of freedom a sample, below 1 for what the fit took.

    Returns
    -------
    LocalTest, shape (..., windows_down, windows_right)
        One test a window.
    """
    window = min(window, *residual.shape[-2:])
    down, right = (size // window for size in residual.shape[-2:])
    whole = residual[..., : down * window, : right * window].square()
    blocks = whole.reshape(*whole.shape[:-2], down, window, right, window)
    energy = blocks.sum(-1).sum(-2) / noise_std.square()[..., None, None]
    dof = torch.full_like(energy, freedom * window**2)
    return LocalTest(energy, dof, dof / freedom, (window, window), (window, window))

"""From a raw capture to a linear scene and the numbers that describe it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..calibration import Camera
from ..imaging import (
    SeparableFactors,
    SeparableOperator,
    Solution,
    Tikhonov,
    admm_tv,
    conjugate_gradient,
    fista,
    operator_norm,
)
from ..imaging.capture_checks import CaptureLevels, check_capture
from ..imaging.solvers import SpectralCapture
from ..imaging.trust import Conformal
from .defects import predict_defects
from .json_numbers import json_numbers
from .trust_record import Trust, TrustReport

__all__ = ["LinearPipeline", "LinearScene", "LinearSettings", "Method"]

Method = Literal["auto", "tikhonov", "cg", "fista", "admm"]

_Solved = tuple[Tensor, dict[str, Any], SpectralCapture | None]
_Solve = Callable[[Tensor], _Solved]


@dataclass(frozen=True)
class LinearSettings:
    """How to reconstruct.

    Attributes
    ----------
    method : {"auto", "tikhonov", "cg", "fista", "admm"}
        ``auto`` takes Tikhonov for a separable camera and ADMM for any other.
    penalty : float or {"gcv", "sure", "discrepancy"}
        Tikhonov's weight relative to the largest squared gain, or the rule that chooses it. A
        number serves conjugate gradients as well; a rule leaves them to their early stop.
    tv_weight : float
        Weight of the total variation of ADMM, relative to the largest value of the
        back-projected capture.
    iterations : int
        Most iterations of the iterative methods.
    saturated_limit : float
        Largest share of saturated pixels to accept, in [0, 1].
    fill_defects : bool
        Whether saturated pixels and missing rows and columns are replaced by what the rest of the
        capture predicts there, for separable cameras; else they go in as they are.

    Raises
    ------
    ValueError
        A setting is out of range.
    """

    method: Method = "auto"
    penalty: float | str = "gcv"
    tv_weight: float = 1e-4
    iterations: int = 100
    saturated_limit: float = 0.01
    fill_defects: bool = False

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            known = ", ".join(get_args(Method))
            raise ValueError(f"unknown method {self.method!r}; choose one of: {known}")
        if isinstance(self.penalty, str):
            if self.penalty not in ("gcv", "sure", "discrepancy"):
                raise ValueError(
                    "penalty must be a positive number, gcv, sure or discrepancy, "
                    f"got {self.penalty!r}"
                )
        elif not self.penalty > 0:
            raise ValueError(f"penalty must be positive, got {self.penalty}")
        for name in ("tv_weight", "iterations"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.saturated_limit <= 1:
            raise ValueError(f"saturated_limit must be in [0, 1], got {self.saturated_limit}")


@dataclass(frozen=True, eq=False)
class LinearScene:
    """A linear reconstruction.

    Attributes
    ----------
    rgb : Tensor, shape (3 or 1, height, width)
        Linear light, neither clipped nor scaled.
    planes : Tensor, shape (planes, height, width)
        The same before colours are merged.
    numbers : dict
        Residual, penalty and what else describes the solution; JSON data.
    capture : Tensor or None, shape (planes, *sensor)
        The prepared capture, its defects as they were.
    spectral : SpectralCapture or None
        The same in the camera's singular vectors, where Tikhonov's solution needed that.
    """

    rgb: Tensor
    planes: Tensor
    numbers: dict[str, Any]
    capture: Tensor | None = None
    spectral: SpectralCapture | None = None


class LinearPipeline:
    """Reconstruct raw captures of one camera; what can be computed once is computed once.

    Parameters
    ----------
    camera : Camera
        The camera of all captures.
    settings : LinearSettings, optional
        How to reconstruct.
    device : torch.device or str, optional
        Where to compute.
    intervals : Conformal, optional
        Calibration of expected errors, for measures of trust.

    Raises
    ------
    ValueError
        The method does not fit the camera, or intervals were calibrated on refined pictures.
    """

    def __init__(
        self,
        camera: Camera,
        settings: LinearSettings | None = None,
        *,
        device: torch.device | str = "cpu",
        intervals: Conformal | None = None,
    ) -> None:
        self.camera = camera
        self._intervals = intervals and intervals.checked("linear")
        self.settings = settings or LinearSettings()
        self.device = torch.device(device)
        self.operator = camera.operator(dtype=torch.float32, device=self.device)
        self.method = self.settings.method
        if self.method == "auto":
            self.method = "tikhonov" if camera.kind == "separable" else "admm"
        if self.method == "tikhonov" and not isinstance(self.operator, SeparableOperator):
            raise ValueError(
                f"method tikhonov needs a separable camera, {camera.name!r} is a "
                f"{camera.kind} camera; choose cg, fista or admm"
            )
        if self.settings.fill_defects and self.factors is None:
            raise ValueError(f"fill_defects needs a separable camera, got {camera.name!r}")
        self._solve = self._solver()

    def __call__(self, raw: Tensor) -> LinearScene:
        """Reconstruct one raw frame of the camera's frame_shape."""
        capture = self.camera.prepare(raw).to(self.device)
        if not self.settings.fill_defects:
            return self._scene(capture, *self._solve(capture))
        assert self.factors is not None
        filled, share = predict_defects(self.camera, self.factors, raw, capture)
        planes, numbers, _ = self._solve(filled)
        return self._scene(capture, planes, {**numbers, "filled_share": share}, None)

    def batch(self, raws: Tensor) -> list[LinearScene]:
        """Reconstruct raw frames (batch, *frame_shape), each as if it were alone."""
        if self.method != "tikhonov" or self.settings.fill_defects:
            return [self(raw) for raw in raws]
        captures = self.camera.prepare(raws.to(self.device))
        planes, numbers, spectral = self._solve(captures)
        return [
            self._scene(
                captures[item],
                planes[item],
                {name: of[item] for name, of in numbers.items()},
                spectral and spectral.item(item),
            )
            for item in range(len(raws))
        ]

    def _scene(
        self,
        capture: Tensor,
        planes: Tensor,
        numbers: dict[str, Any],
        spectral: SpectralCapture | None,
    ) -> LinearScene:
        rgb = self.camera.to_rgb(planes).cpu()
        return LinearScene(rgb, planes.cpu(), numbers, capture, spectral)

    def check(self, raw: Tensor) -> CaptureLevels:
        """Refuse a raw frame that cannot be what the camera gives."""
        return check_capture(
            raw,
            white_level=self.camera.white_level,
            expected_shape=self.camera.frame_shape,
            saturated_limit=self.settings.saturated_limit,
        )

    @property
    def settings_record(self) -> dict[str, Any]:
        """The settings as JSON data, with the method that was chosen."""
        return {**asdict(self.settings), "method": self.method}

    @cached_property
    def camera_record(self) -> dict[str, str]:
        """What tells the camera apart from others, as JSON data."""
        return {"name": self.camera.name, "digest": self.camera.digest}

    @cached_property
    def factors(self) -> SeparableFactors | None:
        """A separable camera's singular value decomposition, without what it does not see."""
        if not isinstance(self.operator, SeparableOperator):
            return None
        return SeparableFactors.of(self.operator).trimmed()

    @cached_property
    def trust(self) -> Trust:
        """What says of this camera's reconstructions how far they can be trusted."""
        return Trust(self.camera, self.operator, self._intervals, factors=self.factors)

    def judge(self, raw: Tensor, scene: LinearScene) -> TrustReport:
        """Say how far what was reconstructed from a raw frame can be trusted."""
        penalty = scene.numbers.get("penalty")
        return self.trust(
            raw,
            scene.planes,
            None if penalty is None else torch.tensor(penalty),
            capture=scene.capture,
            spectral=scene.spectral,
        )

    def _solver(self) -> _Solve:
        """Prepare the chosen method for this camera."""
        if isinstance(self.operator, SeparableOperator) and self.method == "tikhonov":
            assert self.factors is not None
            return _tikhonov_solver(
                self.operator,
                self.factors,
                self.settings.penalty,
                centred=self.camera.mean_removal,
            )
        norm = operator_norm(self.operator, device=self.device)
        return lambda capture: _described(self._iterate(capture, norm))

    def _iterate(self, capture: Tensor, norm: float) -> Solution:
        operator, settings = self.operator, self.settings
        # A camera with one matrix or PSF for all planes treats planes as a batch.
        if self.method == "cg":
            penalty = 0.0 if isinstance(settings.penalty, str) else settings.penalty * norm**2
            return conjugate_gradient(
                operator, capture, penalty=penalty, iterations=settings.iterations
            )
        if self.method == "fista":
            return fista(operator, capture, iterations=settings.iterations, norm=1.01 * norm)
        weight = settings.tv_weight * float(operator.adjoint(capture).amax())
        if not weight > 0:
            raise ValueError("the capture's back-projection is nowhere positive: is it dark?")
        return admm_tv(operator, capture, weight=weight, iterations=settings.iterations)


def _tikhonov_solver(
    operator: SeparableOperator, factors: SeparableFactors, penalty: float | str, *, centred: bool
) -> _Solve:
    if isinstance(penalty, str):
        tikhonov = Tikhonov(operator, penalty, factors=factors)  # type: ignore[arg-type]
    else:
        largest = factors.gains.amax((-2, -1)).square()
        tikhonov = Tikhonov(operator, penalty * largest, factors=factors)

    def solve(capture: Tensor) -> _Solved:
        solution = tikhonov.solve(capture, centred=centred)
        names = ("penalty", "relative_penalty", "residual", "noise_std", "effective_parameters")
        numbers = {name: json_numbers(getattr(solution, name)) for name in names}
        return solution.scene, numbers, solution.spectral

    return solve


def _described(solution: Solution) -> _Solved:
    numbers = {
        "residual": json_numbers(solution.residuals[-1]),
        "iterations": json_numbers(solution.iterations),
        "converged": json_numbers(solution.converged),
    }
    return solution.scene, numbers, None

"""From a raw capture to a linear scene, its display picture and a record of both."""

import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..calibration import Camera
from ..imaging import (
    SeparableOperator,
    Solution,
    Tikhonov,
    admm_tv,
    conjugate_gradient,
    fista,
    operator_norm,
)
from ..imaging.capture_checks import check_capture
from ..imaging.display import to_display
from ..imaging.files import read_raw, write_json, write_png, write_tiff16

__all__ = ["LinearPipeline", "LinearScene", "LinearSettings", "Method", "reconstruct_file"]

Method = Literal["auto", "tikhonov", "cg", "fista", "admm"]

RECORD_FORMAT = "barelens.reconstruction"
RECORD_VERSION = 1


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
    """

    rgb: Tensor
    planes: Tensor
    numbers: dict[str, Any]


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

    Raises
    ------
    ValueError
        The method does not fit the camera.
    """

    def __init__(
        self,
        camera: Camera,
        settings: LinearSettings | None = None,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        self.camera = camera
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
        self._solve = self._solver()

    def __call__(self, raw: Tensor) -> LinearScene:
        """Reconstruct one raw frame of the camera's frame_shape."""
        capture = self.camera.prepare(raw).to(self.device)
        planes, numbers = self._solve(capture)
        return LinearScene(self.camera.to_rgb(planes).cpu(), planes.cpu(), numbers)

    def _solver(self) -> Callable[[Tensor], tuple[Tensor, dict[str, Any]]]:
        """Prepare the chosen method for this camera."""
        if isinstance(self.operator, SeparableOperator) and self.method == "tikhonov":
            return _tikhonov_solver(self.operator, self.settings.penalty)
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
    operator: SeparableOperator, penalty: float | str
) -> Callable[[Tensor], tuple[Tensor, dict[str, Any]]]:
    if isinstance(penalty, str):
        tikhonov = Tikhonov(operator, penalty)  # type: ignore[arg-type]
    else:
        largest = torch.linalg.matrix_norm(operator.phi_left, 2)
        largest = largest * torch.linalg.matrix_norm(operator.phi_right, 2)
        tikhonov = Tikhonov(operator, penalty * largest.square())

    def solve(capture: Tensor) -> tuple[Tensor, dict[str, Any]]:
        solution = tikhonov.solve(capture)
        names = ("penalty", "relative_penalty", "residual", "noise_std", "effective_parameters")
        return solution.scene, {name: _numbers(getattr(solution, name)) for name in names}

    return solve


def _described(solution: Solution) -> tuple[Tensor, dict[str, Any]]:
    return solution.scene, {
        "residual": _numbers(solution.residuals[-1]),
        "iterations": _numbers(solution.iterations),
        "converged": _numbers(solution.converged),
    }


def _numbers(values: Tensor) -> Any:
    """Give a tensor as JSON data, with null for what could not be computed."""
    if values.ndim:
        return [_numbers(value) for value in values]
    number = values.item()
    return None if number != number else number


def reconstruct_file(path: Path, pipeline: LinearPipeline, out: Path) -> dict[str, Any]:
    """Reconstruct one file and write its scene, its picture and its record.

    ``NAME.linear.tif`` holds linear light in 16 bits with its scale in the description,
    ``NAME.linear.png`` a picture for the screen, ``NAME.linear.json`` the record. Each is written
    complete or not at all, the record last.

    Parameters
    ----------
    path : Path
        A raw capture.
    pipeline : LinearPipeline
        The camera and how to reconstruct.
    out : Path
        An existing folder.

    Returns
    -------
    dict
        The record.

    Raises
    ------
    FileError, CaptureError, ShapeError
        The capture cannot be read or used.
    """
    camera = pipeline.camera
    raw = read_raw(path)
    levels = check_capture(
        raw,
        white_level=camera.white_level,
        expected_shape=camera.frame_shape,
        saturated_limit=pipeline.settings.saturated_limit,
    )
    started = time.perf_counter()
    scene = pipeline(raw)
    seconds = time.perf_counter() - started
    picture, display = to_display(scene.rgb)
    black, white = float(scene.rgb.min()), float(scene.rgb.max())
    names = {"linear": f"{path.stem}.linear.tif", "picture": f"{path.stem}.linear.png"}
    write_tiff16(out / names["linear"], scene.rgb, black=min(black, 0.0), white=white)
    write_png(out / names["picture"], picture)
    record = {
        "format": RECORD_FORMAT,
        "format_version": RECORD_VERSION,
        "capture": path.name,
        "files": names,
        "camera": {"name": camera.name, "digest": camera.digest},
        "settings": {**asdict(pipeline.settings), "method": pipeline.method},
        "levels": asdict(levels),
        "solution": scene.numbers,
        "display": display.record(),
        "seconds": seconds,
        "versions": _versions(pipeline.device),
    }
    write_json(out / f"{path.stem}.linear.json", record)
    return record


def _versions(device: torch.device) -> dict[str, str]:
    return {
        "barelens": version("barelens"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": str(device),
    }

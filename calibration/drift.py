r"""Ask whether a capture fits a camera, and if not, how the camera has moved.

A capture that a camera can have taken lies, but for noise, in the camera's range. What lies
outside is compared with the noise, and a small motion of the sensor plane that brings most of the
capture back into the range is found by Gauss-Newton, from that one capture alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..imaging import MeanRemoval, SeparableOperator
from ..imaging.solvers import SeparableFactors
from .camera import Camera
from .errors import CalibrationError
from .evidence import choose_prior, doubt, side_modes
from .motion import Drift, correct_camera, move_planes, moved_rows
from .range_test import RangeTest, estimate_noise_std

__all__ = ["DriftReport", "check_camera", "whitened_residual"]

_SIGNIFICANT = 5.0  # standard deviations of the residual that count as a contradiction
_FAIR_SHARE = 0.1  # of the excess over noise that a motion must take away to be believed
_REACH = 6.0  # samples of shift that are searched
_SETTLING_ROUNDS = 3
_MARGIN = 8  # samples at the border that are left out while a motion of up to 6 is searched


@dataclass(frozen=True, eq=False)
class DriftReport:
    """Whether a capture fits its camera.

    Attributes
    ----------
    noise_std : float
        Noise of the capture, from differences of neighbours that no shadow can make.
    whitened_residual : float
        Energy outside the camera's range over what noise leaves there; 1 if all is well.
    consistent : bool
        Whether the residual is within five standard deviations of 1.
    drift : Drift
        The motion that explains the capture best; none where no motion explains a fair share of
        what contradicts the camera.
    whitened_after : float
        The residual with the matrices moved accordingly.
    gain : float
        Energy of the capture over what its best scene predicts, after the correction.
    """

    noise_std: float
    whitened_residual: float
    consistent: bool
    drift: Drift
    whitened_after: float
    gain: float


def check_camera(camera: Camera, raw: Tensor, *, iterations: int = 8) -> DriftReport:
    """Test a capture against a camera and find what moved.

    Parameters
    ----------
    camera : Camera
        A separable camera.
    raw : Tensor, shape frame_shape
        One raw capture of any scene with detail; a flat one decides nothing.
    iterations : int, optional
        Most Gauss-Newton steps.

    Returns
    -------
    DriftReport
        The test and the motion.

    Raises
    ------
    CalibrationError
        The camera is not separable.
    """
    operator, planes, range_test = _prepare(camera, raw)
    before = range_test.whitened(planes)
    consistent = abs(before - 1) < _SIGNIFICANT * range_test.spread
    drift, moved = Drift(), camera
    if not consistent:
        found = _align(operator, planes, iterations)
        found = _settle_shift(correct_camera(camera, found), raw, found)
        # The matrices move and not the capture, whose noise interpolation would take away.
        corrected = correct_camera(camera, found)
        after = whitened_residual(corrected, raw)
        if before - after > max(_FAIR_SHARE * (before - 1), _SIGNIFICANT * range_test.spread):
            drift, moved = found, corrected
    _, moved_planes, moved_test = _prepare(moved, raw)
    return DriftReport(
        noise_std=float(range_test.noise_std.mean()),
        whitened_residual=before,
        consistent=consistent,
        drift=drift,
        whitened_after=moved_test.whitened(moved_planes),
        gain=moved_test.gain(moved_planes),
    )


def whitened_residual(camera: Camera, raw: Tensor) -> float:
    """Energy of a raw capture outside a separable camera's range over what noise leaves there."""
    _, planes, range_test = _prepare(camera, raw)
    return range_test.whitened(planes)


def _prepare(camera: Camera, raw: Tensor) -> "tuple[SeparableOperator, Tensor, RangeTest]":
    """Give a camera's operator, a prepared capture, and the test of the two."""
    operator = camera.operator(dtype=torch.float64)
    if not isinstance(operator, SeparableOperator):
        raise CalibrationError(
            f"{camera.name!r} is a {camera.kind} camera; a separable one is needed"
        )
    planes = camera.prepare(raw, dtype=torch.float64)
    # Turning averages neighbours; noise is measured before it and its loss is computed.
    upright = replace(camera, rotation_deg=0.0).prepare(raw, dtype=torch.float64)
    noise_std = estimate_noise_std(upright) * _noise_kept(camera) ** 0.5
    return operator, planes, RangeTest(SeparableFactors.of(operator), planes, noise_std)


def _noise_kept(camera: Camera) -> float:
    """Share of white noise's variance that bilinear turning leaves, over the camera's window."""
    window, angle = camera.window, math.radians(camera.rotation_deg)
    y = torch.arange(window.height, dtype=torch.float64)[:, None] + window.top
    x = torch.arange(window.width, dtype=torch.float64) + window.left
    shares = [
        (1 - position.frac()).square() + position.frac().square()
        for position in (
            x * math.cos(angle) - y * math.sin(angle),
            x * math.sin(angle) + y * math.cos(angle),
        )
    ]
    return float((shares[0] * shares[1]).mean())


def _smoothed(rows: Tensor) -> Tensor:
    """Blur along rows' axis by a Gaussian, so that resampling no longer takes noise away.

    Otherwise every fractional motion would look better than none.
    """
    reach = 6
    taps = torch.exp(-torch.arange(-reach, reach + 1, dtype=rows.dtype).square() / (2 * 1.5**2))
    taps = taps / taps.sum()
    padded = torch.cat(
        [rows[..., 1 : reach + 1, :].flip(-2), rows, rows[..., -reach - 1 : -1, :].flip(-2)], dim=-2
    )
    return sum(tap * padded[..., k : k + rows.shape[-2], :] for k, tap in enumerate(taps.tolist()))


def _inner(planes: Tensor) -> Tensor:
    """Leave out the border, of which a motion brings in what was never captured."""
    return planes[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


def _align(operator: SeparableOperator, planes: Tensor, iterations: int) -> Drift:
    """Gauss-Newton on the residual of smoothed planes, from the best of a coarse search."""
    blurred = _smoothed(_smoothed(planes).mT).mT
    inside = slice(_MARGIN, -_MARGIN)
    inner = SeparableOperator(
        _smoothed(operator.phi_left)[..., inside, :], _smoothed(operator.phi_right)[..., inside, :]
    ).centred()
    range_test = RangeTest(
        SeparableFactors.of(inner), _inner(blurred), estimate_noise_std(_inner(blurred))
    )
    # One sample of motion at the plane's edge is the unit of all four parameters.
    edge = max(planes.shape[-2:]) / 2
    units = (1.0, 1.0, 1 / edge, math.degrees(1 / edge))

    def drift(step: Tensor) -> Drift:
        down, right, scale, turn = (float(s) * unit for s, unit in zip(step, units, strict=True))
        return Drift(down, right, 1 + scale, turn)

    def residual(step: Tensor) -> Tensor:
        return range_test.residual(_inner(move_planes(blurred, drift(step))))

    return drift(_descend(residual, _coarse(residual), iterations))


def _settle_shift(camera: Camera, raw: Tensor, drift: Drift) -> Drift:
    """Decide between the local minima of the shift.

    A shift of the shadow is nearly a shift of the scene: only the edges of the field tell them
    apart, so that every scene sample makes a local minimum of the residual. What scenes are like
    decides between them. The matrices move and the capture is left as it is, noise and all.
    """
    assert camera.phi_left is not None and camera.phi_right is not None
    matrices = [camera.phi_left.double(), camera.phi_right.double()]
    planes = _inner(camera.prepare(raw, dtype=torch.float64))
    planes = MeanRemoval(tuple(planes.shape)).forward(planes)
    shifts = [0.0, 0.0]
    for _ in range(_SETTLING_ROUNDS):
        for axis in (0, 1):
            shifts[axis] = _best_shift(matrices, planes, shifts, axis)
    angle = math.radians(drift.rotation_deg)
    down, right = shifts
    return replace(
        drift,
        shift_down_px=drift.shift_down_px + right * math.sin(angle) + down * math.cos(angle),
        shift_right_px=drift.shift_right_px + right * math.cos(angle) - down * math.sin(angle),
    )


def _best_shift(matrices: list[Tensor], planes: Tensor, shifts: list[float], axis: int) -> float:
    """Search the shift of one axis that makes a capture most probable, the other one held."""
    from scipy.optimize import minimize_scalar

    inside = slice(_MARGIN, -_MARGIN)
    moved = [
        moved_rows(matrix, 1.0, shift)[..., inside, :]
        for matrix, shift in zip(matrices, shifts, strict=True)
    ]
    prior = choose_prior(moved[0], moved[1], planes)
    held = side_modes(moved[1 - axis], prior.correlation)

    def value(shift: float) -> float:
        rows = moved_rows(matrices[axis], 1.0, shift)[..., inside, :]
        own = side_modes(rows, prior.correlation)
        left, right = (held, own) if axis else (own, held)
        return doubt(left, right, planes, prior.noise_ratio)

    reach = torch.arange(-_REACH, _REACH + 0.1, 0.5).tolist()
    best = min((shifts[axis] + step for step in reach), key=value)
    found = minimize_scalar(
        value, bounds=(best - 0.5, best + 0.5), method="bounded", options={"xatol": 0.01}
    )
    return float(found.x)


Residual = Callable[[Tensor], Tensor]


def _descend(residual: Residual, current: Tensor, iterations: int) -> Tensor:
    """Gauss-Newton with halved steps."""
    best = residual(current)
    for _ in range(iterations):
        columns = []
        for k in range(4):
            nudge = torch.zeros(4, dtype=torch.float64)
            nudge[k] = 0.1
            slope = (residual(current + nudge) - residual(current - nudge)) / 0.2
            columns.append(slope.flatten())
        jacobian = torch.stack(columns, dim=-1)
        normal = jacobian.T @ jacobian
        normal += 1e-9 * normal.diagonal().mean() * torch.eye(4, dtype=torch.float64)
        step = -torch.linalg.solve(normal, jacobian.T @ best.flatten())
        length = 1.0
        while length > 0.05:
            trial = residual(current + length * step)
            if float(trial.square().sum()) < float(best.square().sum()):
                break
            length /= 2
        else:
            break
        current, best = current + length * step, trial
        if float((length * step).abs().max()) < 1e-3:
            break
    return current


def _coarse(residual: Residual) -> Tensor:
    """Descend from no drift by coordinate search with shrinking steps."""
    current = torch.zeros(4, dtype=torch.float64)
    value = float(residual(current).square().sum())
    size = 4.0
    while size >= 1.0:
        improved = False
        for k in range(4):
            for sign in (-1.0, 1.0):
                trial = current.clone()
                trial[k] += sign * size
                score = float(residual(trial).square().sum())
                if score < value:
                    current, value, improved = trial, score, True
        if not improved:
            size /= 2
    return current

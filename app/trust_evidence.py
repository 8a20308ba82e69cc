"""What a capture and its reconstruction say of each other, without knowing the scene."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..imaging import LinearOperator, MeanRemoval
from ..imaging.solvers import SpectralCapture
from ..imaging.trust import (
    CameraTest,
    LocalTest,
    benjamini_hochberg,
    check_picture,
    check_sensor_windows,
    estimate_noise_std,
    fill_missing,
)
from .json_numbers import json_numbers
from .trust_summary import level_entry

__all__ = ["NOISE_UNCERTAINTY", "SIGNIFICANCE", "Evidence", "plain_evidence", "separable_evidence"]

NOISE_UNCERTAINTY = 0.02  # of the noise variance, which is estimated from the capture itself
SIGNIFICANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Evidence:
    """What tests found.

    Attributes
    ----------
    record : dict
        The numbers, as JSON data.
    sensor : LocalTest, shape (planes, windows_down, windows_right)
        Where on the sensor the capture is not explained.
    noise, prior : Tensor, shape (planes)
        The noise to go by, with all that no scene explains, and the scene's root mean square.
    """

    record: dict[str, Any]
    sensor: LocalTest
    noise: Tensor
    prior: Tensor


def separable_evidence(
    test: CameraTest,
    capture: Tensor,
    planes: Tensor,
    spectrum: Tensor,
    *,
    valid: Tensor | None,
    spectral: SpectralCapture | None,
    centred: bool,
    neighbour_correlation: float,
    least_noise: float,
) -> Evidence:
    """Test a capture against its camera's range, and a reconstruction against the capture.

    Parameters
    ----------
    test : CameraTest
        Of the camera.
    capture : Tensor, shape (planes, *sensor)
        The prepared capture, its defects as they were.
    planes, spectrum : Tensor
        The reconstruction, and its coefficients.
    valid : Tensor of bool or None, shape of the capture
        False at every defect; None where there is none.
    spectral : SpectralCapture or None
        The capture's coefficients, where they are known.
    centred : bool
        Whether the capture has lost its row and column means.
    neighbour_correlation, least_noise : float
        As for :class:`~barelens.imaging.trust.CameraTest`.
    """
    prior = _strength(planes)
    if valid is not None:
        rough = estimate_noise_std(
            capture, valid=valid, neighbour_correlation=neighbour_correlation
        ).clamp_min(least_noise)
        capture, spectral = fill_missing(test.factors, capture, valid, rough, prior), None
        if centred:
            MeanRemoval.within(capture)  # what was filled in has means of its own
    fit = test(
        capture,
        prior,
        valid=valid,
        uncertainty=NOISE_UNCERTAINTY,
        neighbour_correlation=neighbour_correlation,
        least_noise=least_noise,
        spectral=spectral,
        centred=centred,
        keep_residual=True,
    )
    picture = check_picture(
        test.factors,
        planes,
        capture,
        fit.misfit_std,
        prior,
        spectral=fit.spectral,
        spectrum=spectrum,
    )
    assert fit.residual is not None
    windows = check_sensor_windows(fit.residual, fit.misfit_std)
    found, _ = benjamini_hochberg(windows.p_value.flatten(), SIGNIFICANCE)
    record = {
        "noise_std": json_numbers(fit.noise_std),
        "misfit_std": json_numbers(fit.misfit_std),
        "camera": {
            "verdict": fit.verdict(SIGNIFICANCE / len(planes)),
            **level_entry(fit.level),
            "miscalibration_p_value": json_numbers(fit.miscalibration_p_value),
        },
        "picture": level_entry(picture.level),
        "sensor_windows": {"tested": found.numel(), "standing_out": int(found.sum())},
    }
    return Evidence(record, windows, fit.misfit_std, prior)


def plain_evidence(
    operator: LinearOperator, capture: Tensor, planes: Tensor, noise: Tensor
) -> Evidence:
    """Compare a capture with its prediction, where a camera's range is not to be had."""
    residual = capture - operator.forward(planes)
    misfit = residual.square().mean((-2, -1)).sqrt()
    record = {
        "noise_std": json_numbers(noise),
        "misfit_std": json_numbers(misfit),
        "camera": None,
        "picture": {"chi_square": json_numbers((misfit / noise).square())},
        "reason": "a shift-invariant camera's range is not known in closed form: no p-value",
    }
    windows = check_sensor_windows(residual, misfit)
    return Evidence(record, windows, torch.maximum(noise, misfit), _strength(planes))


def _strength(planes: Tensor) -> Tensor:
    """Root mean square of each plane; of a black one next to nothing."""
    return planes.square().mean((-2, -1)).sqrt().clamp_min(torch.finfo(planes.dtype).tiny)

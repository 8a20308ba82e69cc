"""What a person should know about a camera record before trusting it, in plain words."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ..camera import Camera
from .spectrum import relative_singular_values

__all__ = ["findings", "relative_uncertainty"]

_WEAK_MODE = 0.01
_SIGMA_RATIO = 0.1
_UNCERTAIN = 0.2
_ECHO = 0.3


def findings(camera: Camera) -> list[str]:
    """List what is wrong with a record or missing from it, one plain sentence or two each.

    Parameters
    ----------
    camera : Camera
        The record.

    Returns
    -------
    list of str
        Empty where nothing stands out.
    """
    found = list(
        _of_psf(camera.psf, camera.residuals) if camera.psf is not None else _of_sides(camera)
    )
    if not camera.provenance:
        found.append("Nothing is known of how this record was made.")
    if not camera.residuals:
        remedy = " calibrate check tells whether a capture fits it." if camera.psf is None else ""
        found.append(f"The record does not say how well it explains its captures.{remedy}")
    return found


def relative_uncertainty(phi: Tensor, phi_std: Tensor) -> float:
    """Root mean square of the standard deviations over that of the entries."""
    return float(phi_std.square().mean().sqrt() / phi.square().mean().sqrt())


def _of_sides(camera: Camera) -> Iterator[str]:
    sides = (
        ("left", "height", camera.phi_left, camera.phi_left_std),
        ("right", "width", camera.phi_right, camera.phi_right_std),
    )
    for side, axis, phi, phi_std in sides:
        assert phi is not None
        yield from _of_conditioning(axis, phi, camera.mean_removal)
        if phi_std is not None:
            share = relative_uncertainty(phi, phi_std)
            if share > _UNCERTAIN:
                yield (
                    f"The matrix along the {axis} is uncertain by {share:.0%} of its own size. "
                    "More frames a capture, or more light, make it better."
                )
        if isinstance(camera.residuals.get(side), Mapping):
            yield from _of_fit(axis, camera.residuals[side])


def _of_conditioning(axis: str, phi: Tensor, mean_removal: bool) -> Iterator[str]:
    relative = relative_singular_values(phi, mean_removal=mean_removal)
    strong = int((relative > _WEAK_MODE).sum(-1).min())
    if strong < phi.shape[-1] / 2:
        yield (
            f"Bad conditioning along the {axis}: {strong} of {phi.shape[-1]} components reach "
            f"{_WEAK_MODE:.0%} of the strongest. The rest of a picture is assumed, not measured."
        )


def _of_fit(axis: str, fit: Mapping[str, Any]) -> Iterator[str]:
    ratios = [value for value in (fit.get("pattern_sigma_ratio") or []) if value is not None]
    large = sum(value > _SIGMA_RATIO for value in ratios)
    if large > len(ratios) / 20:
        yield (
            f"{large} of {len(ratios)} patterns along the {axis} cast shadows that are not "
            f"separable (second singular value over {_SIGMA_RATIO:.0%} of the first): noise, "
            "stray light, a turned mask, or a screen that is not parallel to it."
        )
    if lost := len(fit.get("lost") or []):
        yield f"Patterns along the {axis} lost or saturated, and filled from the rest: {lost}."
    if rejected := len(fit.get("rejected") or []):
        yield f"Patterns along the {axis} left out because they contradict the rest: {rejected}."


def _of_psf(psf: Tensor, residuals: Mapping[str, Any]) -> Iterator[str]:
    if residuals.get("cut_off"):
        yield (
            "The PSF reaches the edge of the sensor. Where more of it lies outside, captures hold "
            "light that the record does not explain."
        )
    if residuals.get("second_peak", 0) > _ECHO:
        yield (
            f"The PSF resembles a shifted copy of itself by {residuals['second_peak']:.0%}: a mask "
            "that repeats itself, or two point sources. Pictures may show ghosts."
        )
    for name, problem in (residuals.get("problems") or {}).items():
        yield f"A capture was left out. {problem if name in problem else f'{name}: {problem}'}."
    if len(residuals.get("used") or [None, None]) == 1:
        yield "The PSF rests on one capture; several averaged have less noise and show what moved."
    dark = float(psf.clamp_max(0).sum().abs() / psf.sum())
    if dark > 0.05:
        yield (
            f"{dark:.0%} of the PSF's light is negative: too much background was taken off, or "
            "noise is strong."
        )
    border = torch.cat([psf[..., :2, :].flatten(), psf[..., -2:, :].flatten()]).double().mean()
    level = float(border / psf.double().mean())
    if level > 0.2:
        yield (
            f"The PSF's first and last rows hold {level:.0%} of its mean light: it was cut off, or "
            "background is left in it."
        )

"""Matrices of a separable camera: pictures, shadows, singular values, and how their fit went."""

import math
from collections.abc import Mapping

from torch import Tensor

from ..camera import Camera
from .drawing import Series, line_plot
from .pictures import map_picture, shrunk
from .planes import PlaneStyle, plane_styles
from .spectrum import relative_singular_values
from .tags import figure, paragraph, row, section

__all__ = ["fit_section", "separable_section"]


def separable_section(camera: Camera) -> str:
    """Show both matrices in every plane, the shadow of one scene sample, and the spectra."""
    sides = [("height", _stacked(camera.phi_left)), ("width", _stacked(camera.phi_right))]
    shown, shadows, spectra = [], [], []
    for axis, phi in sides:
        names = plane_styles(camera, len(phi))
        limit = 2.5 * float(phi.std()) or 1.0
        for (label, _, _), matrix in zip(names, phi, strict=True):
            size = f"{matrix.shape[0]}x{matrix.shape[1]}"
            picture = map_picture(
                shrunk(matrix.mT),
                low=-limit,
                high=limit,
                alt=f"Matrix along the {axis}{_of(label)}: sensor across, scene samples down.",
            )
            shown.append(figure(picture, f"Along the {axis}{_of(label)}: {size}."))
        shadows.append(_shadow(axis, phi, names))
        spectra.append(_spectrum(axis, phi, names, camera.mean_removal))
    return section(
        "The matrices",
        paragraph(
            "Each row of a picture is the shadow that one sample of the scene casts along a side "
            "of the sensor: from dark blue, the most negative, to yellow. Slanted stripes mean "
            "that the shadow moves with the scene."
        ),
        row(*shown),
        "<h3>Shadow of the middle of the scene</h3>",
        row(*shadows),
        "<h3>Singular values</h3>",
        paragraph(
            "How strongly each independent component of a scene reaches the sensor. The flatter "
            "the curve, the better the camera sees fine detail in noise."
        ),
        row(*spectra),
    )


def fit_section(camera: Camera) -> str:
    """Show how separable each calibration pattern's shadow was, if the record tells."""
    drawn = []
    for side, axis in (("left", "height"), ("right", "width")):
        fit = camera.residuals.get(side)
        ratios = fit.get("pattern_sigma_ratio") if isinstance(fit, Mapping) else None
        values = [math.nan if value is None else float(value) for value in ratios or []]
        known = [value for value in values if value > 0]
        if not known:
            continue
        plot = line_plot(
            [Series("ratio", range(len(values)), values, tone="violet", dots=True)],
            title=f"Second over first singular value of each pattern along the {axis}",
            description=f"From {min(known):.2g} to {max(known):.2g}.",
            x_label="pattern",
            y_label="second over first",
            log_y=True,
        )
        drawn.append(figure(plot, f"Patterns along the {axis}; those without a dot were lost."))
    if not drawn:
        return ""
    return section(
        "How well the patterns fit",
        paragraph(
            "The shadow of a pattern is the product of two profiles if the camera is separable: "
            "its second singular value is then nothing but noise. Values over 0.1 tell of stray "
            "light, a turned mask, or too little light."
        ),
        row(*drawn),
    )


def _stacked(phi: Tensor | None) -> Tensor:
    assert phi is not None
    return phi.double().reshape(-1, *phi.shape[-2:])


def _shadow(axis: str, phi: Tensor, names: list[PlaneStyle]) -> str:
    middle = phi[..., phi.shape[-1] // 2]
    series = [
        Series(label, range(middle.shape[-1]), values.tolist(), tone, dashed)
        for (label, tone, dashed), values in zip(names, middle, strict=True)
    ]
    plot = line_plot(
        series,
        title=f"Shadow of the middle scene sample along the {axis}",
        description=f"{len(series)} curves over {middle.shape[-1]} sensor samples.",
        x_label="sensor sample",
        y_label="captured light over scene light",
    )
    return figure(plot, f"Along the {axis}.")


def _spectrum(axis: str, phi: Tensor, names: list[PlaneStyle], mean_removal: bool) -> str:
    relative = relative_singular_values(phi, mean_removal=mean_removal)
    counts = [int((relative > share).sum(-1).min()) for share in (0.1, 0.01)]
    series = [
        Series(label, range(1, len(curve) + 1), _above(curve, 1e-6), tone, dashed)
        for (label, tone, dashed), curve in zip(names, relative, strict=True)
    ]
    told = f"{counts[0]} of {phi.shape[-1]} over 10 % of the strongest, {counts[1]} over 1 %"
    plot = line_plot(
        series,
        title=f"Singular values along the {axis}",
        description=told,
        x_label="component",
        y_label="relative singular value",
        log_y=True,
    )
    return figure(plot, f"Along the {axis}: {told}.")


def _of(label: str) -> str:
    return ", all planes" if label == "all" else f", plane {label}"


def _above(values: Tensor, least: float) -> list[float]:
    """Leave out what is only rounding."""
    return [value if value > least else math.nan for value in values.tolist()]

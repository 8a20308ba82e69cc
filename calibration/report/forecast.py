"""What to expect of captures: detail, components and PSNR over exposure."""

import math

import torch

from ..camera import Camera
from .drawing import Series, line_plot
from .outlook import SCENE_CORRELATION, SCENE_MEAN, SCENE_STD, Outlook
from .pictures import map_picture, shrunk
from .planes import plane_styles
from .psf import by_frequency
from .tags import figure, numbers, paragraph, row, section

__all__ = ["forecast"]

_DIM, _BRIGHT = 500.0, 5000.0  # electrons a pixel
_CURVE = [10 ** (1 + 3 * step / 18) for step in range(19)]  # 10 to 10,000 electrons


def forecast(camera: Camera, outlook: Outlook) -> str:
    """Predict detail and PSNR at stated light levels, with every assumption on the page."""
    if not bool((outlook.white > 0).all()):
        return section(
            "What to expect",
            paragraph("The record's transfer is not positive on average: exposure cannot be told."),
        )
    return section(
        "What to expect",
        paragraph(
            "Computed from the record alone, before any capture: the error that remains after the "
            "best linear reconstruction that knows the noise and the kind of scene."
        ),
        _levels_table(camera, outlook),
        row(_psnr_plot(outlook), *_share_plots(outlook), *_detail_map(outlook)),
        _assumptions(camera, outlook),
    )


def _levels_table(camera: Camera, outlook: Outlook) -> str:
    head = ["Light on a pixel", "plane", "seen (any)", "seen (natural)"]
    head += ["detail, best", "detail, worst", "PSNR (any)", "PSNR (natural)"]
    names = plane_styles(camera, len(outlook.gains))
    rows = []
    for electrons in (_DIM, _BRIGHT):
        seen = [outlook.measured(electrons, smooth=smooth) > 0.5 for smooth in (False, True)]
        counts = [share.sum((-2, -1)).tolist() for share in seen]
        detail = outlook.detail(electrons)
        psnr = [outlook.psnr(electrons, smooth=smooth).tolist() for smooth in (False, True)]
        for plane, (label, _, _) in enumerate(names):
            rows.append(
                [
                    f"{electrons:,.0f} electrons",
                    label,
                    *(f"{count[plane]:,}" for count in counts),
                    *(_samples(float(end)) for end in (detail[plane].min(), detail[plane].max())),
                    *(f"{values[plane]:.1f} dB" for values in psnr),
                ]
            )
    explained = (
        f"Seen: how many of the {outlook.samples:,} components of a scene plane a capture tells "
        "better than the assumption about the scene does; for scenes of any detail, and for "
        "natural ones. Detail: side of the patch, in scene samples, that one measured number "
        "stands for, at the best and the worst place of the field, for scenes of any detail."
    )
    return numbers(head, rows, caption="At two light levels") + paragraph(explained, note=True)


def _samples(side: float) -> str:
    return f"{side:.1f}" if math.isfinite(side) else "none"


def _psnr_plot(outlook: Outlook) -> str:
    series = [
        Series(
            label,
            _CURVE,
            [float(outlook.psnr(electrons, smooth=smooth).mean()) for electrons in _CURVE],
            tone,
        )
        for label, tone, smooth in (
            ("natural scenes", "blue", True),
            ("scenes of any detail", "violet", False),
        )
    ]
    floor = -20 * math.log10(SCENE_STD)
    plot = line_plot(
        series,
        title="Predicted PSNR over exposure",
        description=f"Natural scenes reach {series[0].y[-1]:.1f} dB, scenes of any detail "
        f"{series[1].y[-1]:.1f} dB, at {_CURVE[-1]:,.0f} electrons.",
        x_label="light on a pixel, electrons",
        y_label="predicted PSNR, dB",
        log_x=True,
    )
    return figure(
        plot,
        f"PSNR over exposure, averaged over planes. {floor:.1f} dB is what the scene's known mean "
        "gives without any capture.",
    )


def _share_plots(outlook: Outlook) -> list[str]:
    """Measured share by frequency, for cameras whose components are frequencies."""
    if outlook.factors is not None:
        return []
    series = []
    for electrons, tone in ((_DIM, "violet"), (_BRIGHT, "teal")):
        for smooth in (True, False):
            share = outlook.measured(electrons, smooth=smooth).mean(0)
            kind = "natural" if smooth else "any"
            frequency, mean = by_frequency(share)
            series.append(Series(f"{electrons:.0f} e {kind}", frequency, mean, tone, not smooth))
    plot = line_plot(
        series,
        title="Share of each frequency that a capture tells",
        description="1 is all from the capture, 0 all from the assumption about the scene.",
        x_label="cycles a scene sample",
        y_label="share from the capture",
    )
    return [figure(plot, "How much of each frequency comes from the capture: 1 all, 0 nothing.")]


def _detail_map(outlook: Outlook) -> list[str]:
    detail = outlook.detail(_BRIGHT).mean(0)
    if detail.numel() == 1:
        return []
    finite = detail[torch.isfinite(detail)]
    low, high = float(finite.min()), float(finite.max())
    picture = map_picture(
        shrunk(detail),
        low=low,
        high=max(high, low + 1e-6),
        palette="cividis",
        alt=f"Finest detail over the field, from {low:.1f} to {high:.1f} scene samples.",
    )
    caption = (
        f"Finest detail over the field at {_BRIGHT:,.0f} electrons: {low:.2f} scene samples where "
        f"dark, {high:.2f} where bright."
    )
    return [figure(picture, caption)]


def _assumptions(camera: Camera, outlook: Outlook) -> str:
    sensor = outlook.sensor
    white = ", ".join(f"{value:.3g}" for value in outlook.white.tolist())
    lines = [
        f"Light: a pixel's electrons are the mean over the sensor. The sensor is assumed to have a "
        f"full well of {sensor.full_well_e:,.0f} electrons, {sensor.read_noise_e:g} electrons of "
        f"read noise and {sensor.bit_depth} bits; shot noise counts at its mean.",
        f"Scene: values from 0 to 1, varying about a known mean of {SCENE_MEAN:g} with standard "
        f"deviation {SCENE_STD:g}. Scenes of any detail have independent samples, a "
        f"hard case; in natural ones neighbours correlate by {SCENE_CORRELATION:g}.",
        f"Exposure: in the record's own units a white scene gives {white} times the light that "
        "saturates a pixel; only the ratio to the exposures above matters."
        + (
            " It is estimated from the swing of the coded light, because the record keeps no "
            "constant light."
            if camera.mean_removal
            else ""
        ),
        "The record is taken as exact: errors of the calibration, which its uncertainty and "
        "residuals tell of, come on top.",
    ]
    if outlook.factors is None:
        lines.append(
            "The scene is taken as periodic, so that no light is lost at the sensor's edges. For a "
            "diffuser camera whose scene fills the field this is optimistic, by about 1 dB."
        )
    items = "".join(f"<li>{line}</li>" for line in lines)
    return f'<h3>What this assumes</h3><ul class="note">{items}</ul>'

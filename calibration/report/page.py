"""The page: one self-contained HTML file about one camera record."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...imaging.files import atomic_path
from ..camera import Camera
from .findings import findings, relative_uncertainty
from .forecast import forecast
from .outlook import Outlook
from .psf import psf_section
from .separable import fit_section, separable_section
from .style import STYLE
from .tags import paragraph, section, table

__all__ = ["render_report", "write_report"]


def write_report(path: str | Path, camera: Camera) -> None:
    """Write the report on a camera record, complete or not at all.

    Parameters
    ----------
    path : path
        The HTML file; its folder must exist.
    camera : Camera
        The record.
    """
    content = render_report(camera)
    with atomic_path(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def render_report(camera: Camera) -> str:
    """Give the report as HTML that asks for nothing from outside.

    It holds what the record says, its matrices or PSF as pictures and curves, what to expect of
    captures, and :func:`~barelens.calibration.report.findings` in front.
    """
    outlook = Outlook.of(camera)
    if camera.kind == "separable":
        parts = [separable_section(camera), fit_section(camera)]
    else:
        parts = [psf_section(camera)]
    if measured := _residuals(camera):
        parts.append(section("How well it was measured", table(measured, caption="Residuals")))
    body = "".join(
        [
            f"<h1>{escape(camera.name)}</h1>",
            f'<p class="lead">{escape(_summary(camera))}</p>',
            _warnings(findings(camera)),
            section("What it is", table(_facts(camera), caption="The camera record")),
            *parts,
            forecast(camera, outlook),
            section("Where it comes from", _origin(camera)),
        ]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(camera.name)}: camera report</title><style>{STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _summary(camera: Camera) -> str:
    height, width = camera.operator().scene_shape[-2:]
    planes = "one plane" if camera.num_planes == 1 else f"{camera.num_planes} colour planes"
    kind = (
        "A camera with a separable mask: two matrices map a scene to its capture"
        if camera.kind == "separable"
        else "A camera with one point spread function (PSF) for its whole field"
    )
    return f"{kind}, in {planes} of {height}x{width} scene samples."


def _warnings(found: Sequence[str]) -> str:
    if not found:
        return '<p class="lead">Nothing in this record stands out as wrong or missing.</p>'
    items = "".join(f"<li>{escape(line)}</li>" for line in found)
    return (
        '<section class="warnings" aria-labelledby="warnings">'
        f'<h2 id="warnings">Before you trust it</h2><ul>{items}</ul></section>'
    )


def _facts(camera: Camera) -> list[tuple[str, str]]:
    window = camera.window
    pitch = "not stated" if camera.pixel_pitch_um is None else f"{camera.pixel_pitch_um:g} µm"
    return [
        ("Raw frame", "x".join(map(str, camera.frame_shape)) + " pixels"),
        ("Levels", f"{camera.black_level:g} (black) to {camera.white_level:g} (white)"),
        ("Mosaic", camera.bayer or "none"),
        ("Pixel pitch", pitch),
        (
            "Used of each plane",
            f"{window.height}x{window.width} from row {window.top}, column {window.left}",
        ),
        ("Turned by", f"{camera.rotation_deg:.4f} degrees"),
        ("Row and column means", "removed" if camera.mean_removal else "kept"),
        ("Colour matrix", "none" if camera.colour_matrix is None else "to linear sRGB"),
        *_uncertainty(camera),
        ("Digest (SHA-256)", camera.digest),
    ]


def _uncertainty(camera: Camera) -> list[tuple[str, str]]:
    sides = (
        ("height", camera.phi_left, camera.phi_left_std),
        ("width", camera.phi_right, camera.phi_right_std),
    )
    return [
        (
            f"Uncertainty, {axis}",
            f"{relative_uncertainty(phi, phi_std):.1%} of the entries' size",
        )
        for axis, phi, phi_std in sides
        if phi is not None and phi_std is not None
    ]


def _origin(camera: Camera) -> str:
    shown = [
        table(_entries(entries), caption=title)
        for title, entries in (("Provenance", camera.provenance), ("Geometry", camera.geometry))
        if entries
    ]
    try:
        program = f"barelens {version('barelens')}"
    except PackageNotFoundError:
        program = "barelens"
    if not shown:
        shown = [paragraph("The record says nothing of its origin.")]
    return "".join(shown) + paragraph(f"Page made by {program}.", note=True)


def _residuals(camera: Camera) -> list[tuple[str, str]]:
    """List the residuals, those of both sides one by one, without what is drawn as a plot."""
    entries: dict[str, Any] = {}
    for name, value in camera.residuals.items():
        if name in ("left", "right") and isinstance(value, Mapping):
            axis = "height" if name == "left" else "width"
            entries |= {
                f"{axis}: {key}": item
                for key, item in value.items()
                if not key.startswith("pattern_")
            }
        else:
            entries[name] = value
    return _entries(entries)


def _entries(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (name.replace("_", " "), _plain(value))
        for name, value in values.items()
        if value is not None and value not in ([], {}, "")
    ]


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_plain(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        shown = [_plain(item) for item in value[:12]]
        more = f" and {len(value) - 12} more" if len(value) > 12 else ""
        return ", ".join(shown) + more
    return f"{value:g}" if isinstance(value, float) else str(value)

"""``barelens plan``."""

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .messages import parse_size, user_errors

if TYPE_CHECKING:
    from ...imaging.trust import LitScene, Plan
    from ..virtual_camera import VirtualSettings

__all__ = ["plan"]

_FULL = 0.7  # share of the well in the mean pixel at which the brightest ones overflow


def plan(
    out: Path = typer.Option(None, help="Folder for plan.json and plan.svg; made if missing."),
    mask: str = typer.Option("m-sequence", help="m-sequence, mura or random."),
    order: int = typer.Option(8, help="Order of the m-sequence, 2 to 12."),
    features: int = typer.Option(251, help="Features of one period of a mura (prime) or random."),
    seed: int = typer.Option(0, help="Seed of a random mask."),
    feature_um: float = typer.Option(30.0, help="Width of a mask feature."),
    mask_distance_mm: float = typer.Option(1.95, help="Distance of mask and sensor."),
    scene_distance_mm: float = typer.Option(float("inf"), help="Distance of scene and mask."),
    field_of_view_deg: float = typer.Option(36.0, help="Full angle of the scene's larger side."),
    wavelength_nm: float = typer.Option(550.0, help="For diffraction; 0 for none."),
    pixel_pitch_um: float = typer.Option(5.3, help="Distance of neighbouring pixels."),
    sensor: str = typer.Option("1000x1240", help="Pixels of the Bayer sensor, HEIGHTxWIDTH."),
    scene: str = typer.Option("256x256", help="Samples of the reconstruction, HEIGHTxWIDTH."),
    bit_depth: int = typer.Option(12, help="Bits of a count."),
    full_well_e: float = typer.Option(20_000.0, help="Electrons at which a pixel saturates."),
    read_noise_e: float = typer.Option(3.0, help="Read noise in electrons."),
    mean_level: float = typer.Option(0.2, help="Mean of the scene over its brightest parts."),
    contrast: float = typer.Option(0.17, help="Standard deviation of the scene, likewise."),
    illuminance_lux: float = typer.Option(500.0, help="Light on the scene; 500 in an office."),
    quantum_efficiency: float = typer.Option(0.6, help="Electrons a photon."),
    filter_transmission: float = typer.Option(0.3, help="Share of light through colour filters."),
    exposures_s: str = typer.Option("0.001,0.003,0.01,0.03,0.1", help="Times, with commas."),
) -> None:
    """Predict what a camera will see before it is built.

    For each exposure time: electrons, noise, and of the linear reconstruction the expected PSNR,
    error, resolution and the share of the scene that is measured. With --out the same as plan.json
    and a plot plan.svg.
    """
    from ...imaging.trust import LitScene, plan_camera
    from ..virtual_camera import VirtualSettings, build_virtual_camera

    with user_errors():
        settings = VirtualSettings(
            mask=mask,
            order=order,
            features=features,
            feature_um=feature_um,
            mask_distance_mm=mask_distance_mm,
            scene_distance_mm=scene_distance_mm,
            field_of_view_deg=field_of_view_deg,
            wavelength_nm=wavelength_nm or None,
            pixel_pitch_um=pixel_pitch_um,
            sensor_size=parse_size(sensor, "sensor"),
            scene_size=parse_size(scene, "scene"),
            bit_depth=bit_depth,
            full_well_e=full_well_e,
            read_noise_e=read_noise_e,
            mask_seed=seed,
        )
        lit = LitScene(
            illuminance_lux=illuminance_lux,
            mean_level=mean_level,
            contrast=contrast,
            quantum_efficiency=quantum_efficiency,
            filter_transmission=filter_transmission,
        )
        planned = plan_camera(build_virtual_camera(settings), lit, _times(exposures_s))
        _show(planned)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            _write(planned, lit, settings, out)
            typer.echo(f"written to {out / 'plan.json'} and {out / 'plan.svg'}")


def _times(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"exposures-s must be seconds with commas between, such as 0.01,0.1, got {text!r}"
        ) from None


def _show(planned: "Plan") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{planned.electrons_per_s:.3g} electrons a second from a bright scene")
    for name in ("exposure", "electrons", "well", "capture SNR", "PSNR", "error", "resolution"):
        table.add_column(name, justify="right")
    for one in planned.exposures:
        table.add_row(
            f"{1000 * one.exposure_s:g} ms",
            f"{one.mean_electrons:.0f}",
            f"{one.well_share:.0%}" + (" saturated" if one.well_share > _FULL else ""),
            f"{one.capture_snr_db:.1f} dB",
            f"{one.psnr_db:.1f} dB",
            f"{one.std:.3f}",
            f"{one.resolution_deg:.2f}° ({one.resolution_samples:.1f} px)",
        )
    Console().print(table)


def _write(planned: "Plan", lit: "LitScene", settings: "VirtualSettings", out: Path) -> None:
    from ...imaging.files import atomic_path, write_json
    from ..plan_plot import plot_plan

    # JSON has no infinity: null is infinitely far.
    camera = {name: None if value == inf else value for name, value in vars(settings).items()}
    record = {
        "format": "barelens.plan",
        "format_version": 1,
        "scene": vars(lit),
        "camera": camera,
        **planned.record(),
    }
    with atomic_path(out / "plan.svg") as temporary:
        temporary.write_text(plot_plan(planned), encoding="utf-8")
    write_json(out / "plan.json", record)

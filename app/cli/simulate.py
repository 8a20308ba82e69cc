"""``barelens simulate``."""

from pathlib import Path

import typer

from .messages import check_names, complain, fail, parse_size, tracked, user_errors

__all__ = ["simulate"]


def simulate(
    pictures: list[Path] = typer.Argument(help="Pictures: PNG, JPEG or TIFF, read as sRGB."),
    out: Path = typer.Option(..., help="Folder for captures and camera record; made if missing."),
    mask: str = typer.Option("m-sequence", help="m-sequence, mura or random."),
    order: int = typer.Option(8, help="Order of the m-sequence, 2 to 12."),
    features: int = typer.Option(251, help="Features of one period of a mura (prime) or random."),
    feature_um: float = typer.Option(30.0, help="Width of a mask feature."),
    mask_distance_mm: float = typer.Option(1.95, help="Distance of mask and sensor."),
    scene_distance_mm: float = typer.Option(float("inf"), help="Distance of scene and mask."),
    field_of_view_deg: float = typer.Option(36.0, help="Full angle of the scene's larger side."),
    wavelength_nm: float = typer.Option(550.0, help="For diffraction; 0 for none."),
    pixel_pitch_um: float = typer.Option(5.3, help="Distance of neighbouring pixels."),
    sensor: str = typer.Option("1000x1240", help="Pixels of the sensor, HEIGHTxWIDTH."),
    scene: str = typer.Option("256x256", help="Samples of the reconstruction, HEIGHTxWIDTH."),
    bayer: str = typer.Option("RGGB", help="Colours of the first two rows."),
    bit_depth: int = typer.Option(12, help="Bits of a count."),
    full_well_e: float = typer.Option(20_000.0, help="Electrons at which a pixel saturates."),
    read_noise_e: float = typer.Option(3.0, help="Read noise in electrons."),
    exposure_s: float = typer.Option(0.0, help="Exposure time; 0 fills 80 % of the well."),
    seed: int = typer.Option(0, help="Seed of the noise and of a random mask."),
) -> None:
    """Photograph pictures with a virtual lensless camera.

    A picture is cut to the scene's proportions around its centre and resized to twice the
    reconstruction's samples. For each picture NAME a raw 16-bit capture NAME.png and its settings
    NAME.json are written, and once the camera record camera.safetensors, with which
    `barelens reconstruct` gets the scene back.
    """
    from ...imaging.files import read_image, write_json, write_raw_png16
    from ..virtual_camera import (
        VirtualSettings,
        build_virtual_camera,
        camera_record,
        capture_settings,
        fit_picture,
    )

    with user_errors():
        check_names(pictures)
        for path in pictures:
            if (out / f"{path.stem}.png").resolve() == path.resolve():
                raise ValueError(f"{path} would be overwritten; choose another --out")
        camera = build_virtual_camera(
            VirtualSettings(
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
                bayer=bayer,  # type: ignore[arg-type]
                bit_depth=bit_depth,
                full_well_e=full_well_e,
                read_noise_e=read_noise_e,
                mask_seed=seed,
            )
        )
        out.mkdir(parents=True, exist_ok=True)
        camera_record(camera, pixel_pitch_um).save(out / "camera.safetensors")
    failed = 0
    for path in tracked(pictures, "Simulating", len(pictures)):
        try:
            light = fit_picture(read_image(path, encoding="srgb"), camera.fine_scene_size)
            exposure = exposure_s or camera.auto_exposure(light)
            raw = camera.capture(light, exposure_s=exposure, seed=seed)
            write_raw_png16(out / f"{path.stem}.png", raw)
            settings = capture_settings(camera, exposure_s=exposure, seed=seed)
            write_json(out / f"{path.stem}.json", {"picture": path.name, **settings})
        except (ValueError, TypeError, OSError, ImportError) as error:
            complain(error if str(path) in str(error) else f"{path}: {error}")
            failed += 1
            continue
        typer.echo(f"{path} -> {out / path.stem}.png  exposure {exposure:.3g} s")
    if failed:
        fail(f"{failed} of {len(pictures)} pictures failed")

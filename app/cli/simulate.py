"""``barelens simulate``."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .messages import check_names, complain, fail, parse_size, tracked, user_errors

if TYPE_CHECKING:
    from torch import Tensor

    from ...calibration import Camera
    from ...imaging.simulate import VirtualCamera

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
    from ...imaging.files import write_json, write_raw_png16

    with user_errors():
        check_names(pictures)
        for path in pictures:
            if (out / f"{path.stem}.png").resolve() == path.resolve():
                raise ValueError(f"{path} would be overwritten; choose another --out")
        camera = _camera(
            geometry={
                "feature_um": feature_um,
                "mask_distance_mm": mask_distance_mm,
                "scene_distance_mm": scene_distance_mm,
                "field_of_view_deg": field_of_view_deg,
                "wavelength_nm": wavelength_nm or None,
                "sample_pitch_um": 2 * pixel_pitch_um,
            },
            sensor_settings={
                "bit_depth": bit_depth,
                "full_well_e": full_well_e,
                "read_noise_e": read_noise_e,
            },
            mask=(mask, order, features, seed),
            sizes=(parse_size(sensor, "sensor"), parse_size(scene, "scene")),
            bayer=bayer,
        )
        out.mkdir(parents=True, exist_ok=True)
        _record(camera, pixel_pitch_um).save(out / "camera.safetensors")
    failed = 0
    for path in tracked(pictures, "Simulating", len(pictures)):
        try:
            light = _scene(path, camera.fine_scene_size)
            exposure = exposure_s or camera.auto_exposure(light)
            raw = camera.capture(light, exposure_s=exposure, seed=seed)
            write_raw_png16(out / f"{path.stem}.png", raw)
            write_json(out / f"{path.stem}.json", _settings(camera, path, exposure, seed))
        except (ValueError, TypeError, OSError, ImportError) as error:
            complain(error if str(path) in str(error) else f"{path}: {error}")
            failed += 1
            continue
        typer.echo(f"{path} -> {out / path.stem}.png  exposure {exposure:.3g} s")
    if failed:
        fail(f"{failed} of {len(pictures)} pictures failed")


def _camera(
    *,
    geometry: dict[str, float | None],
    sensor_settings: dict[str, float],
    mask: tuple[str, int, int, int],
    sizes: tuple[tuple[int, int], tuple[int, int]],
    bayer: str,
) -> "VirtualCamera":
    from ...imaging.geometry import SeparableGeometry
    from ...imaging.sensor import Sensor
    from ...imaging.simulate import VirtualCamera

    (sensor_height, sensor_width), (scene_height, scene_width) = sizes
    if sensor_height % 2 or sensor_width % 2:
        raise ValueError(f"sensor must have even sides, got {sensor_height}x{sensor_width}")
    left, right = _profiles(*mask)
    return VirtualCamera(
        SeparableGeometry(
            sensor_height=sensor_height // 2,
            sensor_width=sensor_width // 2,
            scene_height=scene_height,
            scene_width=scene_width,
            **geometry,  # type: ignore[arg-type]
        ),
        left,
        right,
        sensor=Sensor(**sensor_settings),  # type: ignore[arg-type]
        bayer=bayer,  # type: ignore[arg-type]
    )


def _profiles(kind: str, order: int, features: int, seed: int) -> tuple["Tensor", "Tensor"]:
    from ...imaging.masks import m_sequence, mura, random_profile

    if kind == "m-sequence":
        profile = m_sequence(order, repeats=2)
        return profile, profile
    if kind == "mura":
        profile = mura(features, repeats=2)
        return profile, profile
    if kind == "random":
        return (
            random_profile(2 * features, seed=2 * seed),
            random_profile(2 * features, seed=2 * seed + 1),
        )
    raise ValueError(f"unknown mask {kind!r}; choose m-sequence, mura or random")


def _record(camera: "VirtualCamera", pixel_pitch_um: float) -> "Camera":
    """Describe a virtual camera as a real one's record would."""
    from ...calibration import Camera

    geometry, sensor = camera.geometry, camera.sensor
    operator = camera.operator()
    return Camera(
        name="virtual camera",
        frame_shape=(2 * geometry.sensor_height, 2 * geometry.sensor_width),
        white_level=sensor.white_level_dn,
        black_level=sensor.black_level_dn,
        bayer=camera.bayer,
        mean_removal=True,
        phi_left=operator.phi_left,
        phi_right=operator.phi_right,
        pixel_pitch_um=pixel_pitch_um,
        geometry=_dimensions(camera),
        provenance={"method": "computed from geometry by barelens simulate"},
    )


def _scene(path: Path, size: tuple[int, int]) -> "Tensor":
    """Read a picture as linear light, cut and resized to the fine scene."""
    import cv2
    import torch

    from ...imaging.files import read_image

    image = read_image(path, encoding="srgb")
    image = image.expand(3, *image.shape[-2:]) if image.shape[0] == 1 else image
    height, width = image.shape[-2:]
    zoom = max(size[0] / height, size[1] / width)
    cut = min(height, round(size[0] / zoom)), min(width, round(size[1] / zoom))
    top, left = (height - cut[0]) // 2, (width - cut[1]) // 2
    part = image[:, top : top + cut[0], left : left + cut[1]].permute(1, 2, 0).contiguous()
    # Averaging where it shrinks and linear where it grows: neither can overshoot into darkness.
    mode = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(part.numpy(), (size[1], size[0]), interpolation=mode)
    return torch.from_numpy(resized).permute(2, 0, 1)


def _settings(
    camera: "VirtualCamera", path: Path, exposure_s: float, seed: int
) -> dict[str, object]:
    return {
        "picture": path.name,
        "geometry": _dimensions(camera),
        "sensor": vars(camera.sensor),
        "bayer": camera.bayer,
        "oversampling": camera.oversampling,
        "electrons_per_s": camera.electrons_per_s,
        "exposure_s": exposure_s,
        "seed": seed,
    }


def _dimensions(camera: "VirtualCamera") -> dict[str, object]:
    """Give the geometry as JSON data, which has no infinity: null is infinitely far."""
    return {
        name: None if value == float("inf") else value
        for name, value in vars(camera.geometry).items()
    }

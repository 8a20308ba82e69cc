"""Self-calibration from ordinary captures, and drift from one.

    python benchmarks/selfcal.py

Real: each of the three bundled FlatCam captures is reconstructed by the camera that the other two
and their published pictures give. Virtual: four photographs calibrate a camera, a fifth is
reconstructed; and a known motion of a camera is found from a single capture.
"""

import time

import torch
from machine import describe, show, write
from photographs import photograph

from barelens import data
from barelens.calibration import Camera, Crop, Drift, FrameFormat, check_camera, self_calibrate
from barelens.calibration.motion import move_planes
from barelens.imaging import SeparableGeometry, Tikhonov, VirtualCamera, m_sequence
from barelens.imaging.bayer import merge_bayer, split_bayer
from barelens.imaging.files import read_image, read_raw
from barelens.imaging.metrics import correlation, psnr

MOTIONS = {
    "3 px down": Drift(shift_down_px=-3),
    "3 px right": Drift(shift_right_px=-3),
    "1 % larger": Drift(scale=1 / 1.01),
    "0.3 degrees": Drift(rotation_deg=-0.3),
}


def real_pairs() -> list[tuple[str, list[float]]]:
    """Correlation in R, G and B of each capture left out."""
    captures = [read_raw(data.path(f"flatcam/fc_{k}.png")) for k in (6, 7, 8)]
    pictures = [read_image(data.path(f"flatcam/rec_{k}.png"), encoding="linear") for k in (6, 7, 8)]
    frame = FrameFormat(65535, 0, "BGGR")
    rows = []
    for held in range(3):
        others = [k for k in range(3) if k != held]
        camera, _ = self_calibrate(
            [captures[k] for k in others],
            [pictures[k] for k in others],
            frame,
            name="FlatCam",
            crop=Crop(6, 10, 500, 620),
        )
        scene = camera.to_rgb(Tikhonov(camera.operator())(camera.prepare(captures[held])))
        found = correlation(scene.clamp_min(0), pictures[held], per_channel=True)
        rows.append((f"capture {held + 6}", found.tolist()))
    return rows


def virtual_pairs() -> dict[str, float]:
    """PSNR of a fifth photograph with the true camera and with that of four pairs."""
    geometry = SeparableGeometry(250, 310, 128, 128, field_of_view_deg=18, wavelength_nm=550.0)
    profile = m_sequence(7, repeats=2)
    virtual = VirtualCamera(geometry, profile, profile)
    size = virtual.fine_scene_size[0]
    exposure_s = virtual.auto_exposure(torch.ones(3, size, size))
    frame = FrameFormat(virtual.sensor.white_level_dn, virtual.sensor.black_level_dn, "RGGB")
    scenes = [photograph(size, name) for name in ("chelsea", "coffee", "rocket", "camera")]
    shrink = torch.nn.AvgPool2d(virtual.oversampling)
    camera, _ = self_calibrate(
        [virtual.capture(scene, exposure_s=exposure_s, seed=k) for k, scene in enumerate(scenes)],
        [shrink(scene) for scene in scenes],
        frame,
        name="virtual",
    )
    scene = photograph(size)
    raw = virtual.capture(scene, exposure_s=exposure_s, seed=9)
    operator = virtual.operator(exposure_s=exposure_s)
    true = Camera(
        name="true",
        frame_shape=tuple(raw.shape),
        white_level=frame.white_level,
        black_level=frame.black_level,
        bayer="RGGB",
        mean_removal=True,
        phi_left=operator.phi_left,
        phi_right=operator.phi_right,
    )
    quality = {}
    for which in (true, camera):
        found = which.to_rgb(Tikhonov(which.operator())(which.prepare(raw)))
        quality[which.name] = float(psnr(found, shrink(scene), data_range=1.0))
    return quality


def motions() -> list[tuple[str, Drift]]:
    """What one capture of a photograph tells of four motions of the shadow."""
    geometry = SeparableGeometry(266, 326, 128, 128, field_of_view_deg=18, wavelength_nm=550.0)
    profile = m_sequence(7, repeats=2)
    virtual = VirtualCamera(geometry, profile, profile)
    scene = photograph(virtual.fine_scene_size[0])
    exposure_s = virtual.auto_exposure(scene)
    operator = virtual.operator(exposure_s=exposure_s)
    camera = Camera(
        name="virtual",
        frame_shape=(532, 652),
        white_level=virtual.sensor.white_level_dn,
        black_level=virtual.sensor.black_level_dn,
        bayer="RGGB",
        crop=Crop(8, 8, 250, 310),
        mean_removal=True,
        phi_left=operator.phi_left[8:-8],
        phi_right=operator.phi_right[8:-8],
    )
    light = split_bayer(virtual.light(scene).double(), "RGGB")
    rows = []
    for name, undo in MOTIONS.items():
        moved = merge_bayer(move_planes(light, undo).clamp_min(0), "RGGB")
        raw = virtual.sensor.expose(moved * virtual.electrons_per_s, exposure_s=exposure_s, seed=1)
        rows.append((name, check_camera(camera, raw).drift))
    return rows


def main() -> None:
    machine = describe()
    started = time.perf_counter()
    real = real_pairs()
    seconds = (time.perf_counter() - started) / 3
    quality = virtual_pairs()
    found = motions()
    print(machine)
    show(
        "Captures left out, correlation with the published picture",
        ("capture", "R", "G", "B"),
        [(name, *(f"{value:.3f}" for value in values)) for name, values in real],
    )
    show("PSNR, dB", ("camera", "PSNR"), [(k, f"{v:.2f}") for k, v in quality.items()])
    show(
        "Motion found from one capture",
        ("true", "down px", "right px", "scale", "degrees"),
        [
            (
                name,
                f"{drift.shift_down_px:+.2f}",
                f"{drift.shift_right_px:+.2f}",
                f"{drift.scale:.4f}",
                f"{drift.rotation_deg:+.3f}",
            )
            for name, drift in found
        ],
    )
    write(
        "selfcal",
        {
            "machine": machine,
            "left_out_correlation": dict(real),
            "seconds_for_two_pairs": seconds,
            "psnr_db": quality,
            "motion": {name: vars(drift) for name, drift in found},
        },
    )


if __name__ == "__main__":
    main()

"""Quality and time of calibration on a virtual bench with known truth.

    python benchmarks/calibration.py [--scene 256] [--folder KEPT_CAPTURES]

A virtual FlatCam of 1000x1240 pixels sees all Hadamard patterns and their complements, one 12-bit
frame each, from files as a user would have them. Reconstructions with the fitted camera, and
with one fitted to nine tenths of the files, are compared with those of the true one on noisy
captures of a photograph.
"""

import argparse
import resource
import tempfile
import time
import zlib
from pathlib import Path

import torch
from machine import describe, show, write
from photographs import photograph

from barelens.calibration import (
    CaptureFolder,
    FrameFormat,
    PatternSet,
    VirtualBench,
    capture_patterns,
    fit_camera,
)
from barelens.imaging import (
    SeparableGeometry,
    SeparableOperator,
    Tikhonov,
    VirtualCamera,
    m_sequence,
)
from barelens.imaging.bayer import planes_to_rgb, split_bayer
from barelens.imaging.metrics import psnr


def quality(
    virtual: VirtualCamera, exposure_s: float, operator: SeparableOperator, snr_db: float
) -> float:
    """PSNR of the photograph from a capture with white noise at an SNR."""
    scene = photograph(virtual.fine_scene_size[0])
    sensor = virtual.sensor
    gain = virtual.electrons_per_s * exposure_s * sensor.dn_per_e
    light = split_bayer(virtual.light(scene), virtual.bayer) * gain
    light = light / (sensor.white_level_dn - sensor.black_level_dn)
    noise = torch.randn(light.shape, generator=torch.Generator().manual_seed(0))
    capture = light + noise * light.square().mean().sqrt() * 10 ** (-snr_db / 20)
    truth = torch.nn.functional.avg_pool2d(scene, virtual.oversampling)
    rgb = planes_to_rgb(Tikhonov(operator)(capture))
    return float(psnr(rgb, truth, data_range=1.0))


class LossyFolder(CaptureFolder):
    """A folder of which a share of the captures cannot be read."""

    share = 0.1

    def read(self, name: str) -> torch.Tensor | None:
        if zlib.crc32(name.encode()) % 1000 < 1000 * self.share:
            self.problems[name] = f"{name}: lost"
            return None
        return super().read(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", type=int, default=256)
    parser.add_argument("--folder", type=Path, help="keep captures here, or go on with them")
    arguments = parser.parse_args()
    machine = describe()
    size = arguments.scene
    patterns = PatternSet(size, size, size, size)
    profile = m_sequence(8, repeats=2)
    geometry = SeparableGeometry(500, 620, size, size, wavelength_nm=550.0)
    virtual = VirtualCamera(geometry, profile, profile)
    bench = VirtualBench(virtual, patterns)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        capture_patterns(patterns, bench, bench, folder, frames=1, settle_frames=0)
        frame = FrameFormat(virtual.sensor.white_level_dn, virtual.sensor.black_level_dn, "RGGB")
        started = time.perf_counter()
        camera, report = fit_camera(CaptureFolder(folder, frame), frame, name="virtual")
        seconds = time.perf_counter() - started
        memory_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        lossy = LossyFolder(folder, frame)
        from_fewer, _ = fit_camera(lossy, frame, name="virtual", rotation_deg=camera.rotation_deg)
    fitted, fewer, true = (
        camera.operator(),
        from_fewer.operator(),
        virtual.operator(exposure_s=bench.exposure_s).centred(),
    )
    window = camera.window
    assert isinstance(fitted, SeparableOperator) and isinstance(fewer, SeparableOperator)
    whole = from_fewer.window == window and (window.height, window.width) == (500, 620)
    results: dict[str, object] = {
        "frames": 4 * patterns.order,
        "fit_s": seconds,
        "peak_memory_gib": memory_gib,
        "rotation_deg": camera.rotation_deg,
        "crop_is_whole_plane": whole,
        "held_out": {"left": report.left.held_out, "right": report.right.held_out},
    }
    table = []
    if whole:
        for snr_db in (40, 25):
            row = [quality(virtual, bench.exposure_s, op, snr_db) for op in (true, fitted, fewer)]
            names = ("true", "fitted", "fitted_with_a_tenth_lost")
            results[f"psnr_db_at_{snr_db}_db"] = dict(zip(names, row, strict=True))
            table.append((f"{snr_db} dB", *(f"{value:.2f}" for value in row)))
    print(machine)
    show("PSNR of a photograph, dB", ("capture SNR", "true", "fitted", "a tenth lost"), table)
    print(
        f"\n{4 * patterns.order} captures fitted in {seconds:.0f} s, {memory_gib:.1f} GiB at most"
    )
    write("calibration", {"machine": machine, **results})


if __name__ == "__main__":
    main()

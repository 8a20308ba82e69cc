"""Benchmark of trust: what its measures cost, and whether plans come true."""

import math
from dataclasses import replace

import torch
from machine import least_seconds
from trust_cameras import Bench, photo

from barelens.app.batch.flow import keep_freed_memory
from barelens.imaging import (
    SeparableGeometry,
    SeparableOperator,
    Tikhonov,
    VirtualCamera,
    m_sequence,
)
from barelens.imaging.bayer import split_bayer
from barelens.imaging.prediction import posterior_variance
from barelens.imaging.trust import (
    CameraTest,
    LitScene,
    WindowTest,
    check_picture,
    factorise,
    plan_camera,
    split_picture,
)


def cost(bench: Bench) -> dict[str, float]:
    """Time each measure, and the reconstruction whose analysis of the capture serves them all.

    The analysis of the picture serves two of them and is timed alone. Freed memory is kept, as
    it is in batches.
    """
    keep_freed_memory()
    operator = SeparableOperator(
        *(phi.float().expand(4, -1, -1).contiguous() for phi in (bench.left, bench.right))
    ).centred()
    tikhonov = Tikhonov(operator, torch.full((4,), 3e-4))
    factors = tikhonov.factors
    camera, windows = CameraTest(factors), WindowTest(factors, 16)
    noise, prior = torch.full((4,), 0.005), torch.full((4,), 0.3)
    generator = torch.Generator().manual_seed(0)
    capture = 0.01 * torch.randn(operator.capture_shape, generator=generator)
    scene = tikhonov(capture)
    spectral, spectrum = factors.spectral(capture), factors.decompose(scene)
    fit = check_picture(factors, scene, capture, noise, prior)
    steps = {
        "tikhonov": lambda: tikhonov(capture),
        "energy_out_of_range": lambda: factors.unreachable_energy(capture, spectral.coefficients),
        "picture_coefficients": lambda: factors.decompose(scene),
        "split": lambda: split_picture(scene, factors, noise, prior, spectrum=spectrum),
        "closed_form_std": lambda: posterior_variance(factors, noise, prior).sqrt(),
        "camera_p_values": lambda: camera(capture, prior, noise, spectral=spectral),
        "picture_p_value": lambda: check_picture(
            factors, scene, capture, noise, prior, spectral=spectral, spectrum=spectrum
        ),
        "window_test": lambda: windows(fit, relative=True),
    }
    seconds = dict.fromkeys(steps, math.inf)
    # In turns, so that what disturbs the machine disturbs all alike.
    for _ in range(30):
        for name, step in steps.items():
            seconds[name] = min(seconds[name], least_seconds(step, repeats=1, warmup=1))
    return seconds


def planned_psnr() -> dict[str, float]:
    """Planned PSNR less that of photographs taken with the finer, physical, noisy simulation."""
    sequence = m_sequence(8, repeats=2)
    geometry = SeparableGeometry(500, 620, 256, 256, wavelength_nm=550.0)
    camera = VirtualCamera(geometry, sequence, sequence)
    differences = []
    for name in ("astronaut", "camera", "chelsea", "coffee", "coins", "motorcycle"):
        fine = photo(name, camera.fine_scene_size)
        scene = torch.nn.functional.avg_pool2d(fine[None], 2)[0]
        lit = LitScene(mean_level=float(scene.mean()), contrast=float(scene.std()))
        exposure = plan_camera(camera, lit, [0.01]).exposures[0]
        real = replace(camera, electrons_per_s=lit.electrons_per_s(geometry))
        raw = real.capture(fine.expand(3, -1, -1), exposure_s=0.01, seed=0)
        green = split_bayer(camera.sensor.to_linear(raw, dtype=torch.float64), "RGGB")[1]
        operator = real.operator(exposure_s=0.01, dtype=torch.float64).centred()
        factors = factorise(operator)
        coefficients = factors.analyse(green)
        squares = factors.gains.square()
        best = min(
            float(
                (factors.synthesise(factors.gains / (squares + p) * coefficients) - scene)
                .square()
                .mean()
            )
            for p in squares.max() * torch.logspace(-5, -0.5, 19, dtype=torch.float64)
        )
        differences.append(exposure.psnr_db + 10 * math.log10(best))
    return {
        "mean_db": sum(differences) / len(differences),
        "lowest_db": min(differences),
        "highest_db": max(differences),
    }

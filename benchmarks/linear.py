"""Speed of linear reconstruction against named limits and, where given, LenslessPiCam.

    python benchmarks/linear.py [--peer PEER_ENVIRONMENT/bin/python] [--device cuda]

Tikhonov runs on 4 planes of 500x620 to 256x256, of the bundled FlatCam, which has fewer modes than
samples, and as if it had as many; FISTA and ADMM run 100 iterations
on the bundled real hand, averaged to 300x400. Times are the least of several repeats, for all
sides alike, and only their ratios matter.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe, least_seconds, show, write

from barelens import data
from barelens.calibration import Camera
from barelens.imaging import (
    ConvolutionOperator,
    SeparableFactors,
    SeparableOperator,
    Tikhonov,
    admm_tv,
    fista,
    operator_norm,
    total_variation,
)
from barelens.imaging.files import read_raw

ITERATIONS = 100
TV_WEIGHT = 1e-4  # LenslessPiCam's default, with its PSF at unit norm
PENALTY = 1e-2
PLANES = (4, 500, 620)
ALL_MODES = "one frame, all 256 modes"


def separable() -> SeparableOperator:
    """Take the bundled FlatCam, with a pair of matrices for each plane."""
    camera = Camera.load(data.path("flatcam/camera.safetensors"))
    operator = camera.operator(dtype=torch.float32)
    assert isinstance(operator, SeparableOperator)
    return SeparableOperator(
        operator.phi_left.expand(4, -1, -1).contiguous(),
        operator.phi_right.expand(4, -1, -1).contiguous(),
    )


def hand() -> tuple[torch.Tensor, torch.Tensor]:
    """PSF of unit norm and capture of peak 1 of the real diffuser camera, 300x400."""
    camera = Camera.load(data.path("diffusercam/camera.safetensors"))
    assert camera.psf is not None
    capture = camera.prepare(read_raw(data.path("diffusercam/hand.tif")))[0]
    psf, capture = (
        torch.nn.functional.avg_pool2d(image[None, None], 2)[0, 0]
        for image in (camera.psf, capture)
    )
    return psf / psf.norm(), capture / capture.max()


def measure_tikhonov(planes: torch.Tensor, device: str) -> dict[str, float]:
    """Seconds a frame of the cached reconstruction and of its limits."""
    tikhonov, whole = Tikhonov(separable_on(device), PENALTY), full_rank(device)
    factors = tikhonov.factors
    frame = planes.to(device)
    left, right = factors.u_left.mT.contiguous(), factors.v_right.mT.contiguous()
    large = torch.randn(2048, 2048, device=device)
    seconds = {
        "four bare products": least_seconds(
            lambda: factors.v_left @ (left @ (frame @ factors.u_right)) @ right,
            repeats=50,
            device=device,
        ),
        "one frame": least_seconds(lambda: tikhonov(frame), repeats=50, device=device),
        ALL_MODES: least_seconds(lambda: whole(frame), repeats=50, device=device),
        "2048x2048 product": least_seconds(lambda: large @ large, repeats=10, device=device),
    }
    automatic = Tikhonov(separable_on(device), "gcv")
    seconds["one frame, GCV"] = least_seconds(lambda: automatic(frame), repeats=10, device=device)
    for batch in (32,) if device == "cpu" else (16, 256):
        frames = frame.expand(batch, *PLANES).contiguous()
        seconds[f"a frame of a batch of {batch}"] = (
            least_seconds(lambda frames=frames: tikhonov(frames), repeats=15, device=device) / batch
        )
    return seconds


def separable_on(device: str) -> SeparableOperator:
    """Move the separable camera to a device."""
    operator = separable()
    return SeparableOperator(operator.phi_left.to(device), operator.phi_right.to(device))


def full_rank(device: str) -> Tikhonov:
    """Give the same reconstruction through all modes, as of a camera that sees each."""
    operator = separable_on(device)
    return Tikhonov(operator, PENALTY, factors=SeparableFactors.of(operator))


def arithmetic(factors: SeparableFactors) -> float:
    """Floating-point operations of one frame's four products."""
    channels, height, width = PLANES
    rows, columns = factors.scene_shape[-2:]
    down, across = factors.gains.shape[-2:]
    analysis = height * width * across + down * height * across
    return 2.0 * channels * (analysis + rows * down * across + rows * across * columns)


def measure_iterative(device: str) -> dict[str, dict[str, float]]:
    """Seconds and objectives after 100 iterations on the real hand."""
    psf, capture = (image.to(device) for image in hand())
    operator = ConvolutionOperator(psf)
    norm = 1.01 * operator_norm(operator, device=device)
    runs = {
        "FISTA": lambda: fista(operator, capture, iterations=ITERATIONS, norm=norm),
        "ADMM-TV": lambda: admm_tv(
            operator, capture, weight=TV_WEIGHT, kind="anisotropic", iterations=ITERATIONS
        ),
    }
    return {
        name: {
            "seconds": least_seconds(run, repeats=15, warmup=2, device=device),
            "objective": objective(operator, capture, run().scene, name),
            "residual": float(run().residuals[-1]),
        }
        for name, run in runs.items()
    }


def measure_to_objective(wanted: float) -> dict[str, float]:
    """Seconds and iterations until FISTA is as low as a peer was after 100 iterations."""
    psf, capture = hand()
    operator = ConvolutionOperator(psf)
    norm = 1.01 * operator_norm(operator)
    for iterations in range(5, ITERATIONS + 1, 5):

        def run(iterations: int = iterations) -> torch.Tensor:
            return fista(operator, capture, iterations=iterations, norm=norm).scene

        reached = objective(operator, capture, run(), "FISTA")
        if reached <= wanted:
            seconds = least_seconds(run, repeats=15, warmup=2)
            return {"seconds": seconds, "iterations": iterations, "objective": reached}
    return {}


def objective(
    operator: ConvolutionOperator, capture: torch.Tensor, scene: torch.Tensor, name: str
) -> float:
    """0.5 ||A x - y||^2, plus total variation for ADMM, of a scene made feasible."""
    scene = scene.clamp_min(0)
    misfit = 0.5 * (operator.forward(scene) - capture).square().sum()
    if name == "ADMM-TV":
        misfit = misfit + TV_WEIGHT * total_variation(scene, kind="anisotropic")
    return float(misfit)


def measure_peer(python: Path, planes: torch.Tensor) -> dict[str, dict[str, float]]:
    """Run LenslessPiCam in its environment and judge its scenes by our objective."""
    psf, capture = hand()
    camera = separable()
    operator = ConvolutionOperator(psf)
    field = ConvolutionOperator(psf, sensor_size=(300, 400), scene_size=(600, 800))
    script = Path(__file__).parent / "peers" / "lenslesspicam.py"
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(
            source,
            psf=psf,
            capture=capture,
            iterations=ITERATIONS,
            tau=TV_WEIGHT,
            phi_left=camera.phi_left[0],
            phi_right=camera.phi_right[0],
            planes=planes,
            penalty=PENALTY,
        )
        subprocess.run([python, script, source, target], check=True)
        with np.load(target) as arrays:
            outputs = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    results: dict[str, dict[str, float]] = {}
    for key in sorted(name.removesuffix("_seconds") for name in outputs if "_seconds" in name):
        results[key] = {"seconds": float(outputs[f"{key}_seconds"].min())}
        scene = outputs[f"{key}_scene"]
        if key.startswith("fista"):
            # With "ortho" its scenes are larger by the root of its padded grid.
            scene = scene / (600 * 800) ** 0.5 if "ortho" in key else scene
            results[key]["objective"] = objective(operator, capture, scene, "FISTA")
            image = operator.forward(scene.clamp_min(0))
            results[key]["residual"] = float((image - capture).norm() / capture.norm())
        elif key.startswith("admm"):
            # The better of its whole field and of its scene, each clipped to be feasible.
            results[key]["objective"] = min(
                objective(operator, capture, scene, "ADMM-TV"),
                objective(field, capture, outputs[f"{key}_field"], "ADMM-TV"),
            )
    return results


def tikhonov_rows(seconds: dict[str, float], peer: dict[str, Any]) -> list[tuple[str, ...]]:
    """Lay out the closed form."""
    floor = seconds["four bare products"]
    peak = 2 * 2048**3 / seconds["2048x2048 product"]
    whole = SeparableFactors.of(separable())
    rows = []
    for name, value in seconds.items():
        if name == "2048x2048 product":
            continue
        work = arithmetic(whole if name == ALL_MODES else whole.trimmed())
        share = f"{work / value / peak:.0%}"
        rows.append((name, f"{1e3 * value:.2f}", f"{1 / value:.0f}", f"{value / floor:.2f}", share))
    for name in (key for key in peer if key.startswith("tikhonov")):
        value = peer[name]["seconds"]
        label = f"LenslessPiCam, {name.split('_')[1]}"
        rows.append((label, f"{1e3 * value:.2f}", f"{1 / value:.0f}", f"{value / floor:.2f}", ""))
    return rows


def iterative_rows(ours: dict[str, Any], peer: dict[str, Any]) -> list[tuple[str, ...]]:
    """Lay out the iterative solvers, each group against ours."""
    rows = []
    for name, prefix in (("FISTA", "fista"), ("ADMM-TV", "admm")):
        base = ours[name]["seconds"]
        rows.append((f"{name}, barelens", f"{base:.3f}", "1.00", f"{ours[name]['objective']:.3f}"))
        for key in (key for key in peer if key.startswith(prefix)):
            label = f"{name}, LenslessPiCam {' '.join(key.split('_')[1:])}"
            value = peer[key]["seconds"]
            score = f"{peer[key]['objective']:.3f}"
            rows.append((label, f"{value:.3f}", f"{value / base:.2f}", score))
    if ours.get("FISTA to the peer's objective"):
        short = ours["FISTA to the peer's objective"]
        label = f"FISTA, barelens, {short['iterations']:.0f} iterations"
        ratio = f"{short['seconds'] / ours['FISTA']['seconds']:.2f}"
        rows.append((label, f"{short['seconds']:.3f}", ratio, f"{short['objective']:.3f}"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, help="Python of LenslessPiCam's environment")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    machine = describe(arguments.device)
    torch.manual_seed(0)
    planes = torch.rand(PLANES)
    peer = measure_peer(arguments.peer, planes) if arguments.peer else {}
    tikhonov = measure_tikhonov(planes, arguments.device)
    iterative = measure_iterative(arguments.device)
    if peer and arguments.device == "cpu":
        wanted = min(peer[key]["objective"] for key in peer if key.startswith("fista"))
        iterative["FISTA to the peer's objective"] = measure_to_objective(wanted)
    print(machine)
    modes = list(SeparableFactors.of(separable()).trimmed().gains.shape[-2:])
    show(
        f"Tikhonov, 4 planes of 500x620 to 256x256, {modes[0]}x{modes[1]} modes",
        ("what", "ms", "frames/s", "over bare products", "of this machine's product peak"),
        tikhonov_rows(tikhonov, peer),
    )
    show(
        "100 iterations on the real hand, 300x400",
        ("what", "s", "over barelens", "objective"),
        iterative_rows(iterative, peer),
    )
    name = "linear" if arguments.device == "cpu" else f"linear-{arguments.device}"
    write(
        name,
        {
            "machine": machine,
            "modes": modes,
            "tikhonov": tikhonov,
            "iterative": iterative,
            "peer": peer,
        },
    )


if __name__ == "__main__":
    main()

"""End-to-end rate of batches.

    python benchmarks/batch.py [--captures 100] [--trusted 12]

The rate is measured on the three bundled 16-bit FlatCam captures over and over, as PNG and as NPY,
against each stage alone and against its bound: decoding and the bare reconstruction of
benchmarks/linear.py, which no batch can do without.
"""

import argparse
import resource
import tempfile
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from linear import PENALTY, PLANES, full_rank, separable_on
from machine import describe, show, write

from barelens import Pipeline, data
from barelens.app.batch.flow import map_ahead, one_thread_each, processors
from barelens.app.pipeline import LinearSettings
from barelens.app.pipeline_files import write_reconstruction
from barelens.imaging import Tikhonov
from barelens.imaging.files import read_raw

WARM = 6  # captures before the clock starts, while libraries are imported
PAGE = resource.getpagesize()


def links(folder: Path, files: list[Path], number: int) -> Path:
    """Fill a folder with as many names of a few files as wanted."""
    folder.mkdir()
    for index in range(number):
        file = files[index % len(files)]
        (folder / f"capture-{index:06d}{file.suffix}").hardlink_to(file)
    return folder


def copied(folder: Path, kind: str) -> list[Path]:
    """Copy the bundled captures, or convert them, to where they can be linked to."""
    folder.mkdir()
    paths = [folder / f"{number}.{kind}" for number in (6, 7, 8)]
    for path in paths:
        original = data.path(f"flatcam/fc_{path.stem}.png")
        if kind == "npy":
            np.save(path, read_raw(original).numpy())
        else:
            path.write_bytes(original.read_bytes())
    return paths


def resident_mib() -> float:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 2**20


def timed(run: Callable[[], object], captures: int) -> dict[str, float]:
    """Seconds a capture of the clock, and of the processors of this process alone."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return {
        "seconds": (time.perf_counter() - wall) / captures,
        "processor_seconds": (time.process_time() - processor) / captures,
    }


def measure_rate(root: Path, captures: int, trusted: int) -> dict[str, Any]:
    """Seconds a capture of the stages and of the whole, on real captures."""
    folders = {
        kind: links(root / kind, copied(root / f"{kind}-originals", kind), captures)
        for kind in ("png", "npy")
    }
    pipeline = Pipeline(data.path("flatcam/camera.safetensors"), _fixed(), trust=False)
    memory: list[float] = []

    def whole(name: str, kind: str, number: int, ran: Pipeline = pipeline) -> dict[str, float]:
        paths = sorted(folders[kind].iterdir())
        ran.run(paths[:WARM], root / f"warm {name}")
        return timed(
            lambda: ran.run(
                paths[:number],
                root / f"out {name}",
                on_progress=lambda _: memory.append(resident_mib()),
                on_error=_refuse,
            ),
            number,
        )

    rates = measure_stages(root, pipeline, folders)
    rates |= {f"end to end, {kind.upper()}": whole(kind, kind, captures) for kind in folders}
    resident = {"after a tenth": memory[captures // 10], "at the end": memory[-1]}
    others = {
        "end to end with pictures, PNG": Pipeline(
            pipeline.camera, _fixed(), trust=False, previews=True
        ),
        "end to end, penalty by GCV, PNG": Pipeline(pipeline.camera, trust=False),
    }
    rates |= {name: whole(name, "png", captures, ran) for name, ran in others.items()}
    name = "end to end with trust, PNG"
    rates[name] = whole(name, "png", trusted, Pipeline(pipeline.camera, _fixed()))
    return {
        "captures": captures,
        "captures_with_trust": trusted,
        "processors": processors(),
        "a_capture": rates,
        "share_of_the_bound": {
            kind: {clock: _share(rates, kind, clock) for clock in rates["bare reconstruction"]}
            for kind in ("PNG", "NPY")
        },
        "resident_mib": resident,
    }


def measure_stages(
    root: Path, pipeline: Pipeline, folders: dict[str, Path]
) -> dict[str, dict[str, float]]:
    """Seconds a capture of each stage alone, in as many threads as there are processors."""
    linear = pipeline.work.linear
    paths = {kind: sorted(folder.iterdir()) for kind, folder in folders.items()}
    raw = read_raw(paths["png"][0])
    levels, scene = linear.check(raw), linear(raw)
    planes, tikhonov = torch.rand(PLANES), Tikhonov(separable_on("cpu"), PENALTY)
    whole = full_rank("cpu")
    results = root / "results"
    results.mkdir()

    def save(path: Path) -> None:
        write_reconstruction(
            results / path.stem,
            path.name,
            raw,
            levels,
            scene,
            linear,
            seconds=0.0,
            preview=False,
            trust=False,
        )

    stages: dict[str, tuple[Callable[[Path], object], str]] = {
        "bare reconstruction": (lambda _: tikhonov(planes), "png"),
        "the same, all 256 modes": (lambda _: whole(planes), "png"),
        "decoding, PNG": (read_raw, "png"),
        "decoding, NPY": (read_raw, "npy"),
        "checks of the capture": (lambda _: linear.check(raw), "png"),
        "levels, turning, reconstruction, colour": (lambda _: linear(raw), "png"),
        "writing": (save, "png"),
    }
    rates = {}
    with one_thread_each(), ThreadPoolExecutor(processors()) as pool:
        for name, (stage, kind) in stages.items():
            _each(pool, stage, paths[kind][:WARM])
            rates[name] = timed(
                lambda stage=stage, kind=kind: _each(pool, stage, paths[kind]), len(paths[kind])
            )
    return rates


def _each(pool: Executor, stage: Callable[[Path], object], paths: list[Path]) -> None:
    """Run a stage; results that were kept would cost new memory for each, as they do no batch."""
    deque(map_ahead(pool, stage, paths, 4), maxlen=0)


def _refuse(origin: str, error: Exception) -> None:
    raise SystemExit(f"{origin}: {error}")


def _share(rates: dict[str, dict[str, float]], kind: str, clock: str) -> float:
    """How near the whole comes to decoding and reconstructing alone."""
    bound = rates["bare reconstruction"][clock] + rates[f"decoding, {kind}"][clock]
    return bound / rates[f"end to end, {kind}"][clock]


def _fixed() -> LinearSettings:
    return LinearSettings(penalty=PENALTY)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captures", type=int, default=100)
    parser.add_argument("--trusted", type=int, default=12)
    arguments = parser.parse_args()
    machine = describe()
    with tempfile.TemporaryDirectory() as folder:
        rate = measure_rate(Path(folder), arguments.captures, arguments.trusted)
    show(
        "Real captures of 1024x1280, 16 bits",
        ("what", "ms a capture", "ms of processor"),
        [
            (name, f"{1e3 * of['seconds']:.1f}", f"{1e3 * of['processor_seconds']:.1f}")
            for name, of in rate["a_capture"].items()
        ],
    )
    show(
        "Decoding and bare reconstruction, of the whole",
        ("captures", "by the clock", "of the processor"),
        [
            (kind, f"{of['seconds']:.0%}", f"{of['processor_seconds']:.0%}")
            for kind, of in rate["share_of_the_bound"].items()
        ],
    )
    write("batch", {"machine": machine, **rate})


if __name__ == "__main__":
    main()

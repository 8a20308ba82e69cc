"""End-to-end rate, memory and crash safety of batches.

    python benchmarks/batch.py [--captures 100] [--small-captures 10000] [--kills 20]

The rate is measured on the three bundled 16-bit FlatCam captures over and over, against the bare
reconstruction of benchmarks/linear.py and against each stage alone, so that it shows what bounds
it. Memory is sampled over many small captures, and a run of them is killed at random times.
"""

import argparse
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet
import torch
from linear import PENALTY, PLANES, separable_on
from machine import describe, show, write

from barelens import Pipeline, data
from barelens.app.pipeline import LinearSettings
from barelens.app.pipeline_files import write_reconstruction
from barelens.calibration import Camera
from barelens.imaging import Tikhonov
from barelens.imaging.files import read_raw, read_tiff16, write_raw_png16

SMALL_SENSOR, SMALL_SCENE = (24, 30), (8, 10)
PAGE = resource.getpagesize()


def links(folder: Path, files: list[Path], number: int) -> Path:
    """Fill a folder with as many names of a few files as wanted."""
    folder.mkdir()
    for index in range(number):
        (folder / f"capture-{index:06d}.png").hardlink_to(files[index % len(files)])
    return folder


def copied(folder: Path) -> list[Path]:
    """Copy the bundled captures to where they can be linked to."""
    folder.mkdir()
    paths = [folder / f"{number}.png" for number in (6, 7, 8)]
    for path in paths:
        path.write_bytes(data.path(f"flatcam/fc_{path.name}").read_bytes())
    return paths


def small_camera() -> Camera:
    """Make a camera of a few pixels, for what does not depend on their number."""
    rng = torch.Generator().manual_seed(0)
    return Camera(
        "small",
        frame_shape=SMALL_SENSOR,
        white_level=65535.0,
        phi_left=torch.rand(SMALL_SENSOR[0], SMALL_SCENE[0], generator=rng) / SMALL_SCENE[0],
        phi_right=torch.rand(SMALL_SENSOR[1], SMALL_SCENE[1], generator=rng) / SMALL_SCENE[1],
    )


def small_captures(folder: Path, camera: Camera) -> list[Path]:
    """Write a few captures of random scenes."""
    folder.mkdir()
    rng = torch.Generator().manual_seed(1)
    light = camera.operator().forward(torch.rand(8, *SMALL_SCENE, generator=rng))
    paths = [folder / f"{index}.png" for index in range(len(light))]
    for path, frame in zip(paths, light, strict=True):
        write_raw_png16(path, (frame.clamp(0, 0.99) * 65535).round().int())
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


def in_threads(work: Callable[[Path], object], paths: list[Path], threads: int) -> None:
    """Do one stage alone, as many captures at once as the batch does."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, paths):
            pass


def measure_rate(root: Path, captures: int, trusted: int) -> dict[str, Any]:
    """Seconds a capture of the stages and of the whole, on real captures."""
    folder = links(root / "real", copied(root / "originals"), captures)
    paths = sorted(folder.iterdir())
    pipeline = Pipeline(data.path("flatcam/camera.safetensors"), _fixed(), trust=False)
    linear, threads = pipeline.work.linear, pipeline.threads
    raw = read_raw(paths[0])
    levels, scene = linear.check(raw), linear(raw)
    planes, tikhonov = torch.rand(PLANES), Tikhonov(separable_on("cpu"), PENALTY)
    few = Pipeline(pipeline.camera, _fixed())
    results = root / "results"
    results.mkdir()

    def save(path: Path) -> None:
        write_reconstruction(
            results / path.stem, path.name, raw, levels, scene, linear, seconds=0.0, trust=False
        )

    def repeat(run: Callable[[], object]) -> None:
        for _ in paths:
            run()

    memory: list[float] = []
    stages = {
        "bare reconstruction": lambda: repeat(lambda: tikhonov(planes)),
        "levels, turning, reconstruction, colour": lambda: repeat(lambda: linear(raw)),
        "checks of the capture": lambda: repeat(lambda: linear.check(raw)),
        "decoding, all threads": lambda: in_threads(read_raw, paths, threads),
        "writing, all threads": lambda: in_threads(save, paths, threads),
        "end to end": lambda: pipeline.run(
            paths, root / "out", on_progress=lambda _: memory.append(resident_mib())
        ),
    }
    rates = {name: timed(stage, captures) for name, stage in stages.items()}
    rates["end to end, with trust"] = timed(lambda: few.run(paths[:trusted], root / "t"), trusted)
    return {
        "captures": captures,
        "captures_with_trust": trusted,
        "threads": threads,
        "batch_size": pipeline.size.value,
        "a_capture": rates,
        "resident_mib": {"after a tenth": memory[captures // 10], "at the end": memory[-1]},
    }


def _fixed() -> LinearSettings:
    return LinearSettings(penalty=PENALTY)


def measure_memory(root: Path, captures: int) -> dict[str, Any]:
    """Memory of the process over many small captures."""
    camera = small_camera()
    folder = links(root / "many", small_captures(root / "small", camera), captures)
    memory: list[float] = []
    ran = Pipeline(camera, trust=False).run(
        folder, root / "many-out", on_progress=lambda _: memory.append(resident_mib())
    )
    marks = (captures // 100, captures // 10, captures // 4, captures // 2, captures - 1)
    return {
        "captures": ran.done,
        "seconds": ran.seconds,
        "resident_mib": {str(mark + 1): memory[mark] for mark in marks},
    }


def measure_kills(root: Path, captures: int, kills: int) -> dict[str, Any]:
    """Kill a run again and again at random times, let it end, and look at what it left."""
    camera, out = small_camera(), root / "killed-out"
    camera.save(root / "camera.safetensors")
    folder = links(root / "killed", small_captures(root / "few", camera), captures)
    command = [sys.executable, "-m", "barelens.app", "batch", str(folder), "--no-trust"]
    command += ["--camera", str(root / "camera.safetensors"), "--out", str(out)]
    rng = random.Random(0)
    before: dict[str, int] = {}
    twice, at = 0, []
    for _ in range(kills):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for moment in _running(run, out, rng):
            time.sleep(moment)
        run.send_signal(signal.SIGKILL)
        if run.wait() != -signal.SIGKILL:
            raise SystemExit("a run ended before it could be killed: take more captures")
        after = _finished(out)
        twice += sum(after.get(name) != stamp for name, stamp in before.items())
        before = after
        at.append(len(after))
    subprocess.run(command, check=True)
    after = _finished(out)
    twice += sum(after.get(name) != stamp for name, stamp in before.items())
    rows = pyarrow.parquet.read_table(out / "manifest.parquet").to_pylist()
    return {
        "captures": captures,
        "kills": kills,
        "finished_at_each_kill": at,
        "lost": captures - len({row["name"] for row in rows if row["error"] is None}),
        "rows_too_many": len(rows) - len({row["name"] for row in rows}),
        "done_twice": twice,
        "half_files": sum(not _whole(out / row["name"]) for row in rows)
        + len(list(out.glob(".barelens-*"))),
    }


def _running(run: subprocess.Popen[bytes], out: Path, rng: random.Random) -> Iterator[float]:
    """Wait for a run to write its first result, then for a random time; or not at all."""
    if rng.random() < 0.1:
        yield rng.uniform(0, 3)  # while it is starting
        return
    start = len(_finished(out))
    while run.poll() is None and len(_finished(out)) == start:
        yield 0.005
    yield rng.uniform(0, 0.5)


def _finished(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*.linear.json")}


def _whole(target: Path) -> bool:
    try:
        read_raw(target.with_name(f"{target.name}.linear.png"))
        return read_tiff16(target.with_name(f"{target.name}.linear.tif")).shape == SMALL_SCENE
    except ValueError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captures", type=int, default=100)
    parser.add_argument("--trusted", type=int, default=12)
    parser.add_argument("--small-captures", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    arguments = parser.parse_args()
    machine = describe()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rate = measure_rate(root, arguments.captures, arguments.trusted)
        bare = rate["a_capture"]["bare reconstruction"]["seconds"]
        show(
            "Real captures of 1024x1280, 16-bit PNG",
            ("what", "ms a capture", "ms of processor", "of the bare rate"),
            [
                (
                    name,
                    f"{1e3 * of['seconds']:.1f}",
                    f"{1e3 * of['processor_seconds']:.1f}",
                    f"{bare / of['seconds']:.0%}",
                )
                for name, of in rate["a_capture"].items()
            ],
        )
        memory = measure_memory(root, arguments.small_captures)
        show(
            "Resident memory over small captures",
            ("captures", "MiB"),
            [(number, f"{value:.1f}") for number, value in memory["resident_mib"].items()],
        )
        kills = measure_kills(root, 60 * arguments.kills, arguments.kills)
        show("Killed", tuple(kills), [tuple(str(value) for value in kills.values())])
    write("batch", {"machine": machine, "rate": rate, "memory": memory, "kills": kills})


if __name__ == "__main__":
    main()

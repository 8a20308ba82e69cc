"""Memory and crash safety of batches.

    python benchmarks/batch_safety.py [--captures 10000] [--kills 20]

Memory is sampled over many small captures, and a run of them is killed at random times.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import torch
from batch import links, resident_mib
from machine import describe, show, write

from barelens import Pipeline
from barelens.calibration import Camera
from barelens.imaging.files import read_tiff16, write_raw_png16

SMALL_SENSOR, SMALL_SCENE = (24, 30), (8, 10)


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
        json.loads(target.with_name(f"{target.name}.linear.json").read_text())
        return read_tiff16(target.with_name(f"{target.name}.linear.tif")).shape == SMALL_SCENE
    except ValueError:
        return False


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captures", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    arguments = parser.parse_args()
    machine = describe()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        memory = measure_memory(root, arguments.captures)
        show(
            "Resident memory over small captures",
            ("captures", "MiB"),
            [(number, f"{value:.1f}") for number, value in memory["resident_mib"].items()],
        )
        kills = measure_kills(root, 200 * arguments.kills, arguments.kills)
        show("Killed", tuple(kills), [tuple(str(value) for value in kills.values())])
    write("batch_safety", {"machine": machine, "memory": memory, "kills": kills})


if __name__ == "__main__":
    main()

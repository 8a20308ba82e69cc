"""What every benchmark says of the machine, how it times, and how it writes its results."""

import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def describe(device: str = "cpu") -> dict[str, Any]:
    """Name the machine and the versions, and how busy other programs kept it at the start."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "barelens": version("barelens"),
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def least_seconds(
    run: Callable[[], object], *, repeats: int, warmup: int = 3, device: str = "cpu"
) -> float:
    """Time a call several times after a warm-up and take the least disturbed one."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    for _ in range(warmup):
        run()
    seconds = []
    for _ in range(repeats):
        wait()
        started = time.perf_counter()
        run()
        wait()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def show(title: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a table in Markdown."""
    print(f"\n{title}\n")
    for row in (header, ("---",) * len(header), *rows):
        print("| " + " | ".join(row) + " |")


def write(name: str, record: dict[str, Any]) -> None:
    """Write results beside the benchmarks."""
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{name}.json"
    target.write_text(json.dumps(record, indent=2) + "\n")
    print(f"\nwritten to {target}")

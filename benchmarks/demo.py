"""The web demo: how fast it starts and answers, and what twenty visitors at once do to it.

    python benchmarks/demo.py [--parts start answers crowd] [--seconds 300] [--visitors 20]

The demo runs as `barelens demo` in a process of its own, on loopback. Each visitor reconstructs a
bundled capture with the trust maps, waits for the zip, and starts again. Where this installation
has a refiner or a model for people, the whole pipeline includes them; the record says which. Parts
that are not measured stay in the record as they were.
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
from gradio_client import Client
from machine import RESULTS, describe, show, write

from barelens.app.stages.choices import STAGES, missing_stages

PARTS = ("start", "answers", "crowd")


@contextmanager
def served() -> Iterator[tuple[str, float, psutil.Process]]:
    """Run the demo; give its address, the seconds to its first page, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "barelens.app", "demo", "--port", str(port)]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            while not answers(address):
                if server.poll() is not None:
                    raise SystemExit("the demo did not start")
                time.sleep(0.02)
            yield address, time.perf_counter() - started, psutil.Process(server.pid)
        finally:
            server.terminate()


def answers(address: str) -> bool:
    """Whether the page is there."""
    try:
        return httpx.get(address, timeout=30).status_code == 200
    except httpx.ConnectError:
        return False


def cpu_seconds(process: psutil.Process) -> float:
    """How long a process has computed; a busy machine does not lengthen that much."""
    times = process.cpu_times()
    return float(times.user + times.system)


def gradio_seconds() -> float:
    """How long importing Gradio alone takes."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import gradio"], check=True)
    return time.perf_counter() - started


def timed(client: Client, **arguments: Any) -> tuple[float, dict[str, Any]]:
    """Call /reconstruct; give the seconds a visitor waits, and the record."""
    started = time.perf_counter()
    record, _ = client.predict(**arguments, api_name="/reconstruct")
    return time.perf_counter() - started, record


def measure_start(starts: int = 5) -> dict[str, Any]:
    """How long the first page takes, and what of that is Gradio."""
    first_pages = []
    for _ in range(starts):
        with served() as (_, seconds, process):
            first_pages.append((seconds, cpu_seconds(process)))
    return {
        "first_page_s": min(wall for wall, _ in first_pages),
        "first_page_cpu_s": min(cpu for _, cpu in first_pages),
        "import_gradio_s": min(gradio_seconds() for _ in range(3)),
    }


def measure_answers() -> dict[str, Any]:
    """How long a lone visitor waits."""
    with served() as (address, _, _):
        client = Client(address, verbose=False, download_files=False)
        first, _ = timed(client, example="fc_8", stages=[])
        linear = [timed(client, example="fc_8", stages=[]) for _ in range(5)]
        stages = [stage for stage in STAGES if stage not in missing_stages()]
        timed(client, example="fc_8", stages=stages)  # loads the models
        whole, record = timed(client, example="fc_8", stages=stages)
    return {
        "first_linear_s": first,
        "linear_s": min(waited for waited, _ in linear),
        "linear_computing_s": min(each["seconds"]["linear"] for _, each in linear),
        "whole_s": whole,
        "whole_stages_s": record["seconds"],
        "not_installed": sorted(missing_stages()),
    }


def measure_crowd(visitors: int, seconds: float) -> dict[str, Any]:
    """What many visitors at once do to it."""
    with served() as (address, _, process):
        timed(Client(address, verbose=False, download_files=False), example="fc_8")
        before = process.memory_info().rss
        crowded = crowd(address, visitors, seconds)
        after = process.memory_info().rss
    return {**crowded, "memory_mb": [round(before / 1e6), round(after / 1e6)]}


def crowd(address: str, visitors: int, seconds: float) -> dict[str, Any]:
    """Let visitors come back again and again; count what happens to them."""
    waits: list[float] = []
    outcomes: Counter[str] = Counter()
    end = time.perf_counter() + seconds

    def visit(number: int) -> None:
        client = Client(address, verbose=False, download_files=False)
        while time.perf_counter() < end:
            try:
                waited, _ = timed(client, example=f"fc_{6 + number % 3}")
                waits.append(waited)
                outcomes["served"] += 1
            except Exception as error:  # whatever it is, it is what the benchmark counts
                full = "queue is full" in str(error).lower()
                outcomes["queue full" if full else f"{type(error).__name__}: {error}"] += 1
                time.sleep(1.0)

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(visitors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ordered = sorted(waits)
    return {
        "visitors": visitors,
        "seconds": seconds,
        "outcomes": dict(outcomes),
        "served_per_s": outcomes["served"] / seconds,
        "wait_median_s": statistics.median(ordered) if ordered else None,
        "wait_95_percent_s": ordered[int(0.95 * len(ordered))] if ordered else None,
    }


def measured_before() -> dict[str, Any]:
    """Read what earlier runs found."""
    path = RESULTS / "demo.json"
    record = json.loads(path.read_text()) if path.exists() else {}
    return {part: record[part] for part in PARTS if part in record}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--visitors", type=int, default=20)
    args = parser.parse_args()
    measure: dict[str, Callable[[], dict[str, Any]]] = {
        "start": measure_start,
        "answers": measure_answers,
        "crowd": lambda: measure_crowd(args.visitors, args.seconds),
    }
    record = measured_before()
    for part in args.parts:
        record[part] = {"machine": describe(), **measure[part]()}
        rows = [(name, str(value)) for name, value in record[part].items() if name != "machine"]
        show(f"Web demo: {part}", ("what", "measured"), rows)
    write("demo", record)


if __name__ == "__main__":
    main()

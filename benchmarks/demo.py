"""The web demo: how fast it starts and answers, and what twenty visitors at once do to it.

    python benchmarks/demo.py [--seconds 300] [--visitors 20]

The demo runs as `barelens demo` in a process of its own, on loopback. Each visitor reconstructs a
bundled capture with the trust maps, waits for the zip, and starts again. Where this installation
has a refiner or a model for people, the whole pipeline includes them; the record says which.
"""

import argparse
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
from gradio_client import Client
from machine import describe, show, write

from barelens.app.stages.choices import STAGES, missing_stages


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


def measure(visitors: int, seconds: float) -> dict[str, Any]:
    """Measure everything once."""
    starts = []
    for _ in range(2):
        with served() as (_, to_first_page, process):
            starts.append((to_first_page, cpu_seconds(process)))
    with served() as (address, to_first_page, process):
        starts.append((to_first_page, cpu_seconds(process)))
        client = Client(address, verbose=False, download_files=False)
        first, _ = timed(client, example="fc_8", stages=[])
        linear = [timed(client, example="fc_8", stages=[]) for _ in range(5)]
        stages = [stage for stage in STAGES if stage not in missing_stages()]
        timed(client, example="fc_8", stages=stages)  # loads the models
        whole, record = timed(client, example="fc_8", stages=stages)
        before = process.memory_info().rss
        crowded = crowd(address, visitors, seconds)
        return {
            "first_page_s": min(wall for wall, _ in starts),
            "first_page_cpu_s": min(cpu for _, cpu in starts),
            "import_gradio_s": min(gradio_seconds() for _ in range(3)),
            "first_linear_s": first,
            "linear_s": min(waited for waited, _ in linear),
            "linear_computing_s": min(each["seconds"]["linear"] for _, each in linear),
            "whole_s": whole,
            "whole_stages_s": record["seconds"],
            "not_installed": sorted(missing_stages()),
            "crowd": crowded,
            "memory_mb": [round(before / 1e6), round(process.memory_info().rss / 1e6)],
        }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--visitors", type=int, default=20)
    args = parser.parse_args()
    machine = describe()
    result = measure(args.visitors, args.seconds)
    crowded = result["crowd"]
    show(
        "Web demo",
        ("what", "measured"),
        [
            ("start to first page", f"{result['first_page_s']:.2f} s"),
            ("of that computing", f"{result['first_page_cpu_s']:.2f} s"),
            ("importing Gradio as it comes", f"{result['import_gradio_s']:.2f} s"),
            ("very first linear result", f"{result['first_linear_s']:.2f} s"),
            ("linear result, with zip", f"{result['linear_s']:.2f} s"),
            ("whole pipeline", f"{result['whole_s']:.2f} s"),
            (f"{args.visitors} visitors", str(crowded["outcomes"])),
            ("their median wait", f"{crowded['wait_median_s'] or float('nan'):.2f} s"),
            ("memory before and after", f"{result['memory_mb']} MB"),
        ],
    )
    write("demo", {"machine": machine, **result})


if __name__ == "__main__":
    main()

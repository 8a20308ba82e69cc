"""Overlap: threads work ahead of the device, which takes as large a batch as it has memory for."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar, cast

import torch

__all__ = [
    "BatchSize",
    "free_memory",
    "in_batches",
    "keep_freed_memory",
    "map_ahead",
    "one_thread_each",
    "out_of_memory",
    "processors",
    "thread_pool",
]

Item = TypeVar("Item")
Result = TypeVar("Result")
Passing = TypeVar("Passing")

_COPIES = 24  # of a frame in 32 bits that reconstructing it takes at most
_LARGEST = {"cpu": 4}  # a processor gains nothing from more, see benchmarks/linear.py
_LARGEST_ELSEWHERE = 64
_LARGEST_COUNTED = 2**25  # bytes of the largest freed block that glibc adapts to


def map_ahead(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """Apply a function in a pool, in order, with at most ``ahead`` items between in and out."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextmanager
def thread_pool(threads: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Give a pool that drops what it has not begun when the block ends early."""
    pool = ThreadPoolExecutor(threads, name)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let no operation of torch use more than its own thread, because all processors are busy.

    Memory that one capture frees serves the next, up to 64 MiB in each thread.
    """
    keep_freed_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def processors() -> int:
    """How many processors this process may use, which may be fewer than there are."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Keep the C library from returning memory that the next capture needs again.

    glibc returns what is free beyond twice the largest block that it was ever handed back, and
    taking it anew page by page costs milliseconds a capture: so it is handed one such block, as
    large as counts. Elsewhere this does nothing.
    """
    torch.empty(_LARGEST_COUNTED - 2**16, dtype=torch.uint8)


class BatchSize:
    """How many captures go to the device at once; it halves when memory runs out.

    Parameters
    ----------
    frame_values : int
        Number of values of a frame.
    device : torch.device
        Where to compute.
    wanted : int, optional
        The size to begin with; by default what half of the free memory holds.

    Raises
    ------
    ValueError
        The wanted size is not positive.
    """

    def __init__(self, frame_values: int, device: torch.device, wanted: int | None = None) -> None:
        if wanted is not None and wanted < 1:
            raise ValueError(f"batch_size must be positive, got {wanted}")
        if wanted is None:
            fits = free_memory(device) // 2 // (4 * _COPIES * frame_values)
            wanted = max(1, min(fits, _LARGEST.get(device.type, _LARGEST_ELSEWHERE)))
        self.value = wanted

    def halve(self, tried: int) -> None:
        """Go below a size that was too large."""
        self.value = max(1, tried // 2)


def in_batches(
    items: Iterable[Item | Passing],
    compute: Callable[[list[Item]], list[Result]],
    size: BatchSize,
    passing: type[Passing],
) -> Iterator[tuple[Item, Result | Exception] | Passing]:
    """Compute items in batches; those of the type ``passing`` go past as they are.

    A batch that does not fit into memory is halved and done again. Of a batch that fails otherwise
    every item is done alone, so that one bad capture spoils no other; what fails alone is paired
    with its error.
    """
    waiting: list[Item] = []
    for item in items:
        if isinstance(item, passing):
            yield item
            continue
        waiting.append(cast("Item", item))
        if len(waiting) >= size.value:
            yield from _computed(waiting, compute, size)
            waiting = []
    yield from _computed(waiting, compute, size)


def _computed(
    items: list[Item], compute: Callable[[list[Item]], list[Result]], size: BatchSize
) -> Iterator[tuple[Item, Result | Exception]]:
    remaining = list(items)
    while remaining:
        batch = remaining[: size.value]
        results: list[Result] | list[Exception]
        try:
            results = compute(batch)
        except Exception as error:
            if len(batch) == 1:
                results = [error.with_traceback(None)]  # a traceback would keep the frame alive
            elif out_of_memory(error):
                size.halve(len(batch))
                continue
            else:
                yield from (pair for item in batch for pair in _computed([item], compute, size))
                remaining = remaining[len(batch) :]
                continue
        yield from zip(batch, results, strict=True)
        remaining = remaining[len(batch) :]


def out_of_memory(error: Exception) -> bool:
    """Whether a computation failed for want of memory, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device; half a gigabyte where that cannot be told."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 2**29

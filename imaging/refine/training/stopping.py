"""Ending a run when it is asked to, between two steps."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["stop_on_signals"]


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first request to end into an end after the current step."""
    received: list[int] = []
    watched = (signal.SIGTERM, signal.SIGINT)
    try:
        before = [signal.signal(kind, lambda *_: received.append(1)) for kind in watched]
    except ValueError:  # not in the main thread, which alone receives signals
        yield lambda: False
        return
    try:
        yield lambda: bool(received)
    finally:
        for kind, handler in zip(watched, before, strict=True):
            signal.signal(kind, handler)

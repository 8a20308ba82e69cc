"""The same batch as a Ray Data job: readers and reconstructors on many machines."""

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .captures import Capture, File, Part, Source
from .ledger import ErrorWatch, Ledger, Outcome, Progress, ProgressWatch
from .manifest import need_pyarrow
from .pipeline import Pipeline
from .sources import check_apart, open_paths
from .work import finished_columns

__all__ = ["run_on_ray"]

_CAPTURES_AT_ONCE = 8  # what a reconstructor is given at a time
_MOST_BLOCKS = 1000  # of the list of files; each costs Ray a task


def run_on_ray(
    make: Callable[[], Pipeline],
    captures: Any,
    out: str | os.PathLike[str],
    *,
    address: str = "auto",
    pattern: str | None = None,
    on_progress: ProgressWatch | None = None,
    on_error: ErrorWatch | None = None,
) -> Progress:
    """Reconstruct captures on a Ray cluster, each exactly once.

    Two stages of actors: readers decode files, shards and arrays, reconstructors compute and
    write. Back-pressure and the restart of what died are Ray's. A capture that was under way on a
    machine that died is done again unless its record is there, and has one row whatever happened,
    because only this process writes the journal. As with :meth:`Pipeline.run`, a job that was
    killed goes on where it stopped; shards and arrays are then read again, but what is done is not
    computed again.

    Parameters
    ----------
    make : callable
        Makes the pipeline on each machine, such as ``functools.partial(Pipeline, camera)``.
    captures : path, URL or sequence of these
        What every machine can open.
    out : path
        The folder of results, which every machine sees under the same path.
    address : str, optional
        Of the cluster, as ``ray.init`` takes it; ``"local"`` starts one here.
    pattern, on_progress, on_error : optional
        As in :meth:`Pipeline.run`.

    Returns
    -------
    Progress
        The counts at the end.

    Raises
    ------
    ImportError
        Ray is missing.
    TypeError
        The captures are in this process's memory, not in files.
    """
    need_pyarrow()
    ray = _import_ray()
    out = Path(out).resolve()
    check_apart(captures, out)
    source = open_paths(captures, pattern=pattern)
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False  # on_progress is told instead
    gpus = int(ray.cluster_resources().get("GPU", 0))
    # Asked of a worker, because this machine may lack the device.
    settings, device = ray.get(ray.remote(_described).options(num_gpus=min(gpus, 1)).remote(make))
    with Ledger(
        out, settings, total=source.count, on_progress=on_progress, on_error=on_error
    ) as ledger:
        parts = [{"packed": pickle.dumps(part)} for part in _pending(source, ledger)]
        if parts:
            actors = gpus if device == "cuda" else 0
            for row in _job(ray, parts, make, settings, out, actors).iter_rows():
                ledger.record(pickle.loads(row["packed"]))
    return ledger.progress


def _described(make: Callable[[], Pipeline]) -> tuple[dict[str, Any], str]:
    work = make().work
    return work.settings, work.linear.device.type


def _pending(source: Source, ledger: Ledger) -> Iterator[Part]:
    """Leave out files that are done; of shards and arrays the reconstructors find that out."""
    for part in source.parts:
        if not isinstance(part, File) or any(True for _ in ledger.pending(part)):
            yield part


def _job(
    ray: Any,
    parts: list[dict[str, bytes]],
    make: Callable[[], Pipeline],
    settings: dict[str, Any],
    out: Path,
    gpus: int,
) -> Any:
    """Lay out the stages; nothing runs before rows are asked for."""
    pairs = max(1, int(ray.cluster_resources().get("CPU", 1)) // 2)
    return (
        ray.data.from_items(parts, override_num_blocks=min(len(parts), _MOST_BLOCKS))
        .map_batches(
            _Reader,
            batch_format="pyarrow",
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=pairs),
            num_cpus=1,
        )
        .map_batches(
            _Reconstructor,
            fn_constructor_kwargs={"make": make, "settings": settings, "out": out},
            batch_format="pyarrow",
            batch_size=_CAPTURES_AT_ONCE,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=gpus or pairs),
            **({"num_gpus": 1} if gpus else {"num_cpus": 1}),
        )
    )


class _Reader:
    """Turn parts of the source into frames.

    It asks nothing about results: done again after a loss, it must give the same rows in the same
    blocks, because Ray takes up its stream of blocks where it broke off.
    """

    def __call__(self, table: Any) -> Iterator[Any]:
        for packed in table["packed"].to_pylist():
            for capture in Source([pickle.loads(packed)], None):
                yield _table([_read(capture)])


class _Reconstructor:
    """Reconstruct frames and write their files."""

    def __init__(self, make: Callable[[], Pipeline], settings: dict[str, Any], out: Path) -> None:
        self.pipeline, self.settings, self.out = make(), settings, out

    def __call__(self, table: Any) -> Any:
        ended: list[Outcome] = []
        frames: list[Capture] = []
        for packed in table["packed"].to_pylist():
            item: Capture | Outcome = pickle.loads(packed)
            if isinstance(item, Capture):  # whoever had it before may have died with it
                item = _found(item, self.settings, self.out) or item
            if isinstance(item, Capture):
                frames.append(item)
            else:
                ended.append(item)
        ended.extend(map(_portable, self.pipeline.outcomes(frames, self.out)))
        return _table(ended)


def _found(capture: Capture, settings: dict[str, Any], out: Path) -> Outcome | None:
    columns = finished_columns(settings, out / capture.name)
    if columns is None:
        return None
    return Outcome(capture.name, capture.origin, columns, found=True)


def _read(capture: Capture) -> Capture | Outcome:
    """Read a frame into a capture that can be sent to another machine."""
    try:
        return replace(capture, read=partial(torch.from_numpy, capture.read().numpy()))
    except Exception as error:  # of any reader
        return _portable(Outcome(capture.name, capture.origin, error=error))


def _portable(outcome: Outcome) -> Outcome:
    """Give an error a class that any process has."""
    if outcome.error is None:
        return outcome
    return replace(outcome, error=ValueError(str(outcome.error) or type(outcome.error).__name__))


def _table(items: Sequence[Any]) -> Any:
    pa = need_pyarrow()
    return pa.table({"packed": pa.array(map(pickle.dumps, items), pa.large_binary())})


def _import_ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError("a Ray job needs Ray: pip install 'barelens[ray]'") from error
    return ray

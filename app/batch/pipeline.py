"""Reconstruct any number of captures: streaming, resumable, each exactly once."""

import errno
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...calibration import Camera
from ..pipeline import LinearPipeline, LinearScene, LinearSettings
from .captures import Capture, Source
from .flow import BatchSize, in_batches, map_ahead, one_thread_each, processors, thread_pool
from .ledger import Ledger, Outcome, Progress
from .manifest import need_pyarrow
from .sources import check_apart, open_source
from .work import LinearWork, Loaded, RefiningWork, Work

if TYPE_CHECKING:
    from ...imaging.refine import Refiner, RefinerSettings

__all__ = ["Pipeline", "reconstruct"]

_REFUSED_NAMES = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL)


@dataclass(frozen=True, eq=False)
class _Result:
    loaded: Loaded
    result: Any
    seconds: float


_Steps = Generator[_Result | Outcome, None, None]


class Pipeline:
    """Reconstruct streams of captures of one camera.

    Threads read and decode ahead while the device computes and others write; on a processor each
    does all of that. Memory stays constant however many captures there are.

    Parameters
    ----------
    camera : Camera or path
        The camera of all captures, or its record.
    settings : LinearSettings, optional
        How to reconstruct.
    device : torch.device or str, optional
        Where to compute.
    refiner : Refiner, optional
        A model that refines what was reconstructed; its device counts then.
    refiner_settings : RefinerSettings, optional
        How to refine; what the model recommends by default.
    trust : bool, optional
        Whether each record says how far its scene can be trusted, which takes two to three
        times as long as reconstructing it.
    previews : bool, optional
        Whether each scene gets a picture for the screen, NAME.linear.png, too.
    batch_size : int, optional
        Captures that the device takes at once; by default what half of its free memory holds, and
        on a processor one in each thread. It halves whenever memory runs out.
    threads : int, optional
        Threads that read; by default one for each processor that this process may use. Twice as
        many write, which is mostly waiting for the disk. On a processor each reads, reconstructs
        and writes, and there is one more by default, for those that wait.

    Raises
    ------
    CalibrationError, FileNotFoundError
        The camera record cannot be used.
    ValueError
        The method does not fit the camera, or a number is not positive.
    """

    def __init__(
        self,
        camera: Camera | str | os.PathLike[str],
        settings: LinearSettings | None = None,
        *,
        device: torch.device | str = "cpu",
        refiner: "Refiner | None" = None,
        refiner_settings: "RefinerSettings | None" = None,
        trust: bool = True,
        previews: bool = False,
        batch_size: int | None = None,
        threads: int | None = None,
    ) -> None:
        if not isinstance(camera, Camera):
            camera = Camera.load(Path(camera))
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be positive, got {threads}")
        self.work: Work
        files = {"trust": trust, "previews": previews}
        if refiner is None:
            self.work = LinearWork(LinearPipeline(camera, settings, device=device), **files)
        else:
            from ..refining import RefiningPipeline

            pipeline = RefiningPipeline(camera, refiner, refiner_settings, linear_settings=settings)
            self.work = RefiningWork(pipeline, **files)
        self.camera = camera
        device = self.work.linear.device
        self.size = BatchSize(prod(camera.frame_shape), device, batch_size)
        # A processor gains nothing from batches, and most when each core has captures of its own.
        self._spread = batch_size is None and refiner is None and device.type == "cpu"
        self.threads = processors() + self._spread if threads is None else threads

    def open(self, captures: Any, *, pattern: str | None = None) -> Source:
        """Find captures of this camera, see :func:`~barelens.app.batch.open_source`."""
        return open_source(captures, frame_ndim=len(self.camera.frame_shape), pattern=pattern)

    def scenes(
        self, captures: Any, *, pattern: str | None = None
    ) -> Iterator[tuple[str, LinearScene]]:
        """Yield the name and the linear scene of each capture, in order; nothing is written.

        A capture that cannot be used ends the stream as soon as it is met.

        Raises
        ------
        FileError, CaptureError, ShapeError
            A capture cannot be read or used.
        """
        for step in self._computed(self.open(captures, pattern=pattern)):
            if isinstance(step, Outcome):
                assert step.error is not None
                raise step.error
            scene = step.result if isinstance(step.result, LinearScene) else step.result[0]
            yield step.loaded.capture.name, scene

    def run(
        self,
        captures: Any,
        out: str | os.PathLike[str],
        *,
        pattern: str | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_error: Callable[[str, Exception], None] | None = None,
    ) -> Progress:
        """Reconstruct captures into a folder, leaving out what an earlier run finished.

        For each capture the files of ``barelens reconstruct`` are written, the picture only where
        previews are wanted, below folders like those of the source; then ``manifest.parquet``, one
        row a capture. What is finished is kept in ``manifest.sqlite`` at every moment, so that a
        run that was killed goes on where it stopped. Captures that failed are tried again; one
        whose name another capture's results have fails.

        Parameters
        ----------
        captures : any
            See :func:`~barelens.app.batch.open_source`.
        out : path
            The folder of results; made if missing.
        pattern : str, optional
            Which captures of folders and shards to take.
        on_progress : callable, optional
            Is given a :class:`Progress` after every capture.
        on_error : callable, optional
            Is given the origin and the error of every capture that failed; by default a warning
            says so.

        Returns
        -------
        Progress
            The counts at the end.

        Raises
        ------
        FileNotFoundError
            The source leads nowhere.
        ValueError
            The folder of results lies in that of the captures.
        BlockingIOError
            Another run writes into the folder.
        ImportError
            pyarrow is missing.
        """
        need_pyarrow()
        check_apart(captures, Path(out))
        source = self.open(captures, pattern=pattern)
        with Ledger(
            Path(out),
            self.work.settings,
            total=source.count,
            on_progress=on_progress,
            on_error=on_error,
        ) as ledger:
            for outcome in self.outcomes(ledger.pending(source), ledger.out):
                ledger.record(outcome)
        return ledger.progress

    def outcomes(self, captures: Iterable[Capture], out: Path) -> Iterator[Outcome]:
        """Reconstruct captures, write their files, and yield how each ended."""
        if self._spread:
            yield from self._in_threads(captures, out)
            return
        writers = 2 * self.threads
        steps = self._computed(captures)
        with thread_pool(writers, "barelens-write") as pool, closing(steps):
            yield from map_ahead(pool, lambda step: self._write(step, out), steps, 2 * writers)

    def _computed(self, captures: Iterable[Capture]) -> _Steps:
        """Read ahead in threads and compute here; what fails comes as its outcome."""
        with thread_pool(self.threads, "barelens-read") as pool:
            ahead = self.size.value + 2 * self.threads
            yield from self._steps(map_ahead(pool, self._load, captures, ahead))

    def _in_threads(self, captures: Iterable[Capture], out: Path) -> Iterator[Outcome]:
        """Do all of a capture in one thread, as many captures at once as there are threads."""
        with one_thread_each(), thread_pool(self.threads, "barelens-compute") as pool:
            yield from map_ahead(
                pool, lambda capture: self._whole(capture, out), captures, 2 * self.threads
            )

    def _whole(self, capture: Capture, out: Path) -> Outcome:
        (step,) = self._steps([self._load(capture)])
        return self._write(step, out)

    def _steps(self, loaded: Iterable[Loaded | Outcome]) -> _Steps:
        for step in in_batches(loaded, self._compute, self.size, Outcome):
            if isinstance(step, Outcome):
                yield step
                continue
            item, result = step
            if isinstance(result, Exception):
                yield Outcome(item.capture.name, item.capture.origin, error=result)
            else:
                yield result

    def _load(self, capture: Capture) -> Loaded | Outcome:
        try:
            raw = capture.read()
            return Loaded(capture, raw, self.work.linear.check(raw))
        except Exception as error:  # of a reader or of someone's own source
            return Outcome(capture.name, capture.origin, error=error.with_traceback(None))

    def _compute(self, batch: list[Loaded]) -> list[_Result]:
        started = time.perf_counter()
        raws = [loaded.raw for loaded in batch]
        # One alone is not copied.
        results = self.work.compute(raws[0][None] if len(raws) == 1 else torch.stack(raws))
        seconds = (time.perf_counter() - started) / len(batch)
        return [
            _Result(loaded, result, seconds) for loaded, result in zip(batch, results, strict=True)
        ]

    def _write(self, step: _Result | Outcome, out: Path) -> Outcome:
        if isinstance(step, Outcome):
            return step
        capture = step.loaded.capture
        target = out / capture.name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            columns = self.work.write(target, step.loaded, step.result, step.seconds)
        except (ValueError, TypeError, RuntimeError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _REFUSED_NAMES:
                raise  # a full or lost disk ends the run
            return Outcome(capture.name, capture.origin, error=error.with_traceback(None))
        return Outcome(capture.name, capture.origin, columns)


def reconstruct(
    captures: Any,
    camera: Camera | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    settings: LinearSettings | None = None,
    pattern: str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_error: Callable[[str, Exception], None] | None = None,
    **options: Any,
) -> Progress:
    """Reconstruct captures of one camera into a folder, as :meth:`Pipeline.run` does.

    Parameters
    ----------
    captures : any
        A folder, a glob pattern, files, shards, arrays, tensors, an iterator or a DataLoader; see
        :func:`~barelens.app.batch.open_source`.
    camera : Camera or path
        The camera of all captures, or its record.
    out : path
        The folder of results; made if missing.
    settings : LinearSettings, optional
        How to reconstruct.
    pattern, on_progress, on_error : optional
        As in :meth:`Pipeline.run`.
    **options
        Of :class:`Pipeline`.

    Returns
    -------
    Progress
        How many were done, failed, and had been done before.
    """
    return Pipeline(camera, settings, **options).run(
        captures, out, pattern=pattern, on_progress=on_progress, on_error=on_error
    )

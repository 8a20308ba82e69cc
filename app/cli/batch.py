"""``barelens batch``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .messages import check_device, complain, fail, parse_penalty, user_errors

if TYPE_CHECKING:
    from ...calibration import Camera
    from ..batch import Pipeline, Progress
    from ..pipeline import LinearSettings

__all__ = ["batch"]


def batch(
    sources: list[str] = typer.Argument(
        help="Folders, glob patterns, captures, .tar shards, .zarr and .h5 arrays, or URLs."
    ),
    camera: Path = typer.Option(..., help="The camera record."),
    out: Path = typer.Option(..., help="Folder for the results; made if missing."),
    pattern: str | None = typer.Option(None, help="Files of folders and shards, as '*.raw.png'."),
    method: str = typer.Option("auto", help="As reconstruct has it."),
    penalty: str = typer.Option("gcv", help="As reconstruct has it."),
    trust: bool = typer.Option(True, help="Say how far each scene can be trusted; slow."),
    previews: bool = typer.Option(False, help="Write pictures for the screen too."),
    refine: str | None = typer.Option(None, help="Refine too: a refiner's folder or hub id."),
    batch_size: int | None = typer.Option(None, help="Captures at once; by free memory if unset."),
    threads: int | None = typer.Option(None, help="Readers; as many as processors if unset."),
    device: str = typer.Option("cpu", help="cpu, cuda, cuda:1, ..."),
    ray: str | None = typer.Option(None, help="Address of a Ray cluster; 'local' starts one."),
) -> None:
    """Reconstruct any number of captures; a run that was killed goes on where it stopped.

    For each capture the files of `barelens reconstruct` are written, NAME.linear.png only with
    --previews, in folders like those of the source, and one row into manifest.parquet. With --ray
    the machines of a cluster share the work; all must see the folder of results under the same
    path. A capture that cannot be used is reported and the rest go on; the exit code is then 1.
    """
    from ...calibration import Camera
    from ..batch import Pipeline
    from ..pipeline import LinearSettings

    with user_errors():
        settings = LinearSettings(method=method, penalty=parse_penalty(penalty))  # type: ignore[arg-type]
        options: dict[str, Any] = {
            "device": device if ray else check_device(device),
            "trust": trust,
            "previews": previews,
            "batch_size": batch_size,
            "threads": 1 if ray and threads is None else threads,
        }
        make = partial(Pipeline, Camera.load(camera), settings, **options)
        if refine is not None:
            make = partial(_refining, refine, Camera.load(camera), settings, **options)
        with _shown() as on_progress:
            watched: dict[str, Any] = {
                "pattern": pattern,
                "on_progress": on_progress,
                "on_error": _complain,
            }
            if ray is None:
                progress = make().run(sources, out, **watched)
            else:
                from ..batch.on_ray import run_on_ray

                progress = run_on_ray(make, sources, out, address=ray, **watched)
    typer.echo(
        f"{progress.done} done, {progress.skipped} done before, {progress.failed} failed in "
        f"{progress.seconds:.1f} s, {progress.rate:.2f} a second -> {out / 'manifest.parquet'}"
    )
    if progress.failed:
        counted = progress.done + progress.skipped + progress.failed
        fail(f"{progress.failed} of {counted} captures failed")


def _refining(
    model: str, camera: "Camera", settings: "LinearSettings", *, device: str, **options: Any
) -> "Pipeline":
    """Make a pipeline that refines; called where the model is to be."""
    from ..batch import Pipeline
    from .refine import load_refiner

    refiner = load_refiner(
        model,
        base=None,
        tiny_vae=None,
        dtype="float32",
        device=device,
        channels_last=False,
        compiled=False,
    )
    return Pipeline(camera, settings, refiner=refiner, **options)


def _complain(origin: str, error: Exception) -> None:
    message = str(error) or type(error).__name__
    complain(message if origin in message else f"{origin}: {message}")


@contextmanager
def _shown() -> "Iterator[Callable[[Progress], None]]":
    """Show progress, rate and time left on the error stream; nothing where it is no terminal."""
    from rich import progress as rich
    from rich.console import Console

    console = Console(stderr=True)
    columns = (rich.BarColumn(), rich.MofNCompleteColumn(), rich.TextColumn("{task.description}"))
    with rich.Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def show(progress: "Progress") -> None:
            finished = progress.done + progress.skipped + progress.failed
            bar.update(task, total=progress.total, completed=finished, description=_speed(progress))

        yield show


def _speed(progress: "Progress") -> str:
    text = f"{progress.rate:.2f} a second"
    if progress.seconds_left is not None:
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        hours, minutes = divmod(minutes, 60)
        text += f", {hours}:{minutes:02d}:{seconds:02d} left"
    return f"{text}, {progress.failed} failed" if progress.failed else text

"""``barelens train refiner`` and ``barelens train distill``."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .messages import complain, user_errors

if TYPE_CHECKING:
    import torch

    from ...imaging.refine.training import TrainingSettings

__all__ = ["distill", "refiner"]


def refiner(
    out: Path = typer.Option(..., help="Folder of the run; one that is there is continued."),
    settings: Path | None = typer.Option(None, help="Settings, JSON; see data/refiner/train.json."),
    preset: str = typer.Option("small", help="Settings by name: small or difuzcam."),
    pictures: list[Path] = typer.Option([], help="Folders of pictures, added to the settings'."),
    pairs: Path | None = typer.Option(
        None, help="Folder of captures/NAME.* and pictures/NAME.* to train on instead."
    ),
    difuzcam: Path | None = typer.Option(None, help="Download of DifuzCam's data set, likewise."),
    camera: list[str] = typer.Option(
        [], help="Camera records, added to the settings'; bundled:NAME for one that ships."
    ),
    base: str | None = typer.Option(None, help="Stable Diffusion to steer, folder or hub id."),
    steps: int | None = typer.Option(None, help="Steps in all."),
    until: int | None = typer.Option(None, help="Step to stop at, before the last."),
    cache: Path | None = typer.Option(None, help="Folder to keep simulated pairs in."),
    threads: int | None = typer.Option(None, help="Threads to compute with."),
    dtype: str = typer.Option("float32", help="Of the weights written: float32 or float16."),
) -> None:
    """Train a refiner; `accelerate launch -m barelens.app train refiner` uses several devices.

    A later call of the same command continues from OUT/checkpoints, to the bit. OUT/log.jsonl
    holds the numbers of each step, OUT/validation pictures, and OUT/refiner the result, ready for
    `barelens refine --model`.
    """
    from ..refiner_training import train_refiner

    with _training_errors():
        chosen = _chosen(settings, preset, pictures, camera, steps)
        chosen = _on_captures(chosen, pairs, difuzcam)
        if base:
            chosen = chosen.changed(model=replace(chosen.model, base=base))
        _use_threads(threads)
        folder = train_refiner(
            chosen, out, cache=cache, until=until, dtype=_dtype(dtype), report=complain
        )
    typer.echo(f"{folder}")


def distill(
    teacher: Path = typer.Argument(help="Folder of the refiner to learn from."),
    out: Path = typer.Option(..., help="Folder of the run; one that is there is continued."),
    student_steps: int = typer.Option(4, help="Steps the new refiner shall need, 1 to 4."),
    teacher_steps: int = typer.Option(4, help="Steps of the old one for each of them."),
    settings: Path | None = typer.Option(None, help="Settings of data and optimization, JSON."),
    preset: str = typer.Option("small", help="The same by name: small or difuzcam."),
    pictures: list[Path] = typer.Option([], help="Folders of pictures, added to the settings'."),
    pairs: Path | None = typer.Option(None, help="Folder of captures and pictures instead."),
    difuzcam: Path | None = typer.Option(None, help="Download of DifuzCam's data set, likewise."),
    camera: list[str] = typer.Option([], help="Camera records, added to the settings'."),
    steps: int | None = typer.Option(None, help="Training steps in all."),
    until: int | None = typer.Option(None, help="Training step to stop at, before the last."),
    cache: Path | None = typer.Option(None, help="Folder to keep simulated pairs in."),
    threads: int | None = typer.Option(None, help="Threads to compute with."),
    dtype: str = typer.Option("float32", help="Of the weights written: float32 or float16."),
) -> None:
    """Distill a refiner to one to four steps, by progressive distillation.

    OUT is laid out as by `barelens train refiner`.
    """
    from ..refiner_training import distill_refiner

    with _training_errors():
        chosen = _chosen(settings, preset, pictures, camera, steps)
        chosen = _on_captures(chosen, pairs, difuzcam)
        _use_threads(threads)
        folder = distill_refiner(
            chosen,
            teacher,
            out,
            student_steps=student_steps,
            teacher_steps=teacher_steps,
            cache=cache,
            until=until,
            dtype=_dtype(dtype),
            report=complain,
        )
    typer.echo(f"{folder}")


@contextmanager
def _training_errors() -> Iterator[None]:
    """End with one line also where training itself gave up."""
    from ...imaging.refine.training import TrainingError

    with user_errors():
        try:
            yield
        except TrainingError as error:
            raise ValueError(error) from None


def _chosen(
    path: Path | None, preset: str, pictures: list[Path], cameras: list[str], steps: int | None
) -> "TrainingSettings":
    from ...imaging.refine.training import PRESETS, TrainingSettings

    if path is not None:
        chosen = TrainingSettings.load(path)
    elif preset in PRESETS:
        chosen = PRESETS[preset]
    else:
        raise ValueError(f"unknown preset {preset!r}; choose one of: {', '.join(PRESETS)}")
    data = replace(
        chosen.data,
        sources=(*chosen.data.sources, *map(str, pictures)),
        cameras=(*chosen.data.cameras, *cameras),
    )
    return chosen.changed(data=data, steps=steps or chosen.steps)


def _on_captures(
    chosen: "TrainingSettings", pairs: Path | None, difuzcam: Path | None
) -> "TrainingSettings":
    if pairs is not None and difuzcam is not None:
        raise ValueError("pairs and difuzcam cannot both be given")
    if pairs is None and difuzcam is None:
        return chosen
    if pairs is not None:
        data = replace(chosen.data, kind="pairs", sources=(str(pairs),))
    else:
        data = replace(chosen.data, kind="difuzcam", sources=(str(difuzcam),))
    return chosen.changed(data=data)


def _use_threads(number: int | None) -> None:
    import torch

    if number is not None:
        torch.set_num_threads(number)


def _dtype(name: str) -> "torch.dtype":
    import torch

    known = {"float32": torch.float32, "float16": torch.float16}
    if name not in known:
        raise ValueError(f"dtype must be {' or '.join(known)}, got {name!r}")
    return known[name]

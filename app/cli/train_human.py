"""``barelens train human``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from .messages import fail, user_errors

__all__ = ["human"]


def human(
    out: Path = typer.Option(..., help="Folder for state, log and model; made if missing."),
    settings: Path = typer.Option(..., help="Settings, such as data/human/train.json."),
    people: Path = typer.Option(
        None, help="Folder for rendered people, kept for the next time; by default in --out."
    ),
    device: str = typer.Option("cpu", help="Where to compute, such as cpu or cuda."),
    threads: int = typer.Option(0, help="Processor threads; 0 leaves the choice to PyTorch."),
) -> None:
    """Train a model of keypoints, parts, depth and normals on synthetic people.

    First the people of the settings are rendered, then the model learns from them. An interrupted
    run goes on with the same command, and ends with the same weights as one in one go. In the end
    --out holds model.safetensors, which `barelens human` takes, and log.jsonl.
    """
    from ...pose.training import TrainingSettings, train_human

    with user_errors():
        if threads:
            import torch

            torch.set_num_threads(threads)
        try:
            model = train_human(
                TrainingSettings.read(settings), out, people=people, device=device, report=_print
            )
        except FloatingPointError as error:
            fail(error)
    typer.echo(f"{settings} -> {model}")


def _print(line: Mapping[str, Any]) -> None:
    if "rendered" in line:
        typer.echo(f"rendered {line['rendered']} of {line['of']} people")
    elif "validation" in line:
        scores = "  ".join(f"{name} {value:.4g}" for name, value in line["validation"].items())
        typer.echo(f"step {line['step']}  validation: {scores}")
    else:
        names = ("loss", "pose", "parts", "depth", "normals")
        losses = "".join(f"  {name} {line[name]:.4f}" for name in names if name in line)
        skipped = f"  {line['skipped']} steps skipped" if line["skipped"] else ""
        typer.echo(f"step {line['step']}{losses}  {line['seconds_a_step']:.3f} s/step{skipped}")

"""``barelens train``: the commands that make models."""

import typer

from .train_human import human
from .train_refiner import distill, refiner

__all__ = ["train"]

train = typer.Typer(help="Train models of your own.", no_args_is_help=True)
train.command()(refiner)
train.command()(distill)
train.command()(human)

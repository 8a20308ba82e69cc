"""The ``barelens`` command: it parses, calls the Python API and prints."""

from importlib.metadata import version

import typer

from .batch import batch
from .calibrate import capture, check, fit, patterns
from .camera_records import import_record, psf, show
from .demo import demo
from .evaluate import difuzcam
from .human import human
from .inspect import inspect
from .intervals import intervals
from .plan import plan
from .reconstruct import reconstruct
from .refine import refine
from .selfcal import selfcal
from .simulate import simulate
from .train import train

__all__ = ["main"]

cli = typer.Typer(
    name="barelens",
    help="Lensless and human-centric computational imaging.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
cli.command()(reconstruct)
cli.command()(batch)
cli.command()(refine)
cli.command()(simulate)
cli.command()(human)
cli.command()(inspect)
cli.command()(plan)
cli.command()(demo)

_calibration = typer.Typer(help="Measure what a camera does to light.", no_args_is_help=True)
for _command in (patterns, capture, fit, selfcal, psf, check, intervals, show):
    _calibration.command()(_command)
_calibration.command("import")(import_record)
cli.add_typer(_calibration, name="calibrate")

_evaluation = typer.Typer(help="Measure published numbers again.", no_args_is_help=True)
_evaluation.command()(difuzcam)
cli.add_typer(_evaluation, name="evaluate")

cli.add_typer(train, name="train")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"barelens {version('barelens')}")
        raise typer.Exit


@cli.callback()
def _options(
    show_version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


def main() -> None:
    """Run the command; exits 2 for bad usage and 1 for bad input."""
    cli()

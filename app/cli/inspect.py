"""``barelens inspect``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .messages import complain, fail, user_errors

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["inspect"]

_SHADES = " ░▒▓█"
_MAPS = {"measured_share": "measured share", "std": "expected error"}


def inspect(
    records: list[Path] = typer.Argument(
        help="Records NAME.linear.json of reconstructions, NAME.refined.json of refined pictures."
    ),
    out: Path = typer.Option(None, help="Folder for pictures NAME.inspect.png; none by default."),
) -> None:
    """Print how far reconstructions can be trusted, and draw it.

    For each record: noise, what the camera does not explain, the share that was measured, expected
    errors, defects of the capture, and maps of both in letters. Of refined pictures: whether they
    can be true, the share that was measured, and what a prompt changed. With --out also a picture
    of the maps beside the reconstruction, where that lies beside its record.
    """
    failed = 0
    if out is not None:
        with user_errors():
            out.mkdir(parents=True, exist_ok=True)
    for path in records:
        try:
            record = _read(path)
            _show(path, record)
            if out is not None:
                target = out / f"{path.stem.removesuffix('.linear')}.inspect.png"
                _draw(path, record, target)
                typer.echo(f"  drawn in {target}")
        except (ValueError, TypeError, KeyError, OSError) as error:
            reason = f"lacks {error}" if isinstance(error, KeyError) else error
            complain(reason if str(path) in str(reason) else f"{path}: {reason}")
            failed += 1
    if failed:
        fail(f"{failed} of {len(records)} records failed")


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error}") from None
    if not isinstance(record, dict) or record.get("format") not in _ROWS:
        raise ValueError("no record of a reconstruction or of a refined picture")
    if not record.get("trust"):
        raise ValueError("a record without measures of trust; reconstruct again")
    return record


def _show(path: Path, record: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    trust = record["trust"]
    table = Table(title=f"{path.name}: {record['camera']['name']}", show_header=False)
    for name, value in _ROWS[record["format"]](record):
        table.add_row(name, value)
    console = Console()
    console.print(table)
    for name, values in trust["maps"].items():
        console.print(f"{_MAPS[name]}, {_span(values)}")
        for line in _letters(values):
            console.print(line, markup=False, highlight=False)


def _linear_rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    trust = record["trust"]
    measured, std, defects = trust["measured"], trust["std"], trust["defects"]
    rows = [
        ("noise of a sample", _list(trust["noise_std"])),
        ("unexplained by any scene", _list(trust["misfit_std"])),
        ("measured share of the picture", _list(measured["of_picture"])),
        ("measured share of the scene's samples", _list(measured["of_scene"])),
        ("expected error, median (not calibrated)", _list(std["expected_median"])),
        ("of which noise", _list(std["noise_part"])),
        *_interval(trust.get("interval")),
        ("saturated pixels", str(defects["saturated_pixels"])),
        ("missing rows, columns", f"{defects['missing_rows']}, {defects['missing_columns']}"),
    ]
    if trust["camera"] is None:
        return [*rows, ("camera", trust["reason"])]
    camera, picture = trust["camera"], trust["picture"]
    return [
        *rows,
        ("camera", ", ".join(sorted(set(camera["verdict"])))),
        ("chi-square of the camera over its freedom", _list(camera["chi_square"])),
        ("its p-value", _list(camera["p_value"])),
        ("p-value of no miscalibration", _list(camera["miscalibration_p_value"])),
        *_picture_rows(picture),
        (
            "windows of the sensor that stand out",
            f"{trust['sensor_windows']['standing_out']} of {trust['sensor_windows']['tested']}",
        ),
    ]


def _refined_rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    trust, prompt = record["trust"], record.get("prompt")
    windows = trust["windows"]
    rows = [
        ("verdict", trust["verdict"]),
        ("camera", trust["camera_verdict"]),
        ("measured share of the picture", _list(trust["measured"]["of_picture"])),
        ("expected error, median (not calibrated)", _list(trust["std"]["expected_median"])),
        *_interval(trust.get("interval")),
        *((f"residual, {name}", _list(values)) for name, values in record["residual"].items()),
        *_picture_rows(trust["picture"]),
        (
            "windows of the picture that stand out",
            f"{windows['standing_out']} of {windows['tested']}",
        ),
    ]
    if prompt is None:
        return rows
    changes = {"prompt": prompt, "wrong prompt": prompt.get("wrong")}
    for name, change in changes.items():
        if change is not None:
            rows += [
                (f"the {name}'s change, over the picture", _list([change["change"]])),
                ("share of it that was measured otherwise", _list([change["measured_part"]])),
            ]
    return rows


def _picture_rows(picture: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("chi-square of the picture over its freedom", _list(picture["chi_square"])),
        ("its p-value", _list(picture["p_value"])),
    ]


def _interval(interval: dict[str, Any] | None) -> list[tuple[str, str]]:
    if interval is None:
        return []
    widths = [interval["half_width_median"], interval["half_width_95_percent"]]
    return [(f"half of {interval['coverage']:.0%} intervals, median and 95 %", _list(widths))]


_ROWS = {"barelens.reconstruction": _linear_rows, "barelens.refinement": _refined_rows}


def _list(values: list[float | None]) -> str:
    return ", ".join("unknown" if value is None else f"{value:.3g}" for value in values)


def _span(rows: list[list[float | None]]) -> str:
    known = [value for row in rows for value in row if value is not None]
    return f"{min(known):.3g} to {max(known):.3g}" if known else "nothing to tell"


def _letters(rows: list[list[float | None]]) -> list[str]:
    """Draw a map in shades, two letters a value; a dot where there is none."""
    known = [value for row in rows for value in row if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    step = (high - low) / (len(_SHADES) - 1) or 1.0
    return [
        "".join(
            " ·" if value is None else 2 * _SHADES[round((value - low) / step)] for value in row
        )
        for row in rows
    ]


def _draw(path: Path, record: dict[str, Any], target: Path) -> None:
    """Draw the maps of a record beside its picture."""
    from ...imaging.display import side_by_side
    from ...imaging.files import write_png
    from ...imaging.trust import overlay_invented
    from ..trust_picture import draw_error

    maps = record["trust"]["maps"]
    shown = _picture(path.parent, record["files"])
    size = (shown.shape[0], shown.shape[1])
    tiles = {
        "picture": shown,
        "measured or invented": overlay_invented(shown, _tensor(maps["measured_share"], size)),
    }
    if "std" in maps:
        tiles["expected error"] = draw_error(_tensor(maps["std"], size))
    write_png(target, side_by_side(list(tiles.values()), list(tiles)))


def _picture(folder: Path, files: dict[str, str]) -> "Tensor":
    """Read the picture of a record, or make it where a batch left it out."""
    import torch

    from ...imaging.display import to_display
    from ...imaging.files import read_image, read_tiff16

    if "picture" not in files:
        light = read_tiff16(folder / files["linear"])
        return to_display(light if light.ndim == 3 else light[None])[0]
    picture = read_image(folder / files["picture"], encoding="linear")
    return (picture * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()


def _tensor(rows: list[list[float | None]], size: tuple[int, int]) -> "Tensor":
    """Enlarge a map of a record, without smoothing."""
    import torch

    values = torch.tensor(
        [[float("nan") if value is None else value for value in row] for row in rows]
    )
    return torch.nn.functional.interpolate(values[None, None], size)[0, 0]

"""What the tab Reconstruct does when a visitor asks for it."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..stages.choices import PANELS, STAGES, DemoSettings
from .guard import progress, upload
from .loading import load_gradio
from .style import figures, table

if TYPE_CHECKING:
    from ..stages.outcome import Outcome
    from ..stages.panel import Panel
    from ..stages.sources import Source

__all__ = [
    "BEFORE_REFINING",
    "OWN_CAMERA",
    "SOURCES",
    "find_source",
    "reconstruct",
    "shown_panels",
]

SOURCES = {"example": "Example", "capture": "My capture", "picture": "Picture or webcam"}
OWN_CAMERA = "own"
BEFORE_REFINING = "Left: raw capture. Right: linear reconstruction"
AFTER_REFINING = "Left: linear reconstruction. Right: refined, partly imagined"


@dataclass(frozen=True)
class _View:
    """What the page shows of an outcome, in the order of its fields."""

    status: str
    slider: Any
    download: Any
    trust: str
    toggles: Any
    people: str
    steps: str
    numbers: str
    kept: list["Panel"]


def reconstruct(
    source: str,
    example: str,
    capture: Any,
    camera: str,
    record: Any,
    picture: Any,
    stages: list[str],
    method: str,
    penalty: str,
    iterations: float,
    imagination: float,
    seed: float,
) -> Iterator[tuple[Any, ...]]:
    """Do all stages and show each as soon as it is there."""
    gr = load_gradio()
    yield ("Reading the capture …", *[gr.skip()] * (len(fields(_View)) - 1))
    tell = progress()
    from ..stages.bundle import write_bundle
    from ..stages.chain import run

    settings = DemoSettings(method, str(penalty), int(iterations), int(seed or 0), imagination)
    found = find_source(source, example, capture, camera, record, picture, seed=settings.seed)
    names = ["Linear reconstruction", *(STAGES[stage] for stage in STAGES if stage in stages)]
    tell(0.05, f"{names[0]} …")
    outcome = None
    for done, outcome in enumerate(run(found, settings, stages), start=1):
        text = f"{names[done]} …" if done < len(names) else "Packing …"
        tell(done / (1 + len(names)), text)
        yield _fields(_view(outcome, text))
    assert outcome is not None  # run yields at least once
    with TemporaryDirectory() as folder:
        target = Path(folder) / f"barelens_{found.name}.zip"
        write_bundle(target, outcome)
        seconds = sum(outcome.seconds.values())
        view = _view(outcome, f"Done in {seconds:.1f} s of computing.{_left_out(outcome)}")
        ready = gr.update(value=str(target), interactive=True)
        yield (*_fields(view)[:2], ready, *_fields(view)[3:])


def find_source(
    kind: str, example: str, capture: Any, camera: str, record: Any, picture: Any, *, seed: int
) -> "Source":
    """Take the capture that a visitor means.

    Raises
    ------
    ValueError
        What is needed for it is missing.
    """
    from ..stages import sources
    from ..stages.uploads import read_picture
    from ..virtual_camera import VirtualSettings

    if kind == "example":
        return sources.example(example)
    if kind == "capture":
        path = upload(capture)
        own = upload(record) if camera == OWN_CAMERA else camera
        if path is None or own is None:
            raise ValueError("Upload a raw capture first, and the record of a camera of your own.")
        return sources.uploaded(path, own)
    if kind == "picture":
        path = upload(picture)
        if path is None:
            raise ValueError("Upload a picture first, or take one with the webcam.")
        settings = VirtualSettings(**sources.VIRTUAL_SIZES)
        return sources.photograph(read_picture(path), settings, seed=seed)
    raise ValueError(f"source must be one of {', '.join(SOURCES)}, got {kind!r}")


def shown_panels(wanted: list[str], kept: list["Panel"]) -> str:
    """Show the pictures of people that a visitor wants to see."""
    return figures(panel for panel in kept if panel.key in wanted)


def _view(outcome: "Outcome", status: str) -> _View:
    from ..stages.bundle import numbers

    gr = load_gradio()
    refined, before = outcome.panel("refined"), outcome.panel("before")
    if refined is None or before is None:
        pair, label = (outcome.capture, outcome.linear), BEFORE_REFINING
    else:
        pair, label = (before, refined), AFTER_REFINING
    kept = [panel for panel in outcome.panels if panel.key in PANELS]
    trust = [outcome.panel(key) for key in ("invented", "refined_invented", "error")]
    steps = [outcome.capture, outcome.linear, refined, outcome.panel("truth")]
    return _View(
        status=status,
        slider=gr.update(value=tuple(panel.picture.numpy() for panel in pair), label=label),
        download=gr.update(value=None, interactive=False),
        trust=figures(panel for panel in trust if panel),
        toggles=gr.update(value=list(PANELS)),
        people=figures(kept) if kept else _no_people(outcome),
        steps=figures(panel for panel in steps if panel),
        numbers=table(numbers(outcome), "Numbers of this reconstruction"),
        kept=kept,
    )


def _no_people(outcome: "Outcome") -> str:
    reason = outcome.skipped.get("people")
    return f"<p>{escape(reason)}</p>" if reason else "<p>Nobody was looked for or found.</p>"


def _fields(view: _View) -> tuple[Any, ...]:
    return tuple(vars(view).values())


def _left_out(outcome: "Outcome") -> str:
    return "".join(f" {STAGES[stage]}: {reason}" for stage, reason in outcome.skipped.items())

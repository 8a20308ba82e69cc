"""Real captures with the pictures they show, from folders."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...files import FileError, read_image, read_raw
from ..conditioning import to_model_range, white_level
from ..record import StartKind
from ..resample import resize
from .cameras import Observation
from .pairs import Pair
from .pictures import SUFFIXES

__all__ = ["CaptureEntry", "CapturePairs", "difuzcam_entries", "folder_entries"]

_CAPTURE_SUFFIXES = (*SUFFIXES, ".npy", ".npz", ".dng")
_CAPTURE_COLUMNS = ("capture", "flatcam", "lensless", "measurement", "conditioning_image")
_PICTURE_COLUMNS = ("picture", "image", "original", "target")
_CAPTION_COLUMNS = ("captions", "caption", "text", "prompt")


@dataclass(frozen=True)
class CaptureEntry:
    """Where one capture and its picture lie.

    Attributes
    ----------
    capture, picture : Path
        Files.
    captions : tuple of str
        Any number of descriptions.
    """

    capture: Path
    picture: Path
    captions: tuple[str, ...] = ()


def folder_entries(folder: Path) -> list[CaptureEntry]:
    """List a folder of ``captures/NAME.*`` and ``pictures/NAME.*``.

    ``captions.json`` may give each NAME a caption or a list of captions.

    Raises
    ------
    FileNotFoundError
        No capture has a picture of its name.
    ValueError
        ``captions.json`` is damaged.
    """
    captions: dict[str, Any] = {}
    if (folder / "captions.json").is_file():
        captions = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
        if not isinstance(captions, dict):
            raise ValueError(f"{folder / 'captions.json'} must map names to captions")
    pictures = {file.stem: file for file in _files(folder / "pictures", SUFFIXES)}
    entries = [
        CaptureEntry(file, pictures[file.stem], _as_captions(captions.get(file.stem)))
        for file in _files(folder / "captures", _CAPTURE_SUFFIXES)
        if file.stem in pictures
    ]
    if not entries:
        raise FileNotFoundError(
            f"no captures/NAME.* with a pictures/NAME.* of the same name in {folder}"
        )
    return entries


def difuzcam_entries(folder: Path) -> list[CaptureEntry]:
    """List a download of DifuzCam's data set in the layout of Hugging Face's image folders.

    Each line of ``metadata.jsonl`` is an object that names the two files, relative to the folder,
    and optionally its captions. The published column names could not be checked against the data
    set itself; the likely ones are understood, also with ``_file_name`` appended.

    Raises
    ------
    FileNotFoundError
        The folder has no ``metadata.jsonl``.
    ValueError
        A line is damaged or lacks a column; the message lists those there are.
    """
    path = folder / "metadata.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"no metadata.jsonl in {folder}")
    return [_entry(folder, row, number) for number, row in _rows(path)]


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: no JSON: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: wanted an object, got {line[:40]}")
        yield number, row


def _entry(folder: Path, row: Mapping[str, Any], number: int) -> CaptureEntry:
    def find(names: Sequence[str]) -> Any:
        both = (*names, *(f"{name}_file_name" for name in names))
        return next((row[name] for name in both if row.get(name)), None)

    capture, picture = find(_CAPTURE_COLUMNS), find(_PICTURE_COLUMNS) or row.get("file_name")
    if not isinstance(capture, str) or not isinstance(picture, str):
        raise ValueError(
            f"{folder / 'metadata.jsonl'}, line {number}: no capture and picture among "
            f"the columns {', '.join(row)}"
        )
    return CaptureEntry(folder / capture, folder / picture, _as_captions(find(_CAPTION_COLUMNS)))


def _as_captions(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value or ()))


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    return sorted(file for file in folder.glob("*") if file.suffix.lower() in suffixes)


class CapturePairs:
    """Real captures and their pictures.

    An entry that cannot be read is reported once by name; the next one that can stands in for it.

    Parameters
    ----------
    entries : sequence of CaptureEntry
        The files.
    observe : callable
        From a raw frame to its :class:`~barelens.imaging.refine.training.cameras.Observation`.
    conditioning : {"linear", "capture"}
        Whether pairs hold a description of the linear reconstruction or the prepared capture.
    side : int
        Height and width of the pictures; for "linear" that of the reconstruction.
    seed : int
        Seed of the choice of captions; the first one always where None.
    start : {"linear", "total_variation"}, optional
        What a model of "linear" conditioning starts from.
    report : callable, optional
        Called with one line for every entry passed over.
    """

    def __init__(
        self,
        entries: Sequence[CaptureEntry],
        observe: Callable[[Tensor], Observation],
        *,
        conditioning: str,
        side: int,
        seed: int | None,
        start: StartKind = "linear",
        report: Callable[[str], object] | None = None,
    ) -> None:
        if not entries:
            raise ValueError("entries must name at least one capture")
        self._entries, self._observe = list(entries), observe
        self._conditioning, self._start, self._side, self._seed = conditioning, start, side, seed
        self._report = report or (lambda line: None)
        self._bad: set[int] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Pair:
        """Read one pair."""
        number = len(self._entries)
        if not 0 <= index < number:
            raise IndexError(index)
        for place in ((index + step) % number for step in range(number)):
            if place in self._bad:
                continue
            try:
                return self._read(place)
            except (FileError, OSError, ValueError) as error:
                self._bad.add(place)
                name = self._entries[place].capture
                text = str(error)
                self._report(f"passed over: {text if str(name) in text else f'{name}: {text}'}")
        raise FileError(f"none of the {number} captures could be used with its picture")

    def _read(self, place: int) -> Pair:
        entry = self._entries[place]
        picture = read_image(entry.picture, encoding="srgb", alpha="drop")
        picture = resize(picture.expand(3, *picture.shape[-2:])[None], (self._side, self._side))
        observation = self._observe(read_raw(entry.capture))
        if self._conditioning == "capture":
            conditioning = observation.capture
            white = torch.ones(1)
        else:
            # A picture on a screen and its reconstruction have no common unit: their whites do.
            conditioning = observation.start(self._start).conditioning()
            white = white_level(picture)
        return Pair(
            picture=to_model_range(picture, white)[0],
            conditioning=conditioning[0],
            caption=self._caption(place),
        )

    def _caption(self, place: int) -> str:
        captions = self._entries[place].captions
        if not captions:
            return ""
        if self._seed is None:
            return captions[0]
        return captions[np.random.default_rng([self._seed, place]).integers(len(captions))]

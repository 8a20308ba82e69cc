"""COCO's run-length masks, plain and compressed, without pycocotools."""

from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from ...imaging.shapes import ShapeError

__all__ = ["RunLengths", "decode_mask", "encode_classes", "encode_mask"]


class RunLengths(TypedDict):
    """A mask as COCO writes it: size (height, width) and runs down the columns.

    ``counts`` begins with a run of zeros; it is a list of numbers or their compressed string.
    """

    size: list[int]
    counts: list[int] | str


def encode_mask(mask: Tensor, *, compressed: bool = True) -> RunLengths:
    """Encode a mask.

    Parameters
    ----------
    mask : Tensor of bool, shape (height, width)
        True inside.
    compressed : bool
        As a string, which COCO's results use, or as a list, which its crowd annotations use.
    """
    if mask.ndim != 2 or mask.dtype != torch.bool:
        raise ShapeError(
            f"mask must have dtype bool and shape (height, width), got {mask.dtype} and "
            f"{tuple(mask.shape)}"
        )
    pixels = mask.cpu().numpy().flatten(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [pixels.size]])).tolist()
    if pixels.size and pixels[0]:
        runs = [0, *runs]
    return {"size": list(mask.shape), "counts": _compress(runs) if compressed else runs}


def encode_classes(class_map: Tensor) -> dict[int, RunLengths]:
    """Encode each class but the background of a map (height, width) that has any pixel of it."""
    classes = torch.unique(class_map).tolist()
    return {index: encode_mask(class_map == index) for index in classes if index != 0}


def decode_mask(runs: RunLengths) -> Tensor:
    """Decode a mask to bool, shape (height, width).

    Raises
    ------
    ValueError
        The runs do not fill the size.
    """
    height, width = runs["size"]
    counts = runs["counts"]
    if isinstance(counts, str):
        counts = _expand(counts)
    if sum(counts) != height * width or any(count < 0 for count in counts):
        raise ValueError(f"counts must fill {height}x{width} pixels, got {sum(counts)}")
    values = np.arange(len(counts)) % 2 == 1
    pixels = np.repeat(values, counts).reshape((height, width), order="F")
    return torch.from_numpy(np.ascontiguousarray(pixels))


def _compress(runs: list[int]) -> str:
    """Write each run less the run before the last, five bits to a character, low bits first."""
    characters = []
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        while True:
            bits, value = value & 0x1F, value >> 5
            # The highest bit that was written is the sign.
            more = value != -1 if bits & 0x10 else value != 0
            characters.append(chr(48 + bits + (0x20 if more else 0)))
            if not more:
                break
    return "".join(characters)


def _expand(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    if shift:
        raise ValueError("counts end in the middle of a number")
    return runs

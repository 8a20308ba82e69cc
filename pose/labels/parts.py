"""Names and colours of the parts of people."""

from dataclasses import dataclass
from functools import cache

from .files import read_facts

__all__ = ["PartLabels", "named_parts", "part_labels"]

_GOLDEN_TURN = 0.618033988749895  # spreads hues evenly for any number of classes


@dataclass(frozen=True)
class PartLabels:
    """What the classes of a segmentation are.

    Attributes
    ----------
    names : tuple of str
        Of each class; the first is the background.
    palette : tuple of (int, int, int)
        Red, green and blue of each in 0..255.
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def flip_indices(self) -> tuple[int, ...]:
        """Which class each one becomes in a mirror: left and right trade places."""
        mirrored = {name: index for index, name in enumerate(self.names)}
        return tuple(mirrored.get(_mirror(name), index) for index, name in enumerate(self.names))


@cache
def part_labels(classes: int) -> PartLabels:
    """Return the labels of a segmentation by its number of classes.

    28 are those of the first generation, 29 of the second (with eyeglasses). Others, of whose
    names nothing is known here, get numbers for names and colours of evenly spread hues.

    Raises
    ------
    ValueError
        ``classes`` is not positive.
    """
    if classes < 1:
        raise ValueError(f"classes must be positive, got {classes}")
    if classes in (28, 29):
        facts = read_facts(f"parts{classes}")
        palette = tuple((red, green, blue) for red, green, blue in facts["palette"])
        return PartLabels(tuple(facts["names"]), palette)
    return named_parts(("Background", *(f"Class_{index}" for index in range(1, classes))))


def named_parts(names: tuple[str, ...]) -> PartLabels:
    """Return labels of given names: known parts in their colours, the others in colours apart.

    Parameters
    ----------
    names : tuple of str
        Of each class, the background first.
    """
    facts = read_facts("parts29")
    known = dict(zip(facts["names"], map(tuple, facts["palette"]), strict=True))
    colours = [known.get(name, _hue(index * _GOLDEN_TURN % 1)) for index, name in enumerate(names)]
    return PartLabels(tuple(names), (known["Background"], *colours[1:]))


def _mirror(name: str) -> str:
    if name.startswith("Left_"):
        return "Right_" + name.removeprefix("Left_")
    return "Left_" + name.removeprefix("Right_") if name.startswith("Right_") else name


def _hue(turn: float) -> tuple[int, int, int]:
    import colorsys

    red, green, blue = colorsys.hsv_to_rgb(turn, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)

"""Names and colours of a camera's planes."""

from typing import NamedTuple

from ..camera import Camera

__all__ = ["PlaneStyle", "plane_styles"]


class PlaneStyle(NamedTuple):
    """How a plane is named and drawn."""

    label: str
    tone: str
    dashed: bool = False


_BAYER = (
    PlaneStyle("R", "red"),
    PlaneStyle("Gr", "green"),
    PlaneStyle("Gb", "teal", dashed=True),
    PlaneStyle("B", "blue"),
)
_RGB = (PlaneStyle("R", "red"), PlaneStyle("G", "green"), PlaneStyle("B", "blue"))


def plane_styles(camera: Camera, count: int) -> list[PlaneStyle]:
    """Give each of the planes that something has its style; "all" where it serves all planes."""
    if count == 1:
        return [PlaneStyle("all", "ink")]
    if camera.bayer:
        return list(_BAYER)
    if count == 3:
        return list(_RGB)
    return [PlaneStyle(f"plane {index}", "ink", bool(index % 2)) for index in range(count)]

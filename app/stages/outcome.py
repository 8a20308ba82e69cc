"""What the stages find, gathered one by one."""

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from ...imaging.refine import Refined
from ...pose import HumanOutput
from ..pipeline import LinearScene
from ..trust_record import TrustReport
from .choices import DemoSettings
from .panel import Panel
from .sources import Source

__all__ = ["Outcome"]


@dataclass(frozen=True, eq=False)
class Outcome:
    """All that is known of one capture so far.

    Attributes
    ----------
    source : Source
        The capture.
    settings : DemoSettings
        How it was treated.
    scene : LinearScene
        The linear reconstruction.
    capture, linear : Panel
        The raw capture and the linear reconstruction, of one size.
    refined : Refined or None
        What the refiner made of it.
    trust : TrustReport or None
        How far the linear reconstruction can be trusted.
    measured_share : Tensor or None
        How much of each pixel's contrast was measured of the best picture there is.
    people : HumanOutput or None
        Who is in the best picture there is.
    panels : tuple of Panel
        Further pictures, in the order in which they were made.
    seconds : dict of str to float
        Time of each stage.
    skipped : dict of str to str
        Why a stage that was asked for could not be done.
    record : dict
        What else the record says; JSON data.
    """

    source: Source
    settings: DemoSettings
    scene: LinearScene
    capture: Panel
    linear: Panel
    refined: Refined | None = None
    trust: TrustReport | None = None
    measured_share: Tensor | None = None
    people: HumanOutput | None = None
    panels: tuple[Panel, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)

    def panel(self, key: str) -> Panel | None:
        """Find a picture by its key."""
        return next((panel for panel in self.panels if panel.key == key), None)

    def adding(
        self, stage: str, seconds: float, *panels: Panel, record: Any = None, **found: Any
    ) -> "Outcome":
        """Add what a stage found."""
        return replace(
            self,
            panels=self.panels + panels,
            seconds={**self.seconds, stage: seconds},
            record=self.record if record is None else {**self.record, stage: record},
            **found,
        )

    def skipping(self, stage: str, reason: str) -> "Outcome":
        """Say why a stage could not be done."""
        return replace(self, skipped={**self.skipped, stage: reason})

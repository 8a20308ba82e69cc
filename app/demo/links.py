"""Links that carry settings."""

from typing import Any
from urllib.parse import parse_qs

from ..stages.choices import EXAMPLES, STAGES, DemoSettings, missing_stages

__all__ = ["SHARE_LINK", "restored"]

#: Write the settings into the address of the page; computed by the browser alone.
SHARE_LINK = """(...values) => {{
  const names = {names};
  const query = new URLSearchParams(names.map((name, index) => [name, values[index]]));
  const link = location.origin + location.pathname + "?" + query;
  history.replaceState(null, "", link);
  return link;
}}"""


def restored(query: str) -> list[Any]:
    """Read a link's query back into source, example, stages and settings.

    What is missing, unknown or out of range stays as the page has it.
    """
    given = {name: values[-1] for name, values in parse_qs(query.lstrip("?")).items()}
    settings = DemoSettings.from_query(given)
    missing = missing_stages()
    here = [stage for stage in STAGES if stage not in missing]
    wanted = given["stages"].split(",") if "stages" in given else here
    return [
        given.get("source") if given.get("source") in ("example", "picture") else "example",
        given["example"] if given.get("example") in EXAMPLES else "fc_8",
        [stage for stage in here if stage in wanted],
        settings.method,
        settings.penalty,
        settings.iterations,
        settings.imagination,
        settings.seed,
    ]

"""The packaged facts."""

import json
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["read_facts"]


@cache
def read_facts(name: str) -> dict[str, Any]:
    """Read one of the JSON files beside this module."""
    return json.loads(Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))

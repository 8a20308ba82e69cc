"""What building the site adds to MkDocs: files from beside the pages, and formulas as MathML."""

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add what lies elsewhere: the README's pictures and page, and the cards of models."""
    docs = Path(config.config_file_path).parent
    outside = {f"pictures/{path.name}": path for path in docs.glob("*.png")}
    outside["million.md"] = docs / "million.md"
    for card in docs.parent.glob("data/*/README.md"):
        outside[f"models/{card.parent.name}.md"] = card
    for name, path in sorted(outside.items()):
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_content(content: str, **_: Any) -> str:
    """Draw formulas by the browser itself, so that the site needs no script from elsewhere."""
    return _FORMULA.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    display = "block" if found[1] == "div" else "inline"
    return convert(html.unescape(found[2]).strip(), display=display)

"""The documentation is true: its code runs, its commands run, and the site builds strictly."""

import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from barelens.app.cli import cli

DOCS = Path(__file__).parent.parent / "docs"
PAGES = [*sorted((DOCS / "pages").rglob("*.md")), DOCS / "million.md"]
BLOCK = re.compile(
    r"(?:<!-- (?P<skip>not run: [^\n]+|needs: (?P<needs>\w+)) -->\n+)?"
    r"^```(?P<kind>python|bash)\n(?P<code>.*?)^```",
    re.DOTALL | re.MULTILINE,
)


def _is_run(block):
    return not block["skip"] or (block["needs"] and find_spec(block["needs"]) is not None)


def _blocks(page):
    return [found for found in BLOCK.finditer(page.read_text()) if _is_run(found)]


def _commands(code):
    lines = code.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("barelens ")]


def _run_command(line):
    result = CliRunner().invoke(cli, shlex.split(line, comments=True)[1:])
    assert result.exit_code == 0, f"{line}\n{result.output}"


@pytest.mark.parametrize("page", [page for page in PAGES if _blocks(page)], ids=lambda p: p.stem)
def test_blocks_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in _blocks(page):
        if block["kind"] == "python":
            exec(compile(block["code"], page.name, "exec"), names)
        else:
            for line in _commands(block["code"]):
                _run_command(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_that_are_not_run_are_still_commands_with_these_options(page):
    for found in BLOCK.finditer(page.read_text()):
        for line in _commands(found["code"]) if not _is_run(found) else []:
            words = shlex.split(line, comments=True)[1:]
            help_page = CliRunner().invoke(
                cli, [*_command_path(words), "--help"], env={"COLUMNS": "200"}
            )
            assert help_page.exit_code == 0, line
            for option in (word for word in words if word.startswith("--")):
                assert option in help_page.output, line


def _command_path(words):
    return words[: 2 if words[0] in ("calibrate", "evaluate", "train") else 1]


def test_the_site_builds_strictly_and_asks_nobody_else_for_anything(tmp_path):
    for package in ("material", "mkdocstrings_handlers", "latex2mathml"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    build = (sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet")
    result = subprocess.run(
        [*build, "-f", DOCS / "mkdocs.yml", "-d", tmp_path / "site"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert {page.stem for page in pages} >= {page.stem for page in PAGES}
    for page in pages:
        text = page.read_text()
        loaded = re.findall(r"""<(?:script|img|iframe)[^>]*\ssrc=["']?(https?:[^"'\s>]+)""", text)
        loaded += re.findall(r"""<link[^>]*rel=["']?stylesheet[^>]*href=["']?(https?:\S+)""", text)
        assert not loaded, page
        assert "arithmatex" not in text, page
        assert not re.findall(r"<m[a-z]+>\\\w+", text), f"{page}: a formula was not understood"

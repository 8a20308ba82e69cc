"""The direction of imports and the contents of the package."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("imaging", "pose", "calibration", "app", "data")
ALLOWED = {
    "imaging": {"imaging"},
    "pose": {"pose", "imaging"},
    "calibration": {"calibration", "imaging"},
    "app": {"app", "calibration", "data", "imaging", "pose"},
    "data": {"data"},
}
#: Imported inside the functions that use them, so that starting up stays fast.
HEAVY = {
    *("PIL", "cv2", "diffusers", "gradio", "matplotlib", "rawpy", "scipy", "skimage"),
    *("tifffile", "torchmetrics", "torchvision", "transformers"),
}


def _sources(package):
    return [path for path in sorted((ROOT / package).rglob("*.py")) if path.name != "make_data.py"]


def _imported_packages(source):
    """Top packages of barelens that a file imports, resolving relative imports."""
    inside = source.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ("barelens", *inside)[: len(inside) + 2 - node.level]
            target = (*base, *(node.module.split(".") if node.module else ()))
            names = [target] if len(target) > 1 else [(*target, a.name) for a in node.names]
            yield from (name[1] for name in names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("barelens"):
            yield (node.module or "").split(".")[1]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_follow_the_direction(package):
    for source in _sources(package):
        assert set(_imported_packages(source)) <= ALLOWED[package], source


@pytest.mark.parametrize("package", PACKAGES)
def test_heavy_packages_are_imported_where_they_are_used(package):
    for source in _sources(package):
        for node in ast.parse(source.read_text()).body:
            if isinstance(node, ast.Import):
                top = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                top = {(node.module or "").split(".")[0]}
            else:
                continue
            assert not top & HEAVY, source


def test_every_package_is_installed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(settings["tool"]["setuptools"]["packages"])
    found = {
        ".".join(("barelens", *path.parent.relative_to(ROOT).parts))
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }
    found = found - {"barelens.app.root"} | {"barelens"}  # that folder is the package itself
    data_folders = {
        f"barelens.data.{path.name}"
        for path in (ROOT / "data").iterdir()
        if path.is_dir() and path.name != "__pycache__"
    }
    assert listed == found | data_folders


def test_imaging_loads_nothing_heavy():
    code = f"import sys, barelens.imaging; sys.exit(bool({HEAVY!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

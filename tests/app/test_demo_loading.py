"""The first page waits for nothing that it does not show."""

import subprocess
import sys

import pytest

pytest.importorskip("gradio")

BUILDING = """
import sys
from barelens.app.demo import build_demo

page = build_demo()
print(sorted({"torch", "pandas", "cv2", "scipy"} & set(sys.modules)))

import gradio.caching
import pandas  # as any other package would

print(pandas.__version__ != "" and gradio.caching.pd.DataFrame is pandas.DataFrame)
"""


def test_building_the_page_loads_neither_torch_nor_pandas_and_breaks_neither():
    run = subprocess.run([sys.executable, "-c", BUILDING], check=True, capture_output=True)
    assert run.stdout.decode().split("\n")[:2] == ["[]", "True"]


def test_gradio_makes_its_application_when_launched_and_not_before(demo_page, demo_address):
    from gradio.routes import App

    from barelens.app.demo import build_demo

    assert isinstance(demo_page.app, App)
    unlaunched = build_demo()
    assert unlaunched.app is None
    assert isinstance(App.create_app(unlaunched), App)  # as mounting it elsewhere does

"""The web demo as a visitor meets it, in a real browser."""

import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


def test_a_visitor_reconstructs_looks_and_downloads_and_nothing_leaves(browser, demo_address):
    hosts, errors = set(), []
    page = browser.new_page(viewport={"width": 400, "height": 860})
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{demo_address}?example=fc_6&method=cg&iterations=20&stages=trust")
    page.locator("input[value=fc_6]:checked").wait_for(state="attached")
    page.get_by_role("button", name="Reconstruct", exact=True).click()
    page.get_by_text("Done in").wait_for(timeout=60_000)
    page.get_by_role("tab", name="Numbers").click()
    assert page.get_by_role("row", name="Method").get_by_text("cg").is_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download everything (zip)").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert {"fc_6.json", "fc_6.linear.tif"} <= set(archive.namelist())

    page.get_by_role("tab", name="Measured?").click()
    alternatives = [each.get_attribute("alt") for each in page.locator("img:visible").all()]
    assert len(alternatives) >= 4 and all(alternatives)  # both sides of the slider, two maps
    assert page.evaluate("document.documentElement.scrollWidth") <= 400  # fits on a phone
    assert hosts - {None, ""} <= {"127.0.0.1"}
    assert errors == []
    page.close()


def test_a_link_carries_the_settings(browser, demo_address):
    page = browser.new_page()
    page.goto(f"{demo_address}?example=hand&seed=12&penalty=0.01")
    page.locator("input[value=hand]:checked").wait_for(state="attached")
    page.get_by_role("button", name="Share these settings").click()
    page.get_by_role("button", name="Make a link to these settings").click()
    page.wait_for_url("**?*source=example*")
    assert "example=hand" in page.url
    assert "seed=12" in page.url
    assert "penalty=0.01" in page.url
    page.close()

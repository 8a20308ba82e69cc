"""The web demo as a visitor meets it, in a real browser."""

import os
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from barelens import data
from barelens.app.stages import jobs, sources
from barelens.app.virtual_camera import VirtualSettings
from barelens.calibration import Camera


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


def test_a_webcam_frame_goes_through_the_virtual_camera(browser, demo_address, monkeypatch):
    small = {"sensor_size": (160, 200), "scene_size": (32, 32), "field_of_view_deg": 5.0}
    monkeypatch.setattr(sources, "VIRTUAL_SIZES", small)
    page = browser.new_page()
    page.goto(f"{demo_address}?source=picture&stages=")
    page.locator("input[value=picture]:checked").wait_for(state="attached")
    page.get_by_role("button", name="Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('video').videoWidth > 0")
    page.get_by_role("button", name="capture photo").click()
    page.get_by_role("button", name="Remove Image").wait_for()
    page.get_by_role("button", name="Reconstruct", exact=True).click()
    page.get_by_text("Done in").wait_for(timeout=60_000)
    page.get_by_role("tab", name="Numbers").click()
    decibels = page.get_by_role("row", name="PSNR, linear").get_by_role("cell").inner_text()
    assert float(decibels.removesuffix(" dB")) > 10  # the scene is the frame, so it is known
    page.close()


def test_a_batch_names_what_it_cannot_use(browser, demo_address, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    captures = [data.path("flatcam/fc_6.png"), data.path("flatcam/fc_7.png"), tmp_path / "text.png"]
    page = browser.new_page()
    page.goto(demo_address)
    page.get_by_role("tab", name="Batch").click()
    start = page.get_by_role("button", name="Reconstruct all")
    panel = page.get_by_role("tabpanel").filter(has=start)
    panel.locator("input[type=file]").first.set_input_files(captures)
    panel.get_by_role("cell", name="text.png").wait_for()
    start.click()
    panel.get_by_text("2 reconstructed, 1 could not be used.").wait_for(timeout=60_000)
    rows = panel.get_by_role("table", name="Captures and their residuals").get_by_role("row")
    assert "residual" in rows.filter(has_text="fc_6").inner_text()
    assert "cannot be read as PNG" in rows.filter(has_text="text.png").inner_text()
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download results (zip)").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert {"fc_6.linear.tif", "fc_7.linear.json"} <= set(archive.namelist())
    page.close()


def test_a_practice_set_becomes_a_camera_and_is_deleted(
    browser, demo_address, demo_page, monkeypatch
):
    from gradio.route_utils import delete_files_created_by_app

    small = VirtualSettings(
        order=6, sensor_size=(64, 80), scene_size=(16, 16), field_of_view_deg=5.0
    )
    monkeypatch.setattr(jobs, "PRACTICE", small)
    page = browser.new_page()
    page.goto(demo_address)
    page.get_by_role("tab", name="Calibrate").click()
    page.get_by_role("button", name="Make a practice set").click()
    page.get_by_text("A practice set is in the field").wait_for(timeout=60_000)
    page.get_by_role("button", name="Calibrate", exact=True).click()
    page.get_by_text("Calibrated. All captures could be used.").wait_for(timeout=60_000)
    report = page.frame_locator("iframe[title='Report on the camera']")
    report.get_by_role("heading").first.wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Camera record").click()
    assert Camera.load(download.value.path()).frame_shape == (64, 80)
    page.close()
    delete_files_created_by_app(demo_page, age=0)
    left = Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*")
    assert not [path for path in left if path.is_file()]

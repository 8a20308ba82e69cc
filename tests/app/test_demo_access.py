"""The web demo for people without a mouse, and for eyes that want more contrast."""

from pathlib import Path

import pytest

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
#: What has the focus: its role, its text or value, and how thick a line is around it.
FOCUS = """() => {
  const element = document.activeElement, style = getComputedStyle(element);
  const line = style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth);
  return [element.getAttribute("role") || element.type, element.value || element.innerText, line];
}"""


def test_the_keyboard_is_enough(browser, demo_address):
    page = browser.new_page()
    page.goto(f"{demo_address}?example=fc_6&stages=")
    page.locator("input[value=fc_6]:checked").wait_for(state="attached")
    for _ in range(40):
        page.keyboard.press("Tab")
        kind, text, line = page.evaluate(FOCUS)
        assert line >= 2, f"nothing shows that {text!r} has the focus"
        if text == "fc_7":
            page.keyboard.press("Space")
        if (kind, text) == ("submit", "Reconstruct"):
            break
    blue = "getComputedStyle(document.activeElement).outlineColor == 'rgb(59, 130, 246)'"
    page.wait_for_function(blue)  # Gradio fades it in, from white
    page.keyboard.press("Enter")
    page.get_by_text("Done in").wait_for(timeout=60_000)
    assert page.locator("input[value=fc_7]").is_checked()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUS)[1] == "Download everything (zip)":
            break
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert "fc_7" in download.value.suggested_filename
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_text_can_be_read_in_both_themes(browser, demo_address, theme):
    page = browser.new_page()
    page.goto(f"{demo_address}?__theme={theme}&example=fc_6&stages=trust")
    page.locator("input[value=fc_6]:checked").wait_for(state="attached")
    page.get_by_role("button", name="Reconstruct", exact=True).click()
    page.get_by_text("Done in").wait_for(timeout=60_000)
    seen = set()
    for tab in ("Measured?", "Numbers", "Build a camera", "Calibrate", "Batch", "About"):
        page.get_by_role("tab", name=tab).first.click()
        page.wait_for_timeout(400)  # colours fade
        found = page.evaluate(CONTRAST)
        seen.update(text for _, text, _ in found)
        faint = [each for each in found if each[0] < 4.5]  # WCAG 2, level AA
        assert not faint, f"{tab}: {faint}"
    assert {"barelens", "Choose a capture", "Method", "Captures."} <= seen
    assert ("dark" in (page.locator("body").get_attribute("class") or "")) == (theme == "dark")
    page.close()

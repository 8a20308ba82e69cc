"""The page about a camera record: complete, self-contained, and right in what it predicts."""

import dataclasses
import html.parser

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barelens import data
from barelens.calibration import Camera
from barelens.calibration.describe import describe
from barelens.calibration.report import findings, render_report, write_report
from barelens.calibration.report.drawing import Series, line_plot
from barelens.calibration.report.outlook import SCENE_MEAN, SCENE_STD, Outlook
from barelens.calibration.report.psf import by_frequency
from barelens.imaging import (
    MeanRemoval,
    SeparableGeometry,
    Tikhonov,
    VirtualCamera,
    m_sequence,
)
from barelens.imaging.bayer import split_bayer

VOID = {"meta", "img", "link", "br", "path"}


class _Page(html.parser.HTMLParser):
    """Elements of a page, which must close in the order in which they open."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def _separable(**changes):
    generator = torch.Generator().manual_seed(0)
    sides = [torch.randn(4, size, 12, generator=generator) / size for size in (40, 50)]
    camera = Camera(
        name="toy",
        frame_shape=(80, 100),
        white_level=4095,
        bayer="RGGB",
        mean_removal=True,
        phi_left=sides[0],
        phi_right=sides[1],
        residuals={
            "left": {"pattern_sigma_ratio": [0.02, None, 0.05], "lost": [1], "rejected": []},
            "right": {"pattern_sigma_ratio": [0.02, 0.5, 0.5], "lost": [], "rejected": [0]},
        },
        provenance={"method": "invented", "frames": list(range(20))},
    )
    return dataclasses.replace(camera, **changes)


def _spread(channels=(), **changes):
    psf = torch.rand(*channels, 40, 50, generator=torch.Generator().manual_seed(1))
    psf = psf * torch.hann_window(40)[:, None] * torch.hann_window(50)
    camera = Camera(name="toy", frame_shape=tuple(psf.shape), white_level=1.0, psf=psf)
    return dataclasses.replace(camera, **changes)


@pytest.mark.parametrize(
    "camera",
    [
        _separable(),
        _separable(residuals={}, provenance={}, mean_removal=False),
        _spread(),
        _spread((3,), residuals={"cut_off": True, "second_peak": 0.4}),
        Camera.load(data.path("flatcam/camera.safetensors")),
    ],
    ids=["separable", "bare", "grey PSF", "colour PSF", "real"],
)
def test_page_is_whole_asks_for_nothing_and_can_be_read_out(camera):
    text = render_report(camera)
    page = _Page(text)
    assert camera.digest in text
    for forbidden in ("http:", "https:", "<script", "<link", "@import"):
        assert forbidden not in text
    pictures, drawings = page.all("img"), page.all("svg")
    assert pictures and drawings
    assert all(p["src"].startswith("data:image/png;base64,") and p["alt"] for p in pictures)
    assert all(d["role"] == "img" and d["aria-label"] for d in drawings)
    assert all("scope" in head for head in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert "nan" not in text.split("<body>")[1].replace("data:image", "").lower().split("base64")[0]
    for finding in findings(camera):
        assert finding.split("(")[0][:30] in text


def test_every_plane_is_shown():
    text = render_report(_separable())
    for plane in ("R", "Gr", "Gb", "B"):
        assert f"Along the height, plane {plane}: 40x12." in text
        assert f"Along the width, plane {plane}: 50x12." in text


def test_residuals_of_any_kind_are_listed():
    fit = {
        "held_out": {"plain": 0.25, "structured": None},
        "slope": 1.5,
        "pattern_sigma_ratio": None,
    }
    text = render_report(_separable(residuals={"left": fit, "correlation": [0.9, 0.8]}))
    for row in (
        '<th scope="row">height: slope</th><td>1.5</td>',
        '<th scope="row">height: held out</th><td>plain: 0.25; structured: none</td>',
        '<th scope="row">correlation</th><td>0.9, 0.8</td>',
    ):
        assert row in text
    assert "pattern sigma" not in text


def test_what_records_say_is_text_not_markup():
    name = "<script>alert('&')</script>"
    text = render_report(_separable(name=name, provenance={"<b>": "<i>who</i>"}))
    assert "<script>" not in text and "<i>" not in text and "<b>" not in text
    assert "&lt;script&gt;" in text
    _Page(text)


def test_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "camera.html"
    write_report(path, _spread())
    assert path.read_text(encoding="utf-8") == render_report(_spread())
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        write_report(tmp_path / "missing" / "camera.html", _spread())


def test_findings_name_what_is_wrong():
    found = "\n".join(findings(_separable()))
    assert "Patterns along the height lost or saturated, and filled from the rest: 1." in found
    assert "2 of 3 patterns along the width" in found
    assert "along the width left out because they contradict the rest: 1." in found
    assert "Bad conditioning" not in found
    flat = torch.ones(4, 40, 12) + 1e-4 * torch.rand(4, 40, 12)
    found = "\n".join(findings(_separable(phi_left=flat, mean_removal=False)))
    assert "Bad conditioning along the height: 1 of 12" in found
    unsure = _separable()
    found = findings(
        dataclasses.replace(
            unsure, phi_left_std=0.5 * unsure.phi_left.abs(), phi_right_std=unsure.phi_right * 0
        )
    )
    assert sum("is uncertain by 50%" in line for line in found) == 1
    assert any("how this record was made" in line for line in findings(_spread()))
    cut = _spread(residuals={"cut_off": True, "used": ["a.png"], "problems": {"b": "b: clipped"}})
    found = "\n".join(findings(cut))
    for words in ("reaches the edge", "rests on one capture", "left out. b: clipped."):
        assert words in found
    assert "rows hold" in "\n".join(findings(_spread(psf=torch.ones(40, 50))))


def test_good_record_has_no_findings():
    camera = _separable(residuals={"left": {"pattern_sigma_ratio": [0.01]}, "right": {}})
    assert findings(camera) == []
    assert "Nothing in this record stands out" in render_report(camera)


def test_text_says_the_same_in_short():
    assert "warning: 2 of 3 patterns along the width" in describe(_separable())
    assert "of frequencies keep" in describe(_spread((3,)))


@settings(deadline=None, max_examples=10)
@given(st.floats(1e-3, 1e3), st.booleans())
def test_units_of_the_record_do_not_change_what_is_predicted(scale, separable):
    if separable:
        camera = _separable()
        scaled = dataclasses.replace(camera, phi_left=scale * camera.phi_left)
    else:
        camera = _spread((3,))
        scaled = dataclasses.replace(camera, psf=scale * camera.psf)
    one, other = Outlook.of(camera), Outlook.of(scaled)
    for smooth in (False, True):
        torch.testing.assert_close(
            one.psnr(800.0, smooth=smooth), other.psnr(800.0, smooth=smooth), rtol=1e-5, atol=0
        )


@pytest.mark.parametrize("camera", [_separable(), _spread((3,))], ids=["separable", "PSF"])
def test_more_light_shows_more(camera):
    outlook = Outlook.of(camera)
    for smooth in (False, True):
        assert bool((outlook.psnr(4000.0, smooth=smooth) > outlook.psnr(40.0, smooth=smooth)).all())
        assert bool((outlook.psnr(4.0, smooth=smooth) > 12.04).all())
    assert bool((outlook.detail(4000.0) < outlook.detail(40.0)).all())
    assert bool((outlook.detail(4000.0) >= 1).all())


@pytest.mark.parametrize("electrons", [100.0, 3000.0])
def test_prediction_meets_simulated_captures(electrons):
    """Expose a virtual camera that the record describes, and reconstruct as the page assumes."""
    profile = m_sequence(7)
    virtual = VirtualCamera(
        SeparableGeometry(150, 170, 32, 32, wavelength_nm=550.0), profile, profile
    )
    operator = virtual.operator(dtype=torch.float64)
    camera = Camera(
        name="virtual",
        frame_shape=(300, 340),
        white_level=4095,
        black_level=64,
        bayer="RGGB",
        mean_removal=True,
        phi_left=operator.phi_left,
        phi_right=operator.phi_right,
    )
    outlook = Outlook.of(camera)
    white = virtual.light(torch.ones(3, *virtual.fine_scene_size)).mean()
    assert float(outlook.white) == pytest.approx(float(white), rel=0.1)

    generator = torch.Generator().manual_seed(2)
    scene = SCENE_MEAN + SCENE_STD * torch.randn(3, 32, 32, generator=generator)
    scene = scene.double().clamp_min(0)
    fine = scene.repeat_interleave(2, -1).repeat_interleave(2, -2)
    light = virtual.light(fine).clamp_min(0)
    rate = electrons / float(light.mean())
    sensor = outlook.sensor
    counts = sensor.expose(light * rate, exposure_s=1.0, seed=3)
    levelled = sensor.to_linear(counts, dtype=torch.float64) * sensor.full_well_e / rate
    planes = split_bayer(levelled, "RGGB")
    seen = operator.centred()
    mean = torch.full((4, 32, 32), SCENE_MEAN, dtype=torch.float64)
    coded = MeanRemoval(tuple(planes.shape)).forward(planes) - seen.forward(mean)
    penalty = float(outlook.noise_std(electrons)) ** 2 / SCENE_STD**2
    error = Tikhonov(seen, penalty)(coded) + mean - scene[[0, 1, 1, 2]]
    measured = -10 * torch.log10(error.square().mean())
    predicted = float(outlook.psnr(electrons, smooth=False))
    assert float(measured) == pytest.approx(predicted, abs=0.4)
    assert predicted > 12.3  # more than the prior alone gives


@pytest.mark.parametrize("smooth", [False, True])
def test_prediction_for_a_psf_is_that_of_the_best_filter_on_periodic_scenes(smooth):
    psf = torch.rand(40, 50, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    outlook = Outlook.of(_spread(psf=psf**8))
    noise = float(outlook.noise_std(5000.0))
    generator = torch.Generator().manual_seed(5)
    white, error = (
        torch.randn(400, 40, 50, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    spectrum = outlook.smooth[0] if smooth else torch.ones(40, 50)
    scene = SCENE_STD * torch.fft.ifft2(torch.fft.fft2(white) * spectrum.sqrt()).real
    transfer = torch.fft.fft2(psf**8)
    capture = torch.fft.ifft2(torch.fft.fft2(scene) * transfer).real + noise * error
    wiener = outlook.measured(5000.0, smooth=smooth)[0] / transfer
    found = torch.fft.ifft2(torch.fft.fft2(capture) * wiener).real
    measured = -10 * torch.log10((found - scene).square().mean())
    predicted = float(outlook.psnr(5000.0, smooth=smooth))
    assert float(measured) == pytest.approx(predicted, abs=0.1)
    assert predicted > 12.2


def test_directions_are_averaged():
    height, width = 48, 60
    radius = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width))
    frequency, mean = by_frequency(3 * radius)
    assert max(frequency) <= 0.5
    for at, value in zip(frequency, mean, strict=True):
        assert value == pytest.approx(3 * at, abs=3 / 240)


def test_line_plot_leaves_gaps_and_refuses_nothing_to_draw():
    curve = [1.0, 10.0, float("nan"), 0.0, 1000.0, 1e4]
    drawn = line_plot(
        [Series("a < b", range(6), curve), Series("dots", range(6), curve, dots=True)],
        title="Title",
        description="Two series.",
        x_label="x",
        y_label="y & z",
        log_y=True,
    )
    _Page(drawn)
    assert "a &lt; b" in drawn and "y &amp; z" in drawn
    line = drawn.split('class="line tone-ink" d="')[1].split('"')[0]
    assert line.count("M") == 2 and line.count("L") == 2
    with pytest.raises(ValueError, match="finite values on its y axis"):
        line_plot(
            [Series("none", [1.0], [0.0])],
            title="",
            description="",
            x_label="",
            y_label="",
            log_y=True,
        )

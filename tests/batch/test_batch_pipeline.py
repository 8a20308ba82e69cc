"""Batches equal loops, pass over bad captures, fit into memory and resume without a trace."""

import errno
import json
import os
import platform
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from barelens.app.batch import Pipeline, Progress, reconstruct
from barelens.app.batch.flow import in_batches, map_ahead
from barelens.app.cli import cli
from barelens.app.pipeline import LinearPipeline, LinearSettings
from barelens.app.pipeline_files import reconstruct_file
from barelens.imaging.capture_checks import CaptureError
from barelens.imaging.files import read_raw, read_tiff16

pq = pytest.importorskip("pyarrow.parquet")


def _rows(out):
    return {row["name"]: row for row in pq.read_table(out / "manifest.parquet").to_pylist()}


@pytest.mark.parametrize("method", ["tikhonov", "cg", "fista", "admm"])
def test_a_batch_equals_a_loop(camera, frames, method):
    settings = LinearSettings(method=method, iterations=5)
    alone = LinearPipeline(camera, settings)
    together = Pipeline(camera, settings, trust=False, batch_size=5, threads=2)
    found = list(together.scenes(frames))
    assert [name for name, _ in found] == [f"capture-{n:08d}" for n in range(len(frames))]
    for (_, scene), frame in zip(found, frames, strict=True):
        wanted = alone(frame)
        torch.testing.assert_close(scene.rgb, wanted.rgb, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(scene.planes, wanted.planes, rtol=1e-4, atol=1e-5)
        assert scene.numbers.keys() == wanted.numbers.keys()
        assert scene.numbers["residual"] == pytest.approx(wanted.numbers["residual"], rel=1e-3)


def test_on_processors_each_thread_takes_captures_of_its_own(camera, frames, tmp_path, monkeypatch):
    pipeline = Pipeline(camera, trust=False, threads=3)
    compute, seen, meeting = pipeline.work.compute, [], threading.Barrier(3, timeout=30)

    def watched(raws):
        seen.append((len(raws), torch.get_num_threads()))
        meeting.wait()
        return compute(raws)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        monkeypatch.setattr(pipeline.work, "compute", watched)
        assert pipeline.run(frames, tmp_path / "good").done == len(frames) == 12
        assert seen == [(1, 1)] * 12
        assert torch.get_num_threads() == 2
        monkeypatch.undo()
        monkeypatch.setattr(pipeline.work, "write", full)
        with pytest.raises(OSError, match="No space left"):
            pipeline.run(frames, tmp_path / "full")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_files_and_record_are_those_of_one_file(camera, write_frames, tmp_path):
    folder = write_frames(tmp_path / "in", 3)
    out, alone = tmp_path / "out", tmp_path / "alone"
    alone.mkdir()
    assert reconstruct(folder, camera, out, batch_size=2, previews=True).done == 3
    pipeline = LinearPipeline(camera)
    for path in folder.iterdir():
        wanted = reconstruct_file(path, pipeline, alone)
        record = json.loads((out / f"{path.stem}.linear.json").read_text())
        assert record.keys() == wanted.keys()
        for name in ("format", "capture", "files", "camera", "settings", "levels", "versions"):
            assert record[name] == wanted[name]
        light, wanted_light = (read_tiff16(at / wanted["files"]["linear"]) for at in (out, alone))
        torch.testing.assert_close(light, wanted_light, rtol=1e-4, atol=1e-4)
        row = _rows(out)[path.stem]
        assert row["residual"] == record["solution"]["residual"]
        assert row["camera_p_value"] == record["trust"]["camera"]["p_value"]
        assert row["picture_p_value"] == record["trust"]["picture"]["p_value"]
        assert row["camera_digest"] == camera.digest
        assert row["mean"] == record["levels"]["mean"]
        assert row["error"] is None


def test_previews_are_made_where_they_are_wanted(camera, write_frames, tmp_path):
    folder, out = write_frames(tmp_path / "in", 2), tmp_path / "out"
    pictures = {out / f"frame-000{index}.linear.png" for index in range(2)}

    def run(previews, settings=None):
        progress = reconstruct(folder, camera, out, settings=settings, previews=previews)
        records = [json.loads(path.read_text()) for path in out.glob("*.linear.json")]
        named = {out / record["files"].get("picture", "none") for record in records}
        assert named - {out / "none"} == set(out.glob("*.png"))
        return progress.done, progress.skipped, set(out.glob("*.png"))

    assert run(False) == (2, 0, set())
    assert run(True) == (2, 0, pictures)
    assert run(False) == (0, 2, pictures), "what is there is more than was asked for"
    assert run(True) == (0, 2, pictures)
    assert run(False, _settings()) == (2, 0, set()), "pictures of other scenes are left"


def test_results_without_a_preview_can_be_inspected(camera, write_frames, tmp_path):
    reconstruct(write_frames(tmp_path / "in", 1), camera, tmp_path / "out")
    record, drawn = tmp_path / "out" / "frame-0000.linear.json", tmp_path / "drawn"
    result = CliRunner().invoke(cli, ["inspect", str(record), "--out", str(drawn)])
    assert result.exit_code == 0, result.stderr
    assert read_raw(drawn / "frame-0000.inspect.png").shape[0] == 3


def test_bad_captures_are_named_and_passed_over(camera, write_frames, tmp_path):
    folder = write_frames(tmp_path / "in", 4)
    (folder / "bad.png").write_bytes((folder / "frame-0000.png").read_bytes()[:200])
    (folder / "frame-0001.tif").write_text("the same name as frame-0001.png")
    named, counts = [], []
    out = tmp_path / "out"
    pipeline = Pipeline(camera, trust=False, threads=2)
    progress = pipeline.run(
        folder, out, on_error=lambda *what: named.append(what), on_progress=counts.append
    )
    assert (progress.done, progress.failed, progress.skipped, progress.total) == (4, 2, 0, 6)
    messages = {origin: str(error) for origin, error in named}
    assert messages.keys() == {"bad.png", "frame-0001.tif"}
    assert "would both be written as frame-0001" in messages["frame-0001.tif"]
    assert len(counts) == 6 and counts[-1].seconds_left == 0
    rows = _rows(out)
    assert {name for name, row in rows.items() if row["error"]} == {"bad"}
    assert len(rows) == 5
    with pytest.warns(RuntimeWarning, match=r"bad\.png failed: .* cannot be read as PNG"):
        assert pipeline.run(folder / "bad.png", tmp_path / "alone").failed == 1
    (folder / "bad.png").write_bytes((folder / "frame-0000.png").read_bytes())
    (folder / "frame-0001.tif").unlink()
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.linear.*")}
    progress = pipeline.run(folder, out)
    assert (progress.done, progress.failed, progress.skipped) == (1, 0, 4)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    assert [row["error"] for row in _rows(out).values()] == [None] * 5


def test_other_settings_are_done_anew(camera, write_frames, tmp_path):
    folder, out = write_frames(tmp_path / "in", 2), tmp_path / "out"
    runs = [
        reconstruct(folder, camera, out, settings=settings, trust=trust)
        for settings, trust in [(None, True), (None, True), (None, False), (_settings(), False)]
    ]
    assert [(run.done, run.skipped) for run in runs] == [(2, 0), (0, 2), (2, 0), (2, 0)]
    assert {row["penalty"][0] for row in _rows(out).values()} != {None}


def _settings():
    return LinearSettings(penalty=0.1)


def test_a_lost_result_is_made_again_and_a_lost_row_is_not(camera, write_frames, tmp_path):
    folder, out = write_frames(tmp_path / "in", 3), tmp_path / "out"
    reconstruct(folder, camera, out)
    rows = _rows(out)
    (out / "frame-0001.linear.json").unlink()
    assert reconstruct(folder, camera, out).done == 1
    for name in ("manifest.sqlite", "manifest.parquet"):
        (out / name).unlink()
    (out / ".barelens-0123456789abcdef.tif").write_text("left by a killed run")
    assert reconstruct(folder, camera, out).skipped == 3
    changing = ("finished", "seconds")
    for name, row in _rows(out).items():
        assert all(row[key] == rows[name][key] for key in row if key not in changing)
    assert not list(out.glob(".barelens-*"))


def test_two_runs_never_share_a_folder(camera, write_frames, tmp_path):
    folder, out = write_frames(tmp_path / "in", 1), tmp_path / "out"

    def stream():
        with pytest.raises(BlockingIOError, match="another run writes here"):
            reconstruct(folder, camera, out)
        yield "only", read_raw(folder / "frame-0000.png")

    assert reconstruct(stream(), camera, out).done == 1
    with pytest.raises(ValueError, match="out must not lie in the folder of captures"):
        reconstruct(folder, camera, folder / "out")


def test_scenes_raise_what_is_wrong(camera, frames):
    pipeline = Pipeline(camera, trust=False, batch_size=1)
    stream = pipeline.scenes(iter([frames[0], torch.zeros(5, 5)]))
    assert next(stream)[0] == "capture-00000000"
    with pytest.raises(CaptureError, match=r"capture has shape \(5, 5\)"):
        list(stream)


def test_memory_that_runs_out_halves_the_batch(camera, frames, monkeypatch):
    pipeline = Pipeline(camera, trust=False, batch_size=8)
    sizes, compute = [], pipeline.work.compute

    def small(raws):
        sizes.append(len(raws))
        if len(raws) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return compute(raws)

    monkeypatch.setattr(pipeline.work, "compute", small)
    assert len(list(pipeline.scenes(frames))) == len(frames)
    assert sizes == [8, 4, *[2] * 6]
    assert pipeline.size.value == 2


def test_readers_are_as_many_as_processors_may_be_used(camera, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    assert Pipeline(camera, trust=False, batch_size=2).threads == 3
    assert Pipeline(camera, trust=False).threads == 4  # one waits for the disk
    assert Pipeline(camera, trust=False, threads=2).threads == 2


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others keep memory or do not")
def test_memory_of_one_capture_serves_the_next():
    code = """
import resource, torch
from barelens.app.batch.flow import one_thread_each

def capture():
    parts = [torch.ones(2**21) for _ in range(4)]

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

with one_thread_each():
    capture()
    before = pages()
    for _ in range(10):
        capture()
print(pages() - before)
"""
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(ran.stdout) < 10 * 4 * 2**21 * 4 // os.sysconf("SC_PAGE_SIZE") / 4


def test_one_bad_item_spoils_no_batch():
    class Size:
        value = 4

    def compute(batch):
        if 5 in batch:
            raise ValueError("five")
        return [10 * item for item in batch]

    results = list(in_batches([*range(8), "past"], compute, Size(), str))
    assert [item for item, _ in results[:8]] == list(range(8))
    assert str(results[5][1]) == "five"
    assert [value for item, value in results[:8] if item != 5] == [0, 10, 20, 30, 40, 60, 70]
    assert results[8] == "past"


def test_reading_ahead_is_bounded_and_in_order():
    from concurrent.futures import ThreadPoolExecutor

    taken, most = 0, 0
    lock = threading.Lock()

    def items():
        nonlocal taken
        for item in range(50):
            taken += 1
            yield item

    def work(item):
        time.sleep(0.001 * (item % 3))
        return item

    with ThreadPoolExecutor(3) as pool:
        for given, item in enumerate(map_ahead(pool, work, items(), 6)):
            assert given == item
            with lock:
                most = max(most, taken - given)
    assert most == 6


def test_progress_says_rate_and_time_left():
    progress = Progress(done=8, failed=2, skipped=10, total=40, seconds=5.0)
    assert progress.rate == 2
    assert progress.seconds_left == 10
    assert Progress(done=1, seconds=1.0).seconds_left is None


def test_the_command_reports_and_exits_with_1(camera, write_frames, tmp_path):
    camera.save(tmp_path / "camera.safetensors")
    folder = write_frames(tmp_path / "in", 2)
    (folder / "bad.png").write_text("hello")
    arguments = ["batch", str(folder), "--camera", str(tmp_path / "camera.safetensors")]
    result = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "2 done, 0 done before, 1 failed" in result.stdout
    lines = result.stderr.splitlines()
    assert len(lines) == 2 and "bad.png: cannot be read as PNG" in lines[0]
    (folder / "bad.png").unlink()
    result = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / "out"), "--no-trust"])
    assert result.exit_code == 0, result.stderr
    result = CliRunner().invoke(cli, ["batch", "nowhere/*", *arguments[2:], "--out", "x"])
    assert result.exit_code == 1
    assert "no captures at nowhere/*" in result.stderr


def test_help_loads_no_torch():
    code = (
        "import sys; from typer.testing import CliRunner; from barelens.app.cli import cli; "
        "assert CliRunner().invoke(cli, ['batch', '--help']).exit_code == 0; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_name_that_no_file_can_have_is_passed_over(camera, frames, tmp_path):
    named = []
    progress = Pipeline(camera, trust=False).run(
        [("x" * 300, frames[0]), ("good", frames[1]), ("../out", frames[2]), ("", frames[3])],
        tmp_path / "out",
        on_error=lambda origin, error: named.append(str(error)),
    )
    assert (progress.done, progress.failed) == (1, 3)
    assert sum("leads out of its folder" in message for message in named) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_ends_the_run_and_the_next_goes_on(camera, frames, tmp_path, monkeypatch):
    pipeline = Pipeline(camera, trust=False, batch_size=1, threads=1)
    write, written = pipeline.work.write, []

    def full(*arguments):
        if len(written) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(arguments)
        return write(*arguments)

    monkeypatch.setattr(pipeline.work, "write", full)
    with pytest.raises(OSError, match="No space left"):
        pipeline.run(frames, tmp_path)
    assert len(_rows(tmp_path)) <= 5
    monkeypatch.undo()
    again = pipeline.run(frames, tmp_path)
    assert (again.done, again.skipped, again.failed) == (len(frames) - 5, 5, 0)
    assert len(_rows(tmp_path)) == len(frames)


def test_the_example_of_the_docs_runs(tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs" / "million.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(block, names)
    assert names["progress"].done == 3

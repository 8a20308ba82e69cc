"""A run that is killed loses nothing, does nothing twice and leaves no half file."""

import os
import random
import signal
import subprocess
import sys
import time

import cv2
import pytest

from barelens.imaging.files import read_tiff16

pq = pytest.importorskip("pyarrow.parquet")

CAPTURES, KILLS = 120, 2


def _finished(out):
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*.linear.json")}


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_kill_at_any_time(camera, write_frames, tmp_path):
    camera.save(tmp_path / "camera.safetensors")
    folder, out = write_frames(tmp_path / "in", CAPTURES), tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "barelens.app",
        "batch",
        str(folder),
        "--no-trust",
        "--previews",
    ]
    command += ["--camera", str(tmp_path / "camera.safetensors"), "--out", str(out)]
    moments = sorted(random.Random(0).sample(range(1, CAPTURES - 20), KILLS))
    for moment in moments:
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        before = _finished(out)
        while run.poll() is None and len(_finished(out)) < moment:
            time.sleep(0.002)
        run.send_signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL, "it ended before it could be killed"
        after = _finished(out)
        assert before.items() <= after.items(), "something was done twice"
        assert len(after) < CAPTURES
    before = _finished(out)
    done = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert f"{CAPTURES - len(before)} done, {len(before)} done before, 0 failed" in done
    assert before.items() <= _finished(out).items()
    assert len(_finished(out)) == CAPTURES
    rows = pq.read_table(out / "manifest.parquet").to_pylist()
    names = [row["name"] for row in rows]
    assert names == sorted({path.stem for path in folder.iterdir()})
    assert all(row["error"] is None for row in rows)
    for name in names:
        assert read_tiff16(out / f"{name}.linear.tif").shape == (8, 10)
        assert cv2.imread(str(out / f"{name}.linear.png")).shape == (8, 10, 3)
    assert not list(out.glob(".barelens-*"))

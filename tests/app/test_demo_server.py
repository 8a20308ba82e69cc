"""The web demo as strangers' programs meet it: over HTTP, as an API and as MCP tools."""

import asyncio
import json
import os
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from barelens import data

httpx = pytest.importorskip("httpx")
gradio_client = pytest.importorskip("gradio_client")


@pytest.fixture(scope="module")
def client(demo_address, tmp_path_factory):
    return gradio_client.Client(
        demo_address, verbose=False, download_files=tmp_path_factory.mktemp("downloads")
    )


def _call(address, endpoint, *values):
    """Call an endpoint by hand, so that nothing checks or uploads files for us."""
    started = httpx.post(f"{address}gradio_api/call/{endpoint}", json={"data": values}, timeout=60)
    event = started.json()["event_id"]
    answer = httpx.get(f"{address}gradio_api/call/{endpoint}/{event}", timeout=60).text
    return answer


def _reconstruct_file(address, payload):
    return _call(
        address, "reconstruct", "fc_6", payload, "flatcam", "auto", "gcv", 100, 0.5, 0, ["trust"]
    )


def test_an_example_comes_back_as_record_and_zip(client):
    record, archive = client.predict(example="fc_6", stages=[], api_name="/reconstruct")
    assert record["source"] == {"kind": "bundled", "capture": "flatcam/fc_6.png"}
    assert len(record["stages"]["linear"]["solution"]["residual"]) == 4
    with zipfile.ZipFile(archive) as files:
        assert json.loads(files.read("fc_6.json")) == record
        assert files.testzip() is None


def test_an_upload_is_reconstructed_and_a_virtual_camera_knows_the_truth(client):
    capture = gradio_client.handle_file(data.path("flatcam/fc_7.png"))
    record, _ = client.predict(
        capture=capture, camera="flatcam", stages=[], api_name="/reconstruct"
    )
    assert record["source"] == {"kind": "uploaded", "capture": "fc_7.png"}
    record, _ = client.predict(read_noise_e=10, stages=[], api_name="/photograph")
    assert record["stages"]["linear"]["psnr_db"] > 15


def test_a_wrong_set_for_calibration_is_named(client, tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("some.png", b"x")
    with pytest.raises(gradio_client.exceptions.AppError, match="manifest"):
        client.predict(
            archive=gradio_client.handle_file(tmp_path / "set.zip"), api_name="/calibrate"
        )


def test_every_endpoint_says_what_it_takes(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(endpoints) == {"/reconstruct", "/photograph", "/calibrate", "/batch"}
    for endpoint in endpoints.values():
        assert endpoint["description"]


@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}])
def test_no_path_of_the_server_is_opened(demo_address, meta):
    secret = str(data.path("flatcam/fc_6.png"))
    answer = _reconstruct_file(demo_address, {"path": secret, **meta})
    assert "event: error" in answer
    assert "record" not in answer and "bundled" not in answer


def test_no_link_is_fetched(demo_address):
    visits = []

    class Trap(BaseHTTPRequestHandler):
        def do_GET(self):
            visits.append(self.path)
            self.send_response(404)
            self.end_headers()

    trap = HTTPServer(("127.0.0.1", 0), Trap)
    threading.Thread(target=trap.serve_forever, daemon=True).start()
    link = f"http://127.0.0.1:{trap.server_port}/capture.png"
    for payload in ({"path": link, "meta": {"_type": "gradio.FileData"}}, {"path": link}, link):
        assert "event: error" in _reconstruct_file(demo_address, payload)
    trap.shutdown()
    assert visits == []


def test_no_copy_of_a_field_fetches_a_link(demo_page):
    gradio = pytest.importorskip("gradio")
    copy = gradio.File(render=False)  # as Gradio makes for a visitor whose page it changed
    with pytest.raises(gradio.Error, match="Links are not fetched"):
        asyncio.run(copy.async_move_resource_to_block_cache("http://127.0.0.1:9/capture.png"))


def test_too_large_an_upload_is_refused_before_it_is_kept(demo_address):
    content = {"files": ("large.npy", bytes(65 * 1024**2))}
    answer = httpx.post(f"{demo_address}gradio_api/upload", files=content, timeout=60)
    assert answer.status_code == 413


def test_wrong_files_are_named_and_the_server_goes_on(client, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    wrong = gradio_client.handle_file(tmp_path / "text.png")
    for endpoint, name in (("/reconstruct", "capture"), ("/photograph", "picture")):
        with pytest.raises(gradio_client.exceptions.AppError, match=r"text\.png"):
            client.predict(**{name: wrong}, api_name=endpoint)
    test_an_example_comes_back_as_record_and_zip(client)


def test_uploads_and_results_are_deleted(client, demo_page):
    from gradio.route_utils import delete_files_created_by_app

    capture = gradio_client.handle_file(data.path("flatcam/fc_8.png"))
    client.predict(capture=capture, stages=[], api_name="/reconstruct")
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    kept = {path.name for path in folder.rglob("*") if path.is_file()}
    assert {"fc_8.png", "barelens_fc_8.zip"} <= kept
    every, age = demo_page.delete_cache
    assert 0 < every <= age <= 3600
    delete_files_created_by_app(demo_page, age=0)  # what Gradio does every so many seconds
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_ten_people_at_once_are_all_served(demo_address):
    def visit(number):
        visitor = gradio_client.Client(demo_address, verbose=False, download_files=False)
        record, _ = visitor.predict(example="fc_6", seed=number, stages=[], api_name="/reconstruct")
        return record["settings"]["seed"]

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(visit, range(10))) == list(range(10))


def test_mcp_tools_are_described_and_work(demo_address):
    mcp = pytest.importorskip("mcp")
    from mcp.client.streamable_http import streamable_http_client

    async def use():
        async with (
            streamable_http_client(f"{demo_address}gradio_api/mcp/") as (read, write, _),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            answer = await session.call_tool("reconstruct", {"example": "fc_6", "stages": []})
            return tools, answer

    tools, answer = asyncio.run(use())
    described = {tool.name: tool.description for tool in tools}
    assert {"reconstruct", "photograph", "calibrate", "batch"} <= set(described)
    assert "lensless" in described["reconstruct"]
    assert not answer.isError
    assert "barelens.demo" in answer.content[0].text

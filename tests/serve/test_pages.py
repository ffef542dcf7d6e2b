"""The OpenAPI document, the overview, and the page."""

import asyncio
import http.client
import json
import shutil
import subprocess
from urllib.parse import urlsplit

import aiohttp
import jsonschema
import pytest


@pytest.fixture(scope="module")
def server(tmp_path_factory, save_scaled_once, running):
    with running(save_scaled_once(tmp_path_factory.mktemp("net") / "net.onnx"), "--no-grpc") as started:
        yield started


def get(server, path, body=None):
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    try:
        connection.request("GET" if body is None else "POST", path, body)
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def schema(document, path, *keys):
    found = document["paths"][path]["post"]
    for key in keys:
        found = found[key]
    return {**found["content"]["application/json"]["schema"], "components": document["components"]}


def test_the_document_tells_good_requests_from_bad_ones(server):
    document = json.loads(get(server, "/openapi.json")[1])
    assert document["openapi"] == "3.1.0"
    cases = [
        ("/v1/models/net:predict", {"instances": [{"x": [1.0, 2.0]}]}, 200),
        ("/v1/models/net:predict", {"inputs": {"x": [[1.0, 2.0]]}}, 200),
        ("/v1/models/net:predict", {"inputs": {"x": [[1.0]]}}, 400),
        ("/v1/models/net:predict", {"instances": []}, 400),
        ("/v1/models/net:predict", {"instances": [{"z": 1}]}, 400),
        ("/v2/models/net/infer", {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}, 200),
        ("/v2/models/net/infer", {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [1, 2]}]}, 400),
        ("/v2/models/net/infer", {"inputs": []}, 400),
    ]
    for path, body, status in cases:
        found, data, _ = get(server, path, json.dumps(body))
        assert found == status, body
        valid = jsonschema.Draft202012Validator(schema(document, path, "requestBody")).is_valid(body)
        assert valid == (status == 200), body
        answer = schema(document, path, "responses", "200" if status == 200 else "4XX")
        jsonschema.validate(json.loads(data), answer)


def test_every_get_in_the_document_answers(server):
    document = json.loads(get(server, "/openapi.json")[1])
    for path, methods in document["paths"].items():
        if "get" in methods:
            assert get(server, path)[0] == 200, path


def test_the_overview_has_an_example_that_works(server):
    model = json.loads(get(server, "/overview.json")[1])["models"][0]
    assert (model["name"], model["version"]) == ("net", 1)
    assert model["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 2]}]
    status, data, _ = get(server, "/v1/models/net:predict", json.dumps(model["example"]))
    assert (status, json.loads(data)) == (200, {"outputs": [[0.0, 0.0]]})
    assert json.loads(get(server, "/overview.json")[1])["models"][0]["requests"] >= 1


def test_the_page_allows_nothing_from_elsewhere(server):
    status, data, headers = get(server, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert b"http://" not in data
    assert b"https://" not in data


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


_TRY = """(async () => {
    const until = async (test) => { while (!test()) await new Promise((done) => setTimeout(done, 50)); };
    await until(() => document.querySelector("section"));
    const signature = document.querySelector(".signature").innerText;
    document.querySelector("textarea").value = '{"instances": [[1, 2]]}';
    document.querySelector("form button").click();
    const answer = document.querySelector(".answer");
    await until(() => answer.textContent);
    await until(() => document.querySelector(".latency td").textContent !== "0");
    return JSON.stringify([document.querySelector("h2").textContent, signature, answer.textContent]);
})()"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_the_page_in_a_browser(server, tmp_path):
    title, signature, answer = json.loads(asyncio.run(evaluate(server.url, _TRY, tmp_path)))
    assert title == "net, version 1"
    assert "input x" in signature
    assert "[batch, 2]" in signature
    assert answer == '200\n{"predictions":[[2.0,4.0]]}'


async def evaluate(url, script, folder):
    """What a script gives on a page in a headless browser."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0"]
    browser = subprocess.Popen([CHROMIUM, *flags, f"--user-data-dir={folder}", url], stderr=subprocess.DEVNULL)
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while not (folder / "DevToolsActivePort").exists():
                await asyncio.sleep(0.05)
            port = (folder / "DevToolsActivePort").read_text().splitlines()[0]
            page = None
            while page is None:
                pages = await (await session.get(f"http://127.0.0.1:{port}/json/list")).json()
                page = next((p for p in pages if p["url"].startswith(url)), None)
            async with session.ws_connect(page["webSocketDebuggerUrl"]) as socket:
                wanted = {"expression": script, "awaitPromise": True}
                while True:  # a page that is still loading throws the script away
                    await socket.send_json({"id": 1, "method": "Runtime.evaluate", "params": wanted})
                    answer = await socket.receive_json()
                    if "value" in answer.get("result", {}).get("result", {}):
                        return answer["result"]["result"]["value"]
    finally:
        browser.kill()
        browser.wait()

"""Downloads: only right files land in the cache, and no failure or slow server stops a run."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from cl_bench.data import download, load, resolve
from cl_bench.data.catalogue import CATALOGUE, Published

Writer = Callable[..., Path]


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args: Any, asked: list[str], **keywords: Any) -> None:
        self.asked = asked
        super().__init__(*args, **keywords)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        self.asked.append(self.path)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def _serving(handler: Callable[..., _Handler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def mirror(
    bare_machine: Path, tmp_path: Path, write_files: Writer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, list[str]]]:
    """Serve the tiny MNIST over HTTP; yield the served folder and the list of requests."""
    folder = write_files(tmp_path / "served" / "MNIST" / "raw", compressed=True)
    asked: list[str] = []
    handler = partial(_Handler, asked=asked, directory=str(tmp_path / "served"))
    monkeypatch.setenv("no_proxy", "*")
    with _serving(handler) as address:
        monkeypatch.setenv("CL_BENCH_MIRROR", address)
        yield folder, asked


def test_downloaded_once_into_the_cache(bare_machine: Path, mirror: tuple[Path, list[str]]) -> None:
    served, asked = mirror
    found = resolve("mnist")
    cache = bare_machine / ".cache" / "cl_bench" / "MNIST" / "raw"
    assert (found.name, found.source) == ("mnist", str(cache))
    assert found.notice == f"downloaded mnist into {cache}"
    assert sorted(p.name for p in cache.iterdir()) == sorted(p.name for p in served.iterdir())
    assert load("mnist").name == "mnist"
    assert resolve("mnist").notice is None
    assert len(asked) == 4


@pytest.mark.usefixtures("mirror")
def test_no_download_where_it_is_switched_off(bare_machine: Path) -> None:
    assert resolve("mnist", download=False).name == "mnist-5k"
    assert not (bare_machine / ".cache").exists()


@pytest.mark.parametrize("wrong", [b"<html>moved</html>", b"\x1f\x8b", b""])
def test_wrong_content_is_refused_and_mnist_5k_stands_in(
    bare_machine: Path, mirror: tuple[Path, list[str]], wrong: bytes
) -> None:
    served, _ = mirror
    (served / "train-images-idx3-ubyte.gz").write_bytes(wrong)
    found = resolve("mnist")
    assert found.name == "mnist-5k"
    assert "train-images-idx3-ubyte.gz" in str(found.notice)
    assert [p for p in (bare_machine / ".cache").rglob("*") if p.is_file()] == []


def test_a_failure_is_not_tried_again(mirror: tuple[Path, list[str]]) -> None:
    served, asked = mirror
    (served / "train-images-idx3-ubyte.gz").unlink()
    for _ in range(2):
        assert "HTTP Error 404" in str(resolve("mnist").notice)
    assert len(asked) == 1


@pytest.mark.usefixtures("mirror")
def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found = resolve("mnist")
    assert found.name == "mnist-5k"
    assert "cannot be written" in str(found.notice)


@pytest.mark.usefixtures("bare_machine", "tiny_mnist")
def test_a_silent_server_costs_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.2)
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("CL_BENCH_MIRROR", f"http://127.0.0.1:{port}")
        found = resolve("mnist")
    assert found.name == "mnist-5k"
    assert "timed out" in str(found.notice)


@pytest.mark.usefixtures("bare_machine", "tiny_mnist")
def test_a_server_that_drips_costs_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Drip(_Handler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(b"x")
                    time.sleep(0.02)

    monkeypatch.setattr(download, "TOTAL_SECONDS", 0.3)
    monkeypatch.setenv("no_proxy", "*")
    with _serving(partial(Drip, asked=[])) as address:
        monkeypatch.setenv("CL_BENCH_MIRROR", address)
        start = time.monotonic()
        found = resolve("mnist")
    assert time.monotonic() - start < 3
    assert found.name == "mnist-5k"
    assert "took longer" in str(found.notice)


@pytest.mark.usefixtures("bare_machine", "tiny_mnist")
def test_a_name_that_is_looked_up_for_ever_costs_limited_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = threading.Event()
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **k: release.wait(30))
    assert "timed out" in str(resolve("mnist").notice)
    release.set()


@pytest.mark.usefixtures("mirror")
def test_the_whole_download_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TOTAL_SECONDS", 0.0)
    assert "took longer than 0 s" in str(resolve("mnist").notice)


def test_addresses_are_those_of_torchvision() -> None:
    spec = find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    text = (Path(spec.origin).parent / "datasets" / "mnist.py").read_text()
    for entry in CATALOGUE.values():
        if isinstance(entry, Published):
            assert all(f'"{mirror}"' in text for mirror in entry.mirrors)
            assert all(f'"{name}.gz"' in text for name, _ in entry.md5)

"""A W&B server in forty lines: it accepts every run, keeps what it is sent, refuses on request."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Server:
    url: str = ""
    runs: list[dict[str, Any]] = field(default_factory=list)
    """The variables of each run that was opened, in order."""
    asked: set[str] = field(default_factory=set)
    """The operations that were asked for."""
    history: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    """Run id to its history by line number: a line that is sent again replaces itself."""
    key_status: int = 200
    run_status: int = 200
    history_status: int = 200


@contextmanager
def serve() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:  # W&B's service hangs up when it is torn down
                self.close_connection = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            if self.path == "/graphql":
                opens = body.get("operationName") == "UpsertBucket"
                status = server.run_status if opens else server.key_status
                self._answer(status, _graphql(server, body))
            else:
                if server.history_status == 200:
                    _keep_history(server, self.path.split("/")[-2], body)
                self._answer(server.history_status, {})

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(200, {})

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _answer(self, status: int, content: dict[str, Any]) -> None:
            raw = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_port}"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


def _graphql(server: Server, body: dict[str, Any]) -> dict[str, Any]:
    said = body.get("variables") or {}
    server.asked.add(body.get("operationName") or "")
    match body.get("operationName"):
        case "Viewer":
            person = {"id": "1", "entity": "me", "username": "me", "flags": "{}"}
            data: dict[str, Any] = {"viewer": {**person, "teams": {"edges": []}}}
        case "UpsertBucket":
            if said.get("groupName"):  # W&B comes back with the config when the run ends
                server.runs.append(said)
            project = {"id": "p", "name": said["project"], "entity": {"id": "e", "name": "me"}}
            bucket = {"id": "b", "name": said["name"], "config": "{}", "historyLineCount": 0}
            data = {"upsertBucket": {"bucket": {**bucket, "project": project}, "inserted": True}}
        case "CreateRunFiles":
            files = [{"name": f, "uploadUrl": f"{server.url}/upload/{f}"} for f in said["files"]]
            data = {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        case _:
            data = {}
    return {"data": data}


def _keep_history(server: Server, run_id: str, body: dict[str, Any]) -> None:
    chunk = (body.get("files") or {}).get("wandb-history.jsonl")
    if chunk:
        lines = server.history.setdefault(run_id, {})
        for number, line in enumerate(chunk["content"], start=chunk["offset"]):
            lines[number] = json.loads(line)

"""A stand-in of the Hugging Face hub: repositories of models in memory, behind what of its HTTP interface we use."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml

Commit = dict[str, bytes]
"""Path in the repository -> content."""


class Hub:
    """Its repositories, and who may write."""

    def __init__(self, token: str = "hf_stand_in"):
        self.token = token
        self.repositories: dict[str, dict[str, Commit]] = {}
        """Name -> commit -> files; the last commit is ``main``."""
        self.private: set[str] = set()
        self.url = ""

    def commit(self, name: str, files: Commit) -> str:
        """Add files to a repository, and return the commit."""
        commits = self.repositories.setdefault(name, {})
        state = {**(list(commits.values())[-1] if commits else {}), **files}
        oid = hashlib.sha1(repr(sorted(state.items())).encode()).hexdigest()
        commits.pop(oid, None)
        commits[oid] = state
        return oid

    def find(self, name: str, revision: str) -> tuple[str, Commit] | None:
        """The commit that a revision names, and its files."""
        commits = self.repositories.get(name, {})
        oid = list(commits)[-1] if commits and revision == "main" else revision
        return (oid, commits[oid]) if oid in commits else None


def blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_):
        pass

    def answer(self, status: int, body: bytes | dict | list = b"", **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", headers.pop("length", str(len(content))))
        if not isinstance(body, bytes):
            self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def missing(self, code: str) -> None:
        self.answer(404, {"error": code}, X_Error_Code=code, X_Error_Message=code)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        if path == "/api/validate-yaml":
            head = yaml.safe_load(json.loads(body)["content"].split("---")[1])
            self.answer(200, {"errors": [] if isinstance(head, dict) else ["no metadata"], "warnings": []})
        elif self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.answer(401, {"error": "Invalid username or password."})
        elif path == "/api/repos/create":
            self.create(json.loads(body))
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            self.answer(200, {"files": modes})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            self.take(found[1], [json.loads(line) for line in body.splitlines()])
        else:
            self.missing("EntryNotFound")

    def create(self, asked: dict) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        there = name in self.hub.repositories
        self.hub.repositories.setdefault(name, {})
        if asked.get("private") or asked.get("visibility") == "private":
            self.hub.private.add(name)
        self.answer(409 if there else 200, {"url": f"{self.hub.url}/{name}", "id": name, "name": name})

    def take(self, name: str, lines: list[dict]) -> None:
        files = [line["value"] for line in lines if line["key"] == "file"]
        assert all(file["encoding"] == "base64" for file in files)
        oid = self.hub.commit(name, {file["path"]: base64.b64decode(file["content"]) for file in files})
        url = f"{self.hub.url}/{name}/commit/{oid}"
        self.answer(200, {"commitUrl": url, "commitOid": oid, "success": True, "hookOutput": ""})

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
            self.tell(found[1], found[2], found[3] or "main")
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.send_file(*found.groups())
        else:
            self.missing("EntryNotFound")

    do_HEAD = do_GET

    def tell(self, name: str, what: str | None, revision: str) -> None:
        if not self.hub.repositories.get(name):
            self.missing("RepoNotFound")
        elif not (found := self.hub.find(name, revision)):
            self.missing("RevisionNotFound")
        elif what == "tree":
            files = [{"type": "file", "path": k, "size": len(v), "oid": blob(v)} for k, v in found[1].items()]
            self.answer(200, files)
        else:
            files = [{"rfilename": path} for path in found[1]]
            self.answer(200, {"id": name, "modelId": name, "sha": found[0], "siblings": files, "private": False})

    def send_file(self, name: str, revision: str, path: str) -> None:
        if not (found := self.hub.find(name, revision)):
            self.missing("RevisionNotFound")
        elif path not in found[1]:
            self.missing("EntryNotFound")
        else:
            content = found[1][path]
            tag = f'"{blob(content)}"'
            self.answer(200, content, ETag=tag, X_Repo_Commit=found[0], Accept_Ranges="bytes")


@contextmanager
def served(hub: Hub):
    """Serve a hub on a free port of this machine; its address is ``hub.url``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

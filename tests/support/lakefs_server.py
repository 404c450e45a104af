"""lakeFS for tests: a stateful double of its API, which refuses every call and answer that the API forbids.

It proves what goes over the wire, not how the real one merges or resolves conflicts. `LAKEFS_ENDPOINT` (with
`LAKEFS_ACCESS_KEY_ID`, `LAKEFS_SECRET_ACCESS_KEY` and `LAKEFS_STORAGE_NAMESPACE`, which is
local://okawari-test by default) runs the same tests on a real one.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import httpx

from adapters.pictures.picture_options import PictureOptions
from tests.support.lakefs_api import JSON, OCTETS, OPERATIONS, Operation
from tests.support.picture_places import PicturePlace

ACCESS_KEY = "okawari-test"
SECRET_KEY = "okawari-test-secret-91b2"
_META = "x-lakefs-meta-"
_API = "/api/v1"
_NONE_MATCH = "if-none-match"


class Stored(NamedTuple):
    """An object. Its time and address are no part of what it is."""

    data: bytes
    metadata: tuple[tuple[str, str], ...]
    mtime: int = 0

    def is_same(self, other: Stored | None) -> bool:
        return other is not None and (self.data, self.metadata) == (other.data, other.metadata)

    def stats(self, path: str) -> dict[str, Any]:
        return {
            "path": path,
            "path_type": "object",
            "physical_address": f"mem://{sha256(self.data).hexdigest()}",
            "checksum": md5(self.data, usedforsecurity=False).hexdigest(),
            "size_bytes": len(self.data),
            "mtime": self.mtime,
            "metadata": dict(self.metadata),
            "content_type": OCTETS,
        }


@dataclass
class Branch:
    """A commit, and what was changed since; None: removed."""

    commit_id: str
    staged: dict[str, Stored | None] = field(default_factory=dict)


class Refused(Exception):
    """An answer with a status and a reason."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message


class LakefsRepository:
    """The state of one repository, and each operation on it."""

    def __init__(self, name: str, page: int) -> None:
        self.name = name
        self.page = page
        self.commits: dict[str, dict[str, Stored]] = {}
        self.branches = {"main": Branch(self._add_commit({}, {"message": "Repository created"}))}
        self.tags: dict[str, str] = {}

    def get_repository(self, **_: Any) -> tuple[int, Any]:
        return 200, self.document()

    def document(self) -> dict[str, Any]:
        return {
            "id": self.name,
            "creation_date": int(time.time()),
            "default_branch": "main",
            "storage_namespace": f"mem://{self.name}",
        }

    def get_branch(self, branch: str, **_: Any) -> tuple[int, Any]:
        return 200, {"id": branch, "commit_id": self._branch(branch).commit_id}

    def create_branch(self, body: Mapping[str, Any], **_: Any) -> tuple[int, Any]:
        if body["name"] in self.branches:
            raise Refused(409, "branch already exists: not unique")
        commit_id = self._commit_of(body["source"])
        self.branches[body["name"]] = Branch(commit_id)
        return 201, commit_id

    def get_tag(self, tag: str, **_: Any) -> tuple[int, Any]:
        if tag not in self.tags:
            raise Refused(404, "tag: not found")
        return 200, {"id": tag, "commit_id": self.tags[tag]}

    def create_tag(self, body: Mapping[str, Any], **_: Any) -> tuple[int, Any]:
        if body["id"] in self.tags:
            raise Refused(409, "tag already exists: not unique")
        self.tags[body["id"]] = self._commit_of(body["ref"])
        return 201, {"id": body["id"], "commit_id": self.tags[body["id"]]}

    def commit(self, branch: str, body: Mapping[str, Any], **_: Any) -> tuple[int, Any]:
        here = self._branch(branch)
        before, after = self.commits[here.commit_id], self._objects(branch)
        is_same = before.keys() == after.keys() and all(after[path].is_same(before[path]) for path in after)
        if is_same and not body.get("allow_empty"):
            raise Refused(400, "commit: no changes")
        parent = here.commit_id
        here.commit_id = self._add_commit(after, {**body, "parent": parent})
        here.staged.clear()
        return 201, {
            "id": here.commit_id,
            "parents": [parent],
            "committer": ACCESS_KEY,
            "message": body["message"],
            "creation_date": int(time.time()),
            "meta_range_id": sha256(here.commit_id.encode()).hexdigest(),
            "metadata": body.get("metadata") or {},
        }

    def upload_object(
        self, branch: str, path: str, data: bytes, headers: Mapping[str, str], **_: Any
    ) -> tuple[int, Any]:
        staged = self._branch(branch).staged
        if headers.get(_NONE_MATCH) == "*" and path in self._objects(branch):
            raise Refused(412, "path already exists")
        metadata = {key.removeprefix(_META): text for key, text in headers.items() if key.startswith(_META)}
        stored = Stored(data, tuple(sorted(metadata.items())), int(time.time()))
        staged[path] = stored
        return 201, stored.stats(path)

    def delete_objects(self, branch: str, body: Mapping[str, Any], **_: Any) -> tuple[int, Any]:
        if len(body["paths"]) > 1000:
            raise Refused(500, "request size exceeded, max paths is set to 1000")
        self._branch(branch).staged.update(dict.fromkeys(body["paths"]))
        return 200, {"errors": []}

    def get_object(self, ref: str, path: str, **_: Any) -> tuple[int, Any]:
        return 200, self._object(ref, path).data

    def stat_object(self, ref: str, path: str, **_: Any) -> tuple[int, Any]:
        return 200, self._object(ref, path).stats(path)

    def list_objects(
        self, ref: str, prefix: str = "", after: str = "", amount: str = "100", **_: Any
    ) -> tuple[int, Any]:
        objects = self._objects(ref)
        paths = sorted(path for path in objects if path.startswith(prefix) and path > after)
        shown = paths[: min(int(amount), self.page)]
        pagination = {
            "has_more": len(shown) < len(paths),
            "next_offset": shown[-1] if len(shown) < len(paths) else "",
            "results": len(shown),
            "max_per_page": self.page,
        }
        return 200, {"pagination": pagination, "results": [objects[path].stats(path) for path in shown]}

    def _branch(self, name: str) -> Branch:
        if name not in self.branches:
            raise Refused(404, "branch: not found")
        return self.branches[name]

    def _commit_of(self, ref: str) -> str:
        if ref in self.branches:
            return self.branches[ref].commit_id
        if ref in self.tags or ref in self.commits:
            return self.tags.get(ref, ref)
        raise Refused(404, "ref: not found")

    def _object(self, ref: str, path: str) -> Stored:
        objects = self._objects(ref)
        if path not in objects:
            raise Refused(404, "path: not found")
        return objects[path]

    def _objects(self, ref: str) -> dict[str, Stored]:
        objects = dict(self.commits[self._commit_of(ref)])
        for path, stored in (self.branches[ref].staged if ref in self.branches else {}).items():
            if stored is None:
                objects.pop(path, None)
            else:
                objects[path] = stored
        return objects

    def _add_commit(self, objects: dict[str, Stored], about: Mapping[str, Any]) -> str:
        text = repr((sorted(objects), dict(about), len(self.commits)))
        commit_id = sha256(text.encode()).hexdigest()
        self.commits[commit_id] = objects
        return commit_id


class LakefsServer:
    """Serves repositories on a free port of 127.0.0.1. `violations`: what was against the API.

    `faults` are answers that come before the state is asked, one for each call; `lost` cuts the connection
    after so many calls were carried out.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, LakefsRepository] = {}
        self.violations: list[str] = []
        self.calls: list[str] = []
        self.faults: list[tuple[int, bytes]] = []
        self.lost = 0
        self.page = 1000
        self._lock = threading.Lock()
        self._http: ThreadingHTTPServer | None = None
        self._port = 0

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._port}"

    def place(self) -> PicturePlace:
        """A new repository."""
        name = f"pictures-{uuid4().hex[:12]}"
        self.repositories[name] = LakefsRepository(name, self.page)
        options = PictureOptions(self.endpoint, ACCESS_KEY, SECRET_KEY, allow_http=True)
        return PicturePlace("lakefs", f"lakefs://{name}/main", self, options)

    def start(self) -> None:
        """Serve, on the same port as before."""
        self._http = _Listener(("127.0.0.1", self._port), _handler(self))
        self._port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Serve no more; open connections break at their next call."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    def answer(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes
    ) -> tuple[int, bytes, str]:
        """Status, body and content type of an answer."""
        parts = urlsplit(url)
        operation, names = _operation(method, parts.path.removeprefix(_API))
        if operation is None or not parts.path.startswith(_API):
            self.violations.append(f"no operation: {method} {url}")
            return _encoded(404, {"message": "invalid API endpoint"})
        self.calls.append(operation.name)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        conditions = {key: text for key, text in headers.items() if key == _NONE_MATCH}
        content_type = headers.get("content-type", "")
        if problem := operation.request_problem(query, content_type, conditions, data):
            self.violations.append(f"{operation.name}: {problem}")
            return _encoded(400, {"message": problem})
        if self.faults:
            status, body = self.faults.pop(0)
            return status, body, JSON
        status, body, kind = _encoded(*self._carried_out(operation, names, query, headers, data))
        if problem := operation.response_problem(status, body):
            self.violations.append(f"{operation.name}: {problem}")
        return status, body, kind

    def _carried_out(
        self,
        operation: Operation,
        names: dict[str, str],
        query: Mapping[str, str],
        headers: Mapping[str, str],
        data: bytes,
    ) -> tuple[int, Any]:
        if not _is_authorized(headers.get("authorization", "")):
            return 401, {"message": "error authenticating request"}
        if operation.name == "create_repository":
            return self._create_repository(json.loads(data)["name"])
        repository = self.repositories.get(names.pop("repository", ""))
        if repository is None:
            return 404, {"message": "repository: not found"}
        body = json.loads(data) if operation.body else None
        try:
            with self._lock:
                call = getattr(repository, operation.name)
                result: tuple[int, Any] = call(**names, **query, body=body, data=data, headers=headers)
                return result
        except Refused as refused:
            return refused.status, {"message": refused.message}

    def _create_repository(self, name: str) -> tuple[int, Any]:
        if name in self.repositories:
            return 409, {"message": "repository already exists"}
        self.repositories[name] = LakefsRepository(name, self.page)
        return 201, self.repositories[name].document()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


def _handler(server: LakefsServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10
        disable_nagle_algorithm = True

        def serve(self) -> None:
            data = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {key.lower(): text for key, text in self.headers.items()}
            if server._http is None:
                self.close_connection = True  # it was stopped
                return
            status, body, content_type = server.answer(self.command, self.path, headers, data)
            if server.lost:
                server.lost -= 1
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            if 300 <= status < 400:
                self.send_header("location", f"{server.endpoint}/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = serve  # noqa: N815 - the names that it is called by

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _operation(method: str, path: str) -> tuple[Operation | None, dict[str, str]]:
    for operation in OPERATIONS:
        if (names := operation.matches(method, path)) is not None:
            return operation, names
    return None, {}


def _is_authorized(header: str) -> bool:
    return header == "Basic " + base64.b64encode(f"{ACCESS_KEY}:{SECRET_KEY}".encode()).decode()


def _encoded(status: int, answer: Any) -> tuple[int, bytes, str]:
    if isinstance(answer, bytes):
        return status, answer, OCTETS
    if isinstance(answer, str):
        return status, answer.encode(), "text/html"
    return status, json.dumps(answer).encode(), JSON


def real_place(endpoint: str) -> PicturePlace:
    """A new repository of a real lakeFS."""
    options = PictureOptions(
        endpoint,
        os.environ["LAKEFS_ACCESS_KEY_ID"],
        os.environ["LAKEFS_SECRET_ACCESS_KEY"],
        allow_http=True,
    )
    name = f"okawari-test-{uuid4().hex[:12]}"
    namespace = os.environ.get("LAKEFS_STORAGE_NAMESPACE", "local://okawari-test")
    httpx.post(
        f"{endpoint.rstrip('/').removesuffix(_API)}{_API}/repositories",
        json={"name": name, "storage_namespace": f"{namespace.rstrip('/')}/{name}", "default_branch": "main"},
        auth=(options.access_key, options.secret_key),
        timeout=30,
    ).raise_for_status()
    return PicturePlace("lakefs", f"lakefs://{name}/main", None, options)


@contextmanager
def running_lakefs() -> Iterator[LakefsServer]:
    """A server while it is needed, whose calls and answers were all as the API states."""
    server = LakefsServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()
    assert server.violations == []

"""Pictures on a branch of a lakeFS repository, by its HTTP API."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice

import httpx
from pydantic import BaseModel

from adapters.pictures.lakefs_client import LakefsCall, LakefsClient, Sleep, reason_in
from adapters.pictures.object_paths import checked_path, checked_prefix, header_texts
from adapters.pictures.picture_options import PictureOptions
from hotswap.errors import Conflict
from lineage.errors import BadPicturePlace, PathTaken, PictureNotFound, PicturesUnavailable
from lineage.picture_store import StoredObject

#: How many paths lakeFS lists and removes in one call.
_PAGE = 1000
#: How often a picture is put anew whose path was free again in the next moment.
_ATTEMPTS = 3
_REPOSITORY = re.compile(r"[a-z0-9][a-z0-9-]{2,62}")
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,255}")
#: What the branches and tags that are made here are called.
_MADE = re.compile(r"(main|(experiment|training)-[A-Za-z0-9_-]{1,200})")
_OCTETS = "application/octet-stream"


class LakefsObject(BaseModel):
    """An object in a list."""

    path: str
    path_type: str
    size_bytes: int = 0
    mtime: int


class LakefsPagination(BaseModel):
    """Whether a list goes on, and behind what."""

    has_more: bool
    next_offset: str


class LakefsObjects(BaseModel):
    """A page of a list."""

    pagination: LakefsPagination
    results: list[LakefsObject]


class LakefsDeletion(BaseModel):
    """What could not be removed."""

    class Refusal(BaseModel):
        """One path that was not."""

        status_code: int
        message: str

    errors: list[Refusal]


class LakefsRef(BaseModel):
    """A branch or a tag, and its commit."""

    id: str
    commit_id: str


class LakefsCommit(BaseModel):
    """A commit."""

    id: str


class LakefsPictures:
    """The `PictureStore` of a branch: what is put is durable at once, and part of the next commit."""

    def __init__(
        self, repository: str, branch: str, options: PictureOptions, sleep: Sleep = time.sleep
    ) -> None:
        """Ask nothing yet. Raises `BadPicturePlace` for a name that lakeFS does not allow, or no endpoint."""
        if not _REPOSITORY.fullmatch(repository) or not _REF.fullmatch(branch):
            raise BadPicturePlace("allowed is lakefs://repository/branch, with names that lakeFS allows")
        if options.endpoint is None:
            raise BadPicturePlace("pictures in lakeFS need its endpoint, such as https://lakefs.example")
        self.name = f"lakefs://{repository}/{branch}"
        self._branch = branch
        self._client = LakefsClient(repository, options.endpoint, options, sleep)

    def put(self, path: str, data: bytes, metadata: Mapping[str, str]) -> None:
        headers = {f"x-lakefs-meta-{key}": text for key, text in header_texts(metadata).items()}
        for _ in range(_ATTEMPTS):
            if self._upload(path, data, {"if-none-match": "*", **headers}):
                return
            try:
                if self.get(path) == data:
                    return
            except PictureNotFound:
                continue  # removed in this moment
            raise PathTaken(f"another picture lies at {path} in {self.name}")
        raise PicturesUnavailable(f"{self.name} neither stores {path} nor has it")

    def replace(self, path: str, data: bytes) -> None:
        self._upload(path, data, {})

    def get(self, path: str) -> bytes:
        query = {"path": checked_path(path)}
        answer = self._client.call(LakefsCall("GET", f"{self._here('refs')}/objects", (200, 404, 410), query))
        if answer.status_code == 200:
            return answer.content
        self.check()  # 404 says the same of the branch
        raise PictureNotFound(f"nothing lies at {path} in {self.name}")

    def delete(self, paths: Iterable[str]) -> None:
        left = iter([checked_path(path) for path in paths])
        while some := list(islice(left, _PAGE)):
            url = f"{self._here('branches')}/objects/delete"
            answer = self._client.call(LakefsCall("POST", url, (200,), json={"paths": some}))
            refusals = self._client.read(LakefsDeletion, answer).errors
            if reasons := [one.message for one in refusals if one.status_code != 404]:
                raise PicturesUnavailable(
                    f"{self.name} cannot remove {len(reasons)} objects: {reasons[0][:200]}"
                )

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        after = ""
        while True:
            query = {"prefix": checked_prefix(prefix), "after": after, "amount": str(_PAGE)}
            answer = self._client.call(LakefsCall("GET", f"{self._here('refs')}/objects/ls", (200,), query))
            page = self._client.read(LakefsObjects, answer)
            for one in page.results:
                yield StoredObject(one.path, one.size_bytes, datetime.fromtimestamp(one.mtime, UTC))
            if not page.pagination.has_more:
                return
            after = page.pagination.next_offset

    def commit(self, message: str, metadata: Mapping[str, str]) -> str:
        document = {"message": message, "metadata": dict(metadata)}
        call = LakefsCall("POST", f"{self._here('branches')}/commits", (201, 400), json=document)
        answer = self._client.call(call)
        if answer.status_code == 201:
            return self._client.read(LakefsCommit, answer).id
        if "no changes" in reason_in(answer):
            return self.head()
        raise PicturesUnavailable(f"{self.name} cannot commit: {reason_in(answer)}")

    def check(self) -> None:
        self.head()

    def close(self) -> None:
        self._client.close()

    def head(self) -> str:
        """The id of the branch's last commit."""
        answer = self._client.call(LakefsCall("GET", self._here("branches"), (200,)))
        return self._client.read(LakefsRef, answer).commit_id

    def create_branch(self, name: str, source: str) -> None:
        """Make a branch at a branch, tag or commit.

        Branches are called main, experiment-… or training-…; another name raises `BadPicturePlace`. Raises
        `Conflict` where there is one of that name.
        """
        document = {"name": _made(name), "source": _ref(source)}
        self._create(LakefsCall("POST", "/branches", (201, 409), json=document), f"the branch {name}")

    def create_tag(self, name: str, ref: str) -> str:
        """Tag the commit of a branch, tag or commit; the commit's id. Raises as `create_branch` does."""
        document = {"id": _made(name), "ref": _ref(ref)}
        answer = self._create(LakefsCall("POST", "/tags", (201, 409), json=document), f"the tag {name}")
        return self._client.read(LakefsRef, answer).commit_id

    def tag(self, name: str) -> str | None:
        """The commit that a tag names; None: there is no such tag."""
        answer = self._client.call(LakefsCall("GET", f"/tags/{_ref(name)}", (200, 404)))
        if answer.status_code == 200:
            return self._client.read(LakefsRef, answer).commit_id
        self.check()
        return None

    def _create(self, call: LakefsCall, noun: str) -> httpx.Response:
        answer = self._client.call(call)
        if answer.status_code == 409:
            raise Conflict(f"{noun} is there already")
        return answer

    def _upload(self, path: str, data: bytes, headers: Mapping[str, str]) -> bool:
        """False where the headers forbid it."""
        call = LakefsCall(
            "POST",
            f"{self._here('branches')}/objects",
            (201, 412) if headers else (201,),
            query={"path": checked_path(path)},
            headers={"content-type": _OCTETS, **headers},
            content=data,
        )
        return self._client.call(call).status_code == 201

    def _here(self, kind: str) -> str:
        return f"/{kind}/{self._branch}"


def _made(name: str) -> str:
    if not _MADE.fullmatch(name):
        raise BadPicturePlace(
            f"{name[:80]!r} is no branch or tag: allowed are main, experiment-… and training-…"
        )
    return name


def _ref(name: str) -> str:
    if not _REF.fullmatch(name):
        raise BadPicturePlace(f"{name[:80]!r} is no branch, tag or commit")
    return name

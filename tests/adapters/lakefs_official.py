"""What lakeFS's own client gets from a server; runs in the environment of that client, prints JSON.

usage: python lakefs_official.py ENDPOINT REPOSITORY ACCESS_KEY SECRET_KEY
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import lakefs_sdk
from lakefs_sdk.exceptions import ApiException

PATH = "images/cam-1/2026-01-02/03-04-05_ab12.jpg"


def _status(call: Callable[..., object], *arguments: object) -> int:
    try:
        call(*arguments)
    except ApiException as error:
        return error.status
    return 200


def main(endpoint: str, repository: str, access_key: str, secret_key: str) -> None:
    """Use each call that ours uses."""
    settings = lakefs_sdk.Configuration(host=f"{endpoint}/api/v1", username=access_key, password=secret_key)
    with lakefs_sdk.ApiClient(settings) as client:
        objects, branches = lakefs_sdk.ObjectsApi(client), lakefs_sdk.BranchesApi(client)
        commits, tags = lakefs_sdk.CommitsApi(client), lakefs_sdk.TagsApi(client)
        listed = objects.list_objects(repository, "main", prefix="images/", amount=1000)
        stats = objects.stat_object(repository, "main", PATH)
        creation = lakefs_sdk.CommitCreation(message="by its own client", metadata={"pictures": "1"})
        commit = commits.commit(repository, "main", creation)
        source = lakefs_sdk.BranchCreation(name="experiment-own", source="main")
        branches.create_branch(repository, source)
        tag = tags.create_tag(repository, lakefs_sdk.TagCreation(id="training-own", ref="main"))
        gone = objects.delete_objects(repository, "experiment-own", lakefs_sdk.PathList(paths=[PATH]))
        result = {
            "listed": [one.path for one in listed.results],
            "has_more": listed.pagination.has_more,
            "size": stats.size_bytes,
            "metadata": stats.metadata,
            "data": bytes(objects.get_object(repository, "main", PATH)).decode(),
            "commit": commit.id,
            "head": branches.get_branch(repository, "main").commit_id,
            "tag": tag.commit_id,
            "tag_read": tags.get_tag(repository, "training-own").commit_id,
            "not_deleted": [one.path for one in gone.errors],
            "no_changes": _status(commits.commit, repository, "main", creation),
            "branch_twice": _status(branches.create_branch, repository, source),
            "missing": _status(objects.get_object, repository, "experiment-own", PATH),
        }
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])

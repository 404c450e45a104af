"""One change of a model's target from the command line: written, waited for, and put back when it fails."""

from __future__ import annotations

from functools import partial

from adapters.registries import open_audit, production
from cli.audit_records import actor
from cli.errors import Refused
from cli.swap_wait import SwapFailed, SwapWatch
from hotswap.control import check_not_superseded
from hotswap.desired import DesiredModel, DesiredState, Edit, put_back, set_target
from hotswap.errors import StateUnavailable, Superseded
from manifest.tags import LATEST, alias_of
from registry.audit_trail import AuditedDesired
from registry.file_store import DesiredFile
from settings import Settings
from workers.run_folder import RunFolder


class TargetRestored(Refused):
    """The version failed and the previous target was restored."""


class TargetEdit:
    """One change of a model's target; `version` is what the target resolves to now."""

    def __init__(self, configured: Settings, name: str, target: str, version: str) -> None:
        home, where = configured.home, configured.registry_location
        trail = open_audit(where, home).trail()
        self._state = AuditedDesired(DesiredFile(home), trail.add, partial(production, where))
        self._run = RunFolder(home)
        self._name = name
        self._target = target
        self._version = version
        self._before: DesiredModel | None = None

    def make(self, reason: str | None, timeout: float) -> str:
        """Write the new target and wait until it serves; return a message, or raise `Refused`."""
        desired = self._state.edit(self._edit(reason)).models[self._name]
        change = (
            f"{self._name} follows {self._target}"
            if self._target == LATEST or alias_of(self._target) is not None
            else f"{self._name} is pinned to {self._version}"
        )
        if not self._run.is_up():
            return f"{change}; the service is down and will serve it when it starts"
        try:
            watch = SwapWatch(self._run, timeout)
            up = watch.until_serving(self._name, self._version, lambda: self._check(desired))
        except SwapFailed as failed:
            self._state.edit(put_back(self._name, self._before, desired.revision))
            raise TargetRestored(
                f"{self._name}:{self._version} failed and the previous target was restored: {failed}"
            ) from None
        return f"{change}; {self._version} is serving" if up else f"{change}; the service stopped meanwhile"

    def _check(self, desired: DesiredModel) -> None:
        """Raise `Refused` when the target has been changed again meanwhile."""
        try:
            check_not_superseded(self._name, desired, self._state.read().models.get(self._name))
        except StateUnavailable:
            return  # the service keeps running without the file, so the wait continues
        except Superseded as superseded:
            raise Refused(superseded.message) from None

    def _edit(self, reason: str | None) -> Edit:
        change = set_target(self._name, self._target, actor(), reason)

        def edit(document: DesiredState) -> DesiredState:
            self._before = document.models.get(self._name)
            return change(document)

        return edit

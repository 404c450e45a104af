"""The desired state: the target of each model, and its edits; only the reconciler acts on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from manifest.tags import LATEST, as_target, check_word


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


def _name(text: str) -> str:
    return check_word("model name", text)


def _a_target(text: str) -> str:
    return as_target(text)


Name = Annotated[str, AfterValidator(_name)]
Target = Annotated[str, AfterValidator(_a_target)]


class CanaryTarget(_Part):
    """A version that is to answer a share of the requests (0..1 exclusively) beside the target."""

    version: str
    share: Annotated[float, Field(gt=0, lt=1)]


class DesiredModel(_Part):
    """The desired state of one model.

    `last_good` is the version that last served (`last_digest` its files) and `generation` the number of
    the decision to serve it; the reconciler writes them. `revision` is the document's revision at the last
    change of this model by a person or the environment. `promoting` is the version that somebody is about to
    make production, from before the registry is changed until the target is. A `canary` ends with the next
    change of the target.
    """

    target: Target = LATEST
    unloaded: bool = False
    last_good: str | None = None
    last_digest: str | None = None
    generation: int = 0
    revision: int = 0
    actor: str | None = None
    reason: str | None = None
    changed: datetime | None = None
    promoting: str | None = None
    canary: CanaryTarget | None = None


class DesiredState(_Part):
    """The whole document. `required` None stands for `*`: every model in the store is wanted.

    `applied` holds the texts of OKAWARI_SERVE and OKAWARI_DEFAULT_MODEL that were applied last. `revision`
    rises when a person or the environment changes what is desired, `row_version` at every write.
    """

    format: int = 1
    row_version: int = 0
    revision: int = 0
    required: tuple[Name, ...] | None = None
    default: str | None = None
    applied: tuple[str, str | None] | None = None
    models: Mapping[Name, DesiredModel] = {}

    def model(self, name: str) -> DesiredModel | None:
        """The desired state of `name`; None when the model may be in the store but is not wanted."""
        stored = self.models.get(name)
        if self.required is None:
            return stored or DesiredModel()
        return stored if stored is not None and (stored.revision or name in self.required) else None


Edit = Callable[[DesiredState], DesiredState]


class DesiredStore(Protocol):
    """Where the document lies. All workers and the command line share it."""

    def read(self) -> DesiredState:
        """The document as it is now; an empty one where there is none yet."""
        ...

    def edit(self, change: Edit) -> DesiredState:
        """Apply `change` to the newest document as one step and return the result.

        No edit is lost: `change` sees what every earlier edit left. An exception from `change` leaves
        everything as it was; a result equal to the document is not written. Stores use `edited`.
        """
        ...


def edited(document: DesiredState, change: Edit) -> DesiredState:
    """The document after `change`, with the next row version; the same document where it changes nothing."""
    after = change(document)
    if after == document:
        return document
    return after.model_copy(update={"row_version": document.row_version + 1})


class BadServe(ValueError):
    """OKAWARI_SERVE cannot be read; the message says what is allowed."""


def parse_serve(text: str) -> dict[str, str] | None:
    """Read OKAWARI_SERVE: None for `*`, else target by model name, in the order written.

    Raises `BadServe`.
    """
    if text.strip() == "*":
        return None
    targets: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, target = part.partition(":")
        if name in targets:
            raise BadServe(f"OKAWARI_SERVE names {name} twice")
        targets[_named(name, part)] = _target(target or LATEST, part)
    if not targets:
        raise BadServe("OKAWARI_SERVE is empty: write * or name:target[,name:target…]")
    return targets


def _named(name: str, part: str) -> str:
    try:
        return check_word("model name", name)
    except ValueError as error:
        raise BadServe(f"OKAWARI_SERVE: {part!r}: {error}") from None


def _target(target: str, part: str) -> str:
    try:
        return as_target(target)
    except ValueError as error:
        raise BadServe(f"OKAWARI_SERVE: {part!r}: {error}") from None


def seed(serve: str, default: str | None) -> Edit:
    """The edit that applies the environment's texts: at first start, and whenever they have changed."""
    targets = parse_serve(serve)

    def change(document: DesiredState) -> DesiredState:
        if document.applied == (serve, default):
            return document
        if document.applied is None or document.applied[0] != serve:
            document = _apply(document, targets)
        return document.model_copy(
            update={
                "revision": document.revision + 1,
                "default": default or _first(targets) or _kept_default(document),
                "applied": (serve, default),
            }
        )

    return change


def _apply(document: DesiredState, targets: Mapping[str, str] | None) -> DesiredState:
    """The models that the text names replace those wanted before; their last versions are kept."""
    revision = document.revision + 1
    if targets is None:
        # A first start keeps what the command line changed before it.
        models = document.models if document.applied is None else _forget(document.models)
        return document.model_copy(update={"required": None, "models": models})
    models = _forget(document.models)
    for name, target in targets.items():
        models[name] = _changed(models.get(name), target, revision, "environment", "OKAWARI_SERVE")
    return document.model_copy(update={"required": tuple(targets), "models": models})


def _forget(models: Mapping[str, DesiredModel]) -> dict[str, DesiredModel]:
    kept = ("last_good", "last_digest", "generation")
    return {
        name: DesiredModel(**{field: getattr(model, field) for field in kept})
        for name, model in models.items()
    }


def _kept_default(document: DesiredState) -> str | None:
    """A default that came with OKAWARI_SERVE goes with it; one named by OKAWARI_DEFAULT_MODEL stays."""
    named = document.applied is not None and document.applied[1] is not None
    return None if named else document.default


def _first(targets: Mapping[str, str] | None) -> str | None:
    return next(iter(targets)) if targets else None


def set_target(name: str, target: str, actor: str, reason: str | None) -> Edit:
    """The edit that makes `name` follow `target`; the model is wanted from then on."""

    def change(document: DesiredState) -> DesiredState:
        revision = document.revision + 1
        model = _changed(document.models.get(name), target, revision, actor, reason)
        return _with(document, name, model, revision)

    return change


def note_promotion(name: str, version: str | None) -> Edit:
    """The edit that notes which version of a model that follows `latest` is about to become production."""

    def change(document: DesiredState) -> DesiredState:
        model = document.model(name)
        if model is None or model.unloaded or model.target != LATEST:
            return document
        return _with(document, name, model.model_copy(update={"promoting": version}), document.revision)

    return change


def set_loaded(name: str, loaded: bool, actor: str, reason: str | None) -> Edit:
    """The edit that loads or unloads `name`; its target stays as it is."""

    def change(document: DesiredState) -> DesiredState:
        revision = document.revision + 1
        old = document.model(name) or document.models.get(name)
        model = _changed(old, old.target if old else LATEST, revision, actor, reason)
        update: dict[str, object] = {"unloaded": False} if loaded else {"unloaded": True, "canary": None}
        return _with(document, name, model.model_copy(update=update), revision)

    return change


def set_canary(name: str, canary: CanaryTarget | None, actor: str, reason: str | None) -> Edit:
    """The edit that lets a version answer a share of the requests, or ends that; the target stays."""

    def change(document: DesiredState) -> DesiredState:
        if canary is None and (name not in document.models or document.models[name].canary is None):
            return document
        revision = document.revision + 1
        old = document.model(name) or document.models.get(name)
        model = _changed(old, old.target if old else LATEST, revision, actor, reason)
        unloaded = old is not None and old.unloaded
        return _with(
            document, name, model.model_copy(update={"canary": canary, "unloaded": unloaded}), revision
        )

    return change


def put_back(name: str, before: DesiredModel | None, made: int) -> Edit:
    """The edit that undoes the change made at revision `made`, unless somebody changed it since."""

    def change(document: DesiredState) -> DesiredState:
        now = document.models.get(name)
        if now is None or now.revision != made:
            return document
        revision = document.revision + 1
        served = {"last_good": now.last_good, "last_digest": now.last_digest, "generation": now.generation}
        model = (before or DesiredModel()).model_copy(update={**served, "promoting": None})
        if _with(document, name, model, revision).model(name) is not None:
            # A model that was not wanted keeps revision 0: any other would make it wanted.
            model = model.model_copy(update={"revision": revision})
        return _with(document, name, model, revision)

    return change


def record_serving(name: str, version: str, digest: str, generation: int) -> Edit:
    """The edit that records the version serving as `generation`, unless a later one is recorded."""

    def change(document: DesiredState) -> DesiredState:
        model = document.models.get(name) or DesiredModel()
        if model.generation >= generation:
            return document
        update: dict[str, object] = {
            "last_good": version,
            "last_digest": digest,
            "generation": generation,
        }
        if model.canary is not None and model.canary.version == version:
            update["canary"] = None  # its trial is complete, whatever the target means later
        fresh = model.model_copy(update=update)
        return _with(document, name, fresh, document.revision)

    return change


def settle_default(names: list[str]) -> Edit:
    """The edit that stores the default model as soon as it is clear; it is never moved."""

    def change(document: DesiredState) -> DesiredState:
        if document.default is not None:
            return document
        choice = "shapes" if "shapes" in names else names[0] if len(names) == 1 else None
        return document.model_copy(update={"default": choice})

    return change


def _changed(
    old: DesiredModel | None, target: str, revision: int, actor: str, reason: str | None
) -> DesiredModel:
    before = old or DesiredModel()
    # Who asks once more for what is wanted already does not end a trial.
    canary = before.canary if before.target == target and not before.unloaded else None
    return before.model_copy(
        update={
            "target": target,
            "unloaded": False,
            "revision": revision,
            "actor": actor,
            "reason": reason,
            "changed": datetime.now(UTC),
            "promoting": None,
            "canary": canary,
        }
    )


def _with(document: DesiredState, name: str, model: DesiredModel, revision: int) -> DesiredState:
    models = {**document.models, name: model}
    return document.model_copy(update={"models": models, "revision": revision})

"""The part of streams in the service: which team it serves, where pictures are read, events for others."""

from __future__ import annotations

from importlib.util import find_spec

from adapters.objects import ObjectReader
from adapters.pictures.picture_options import PictureOptions
from api.errors import MESSAGES
from api.http.infer_routes import INFER_JSON
from api.http.middleware import RouteLimits
from manifest.teams import Team, choose_team, read_teams
from runners.teams import AdapterFolders
from settings import Settings
from streaming.kafka_settings import KafkaSettings
from telemetry.model_events import EventPublisher
from telemetry.observers import Metrics

#: The store of the pictures that messages name, where no other is set.
_USUAL_ENDPOINT = "minio-hot:9000"
_MOST_BYTES = 65_536


def team_of(settings: Settings) -> Team | None:
    """The team that TEAM names; None without. Raises `BadTeams` for an unknown one."""
    listed = read_teams(settings.team_list)
    if settings.team is None:
        return None
    adapters = AdapterFolders(settings.team_root).teams()
    usual = settings.team_root / "weights" / f"{settings.team.strip().lower()}_best.onnx"
    has_weights = settings.weights_path is not None or usual.is_file()
    return choose_team(settings.team, listed, adapters, has_weights=has_weights)


def object_reader(settings: Settings) -> ObjectReader:
    """Reads the pictures that messages name, in the buckets that are allowed."""
    scheme = "https" if settings.minio_secure else "http"
    options = PictureOptions(
        f"{scheme}://{settings.minio_endpoint or _USUAL_ENDPOINT}",
        settings.minio_access_key or "",
        settings.minio_secret_key or "",
        allow_http=not settings.minio_secure,
    )
    return ObjectReader(options, settings.bucket_names, settings.max_body_bytes)


def open_publisher(settings: Settings, metrics: Metrics) -> EventPublisher | None:
    """Sends events of models to the brokers of the settings; None without any.

    Raises `SystemExit` where a package is missing.
    """
    if settings.events is None:
        return None
    if find_spec("confluent_kafka") is None:
        raise SystemExit("okawari: OKAWARI_EVENTS needs one more package: install okawari[stream]")
    return EventPublisher(KafkaSettings.of(settings.events), metrics.event_sent)


def message_limits(settings: Settings) -> dict[str, RouteLimits]:
    """Limits and statuses of the route for messages, by path."""
    return {INFER_JSON: RouteLimits(_MOST_BYTES, settings.request_timeout, MESSAGES)}

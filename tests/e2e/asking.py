"""What a test asks of a service, over HTTP and by kept connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.e2e.pictures import picture
from tests.e2e.waiting import until

_JPEG = picture()


class Asking:
    """Somebody who asks the service on `port`; gRPC listens on `grpc_port`."""

    port: int
    grpc_port: int
    _client: httpx.Client | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def grpc_address(self) -> str:
        """Where it takes calls over gRPC."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def client(self) -> httpx.Client:
        """One client with keep-alive."""
        if self._client is None or str(self._client.base_url).rstrip("/") != self.url:
            self.hang_up()
            self._client = httpx.Client(base_url=self.url, timeout=60, trust_env=False)
        return self._client

    def hang_up(self) -> None:
        """Drop kept connections; the next request makes a new one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET."""
        return self.client.get(path, **options)

    def predict(self, image: bytes = _JPEG, **query: str | int) -> httpx.Response:
        """POST a picture as raw bytes."""
        return self.client.post(
            "/predict", params=query, content=image, headers={"content-type": "image/jpeg"}
        )

    def version(self, model: str = "m") -> str:
        """The version that answers now."""
        answer = self.predict(model=model)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["model_version"])

    def model(self, name: str = "m") -> dict[str, Any]:
        """One model as /models shows it."""
        found = self.get(f"/models/{name}")
        assert found.status_code == 200, found.text
        return dict(found.json())

    def states(self, name: str = "m") -> Mapping[str, dict[str, Any]]:
        """What /models says of each version."""
        return {each["version"]: each for each in self.model(name)["versions"]}

    def target(self, target: str | int, model: str = "m", **more: Any) -> httpx.Response:
        """PUT a model's target."""
        return self.client.put(f"/models/{model}/target", json={"target": target, **more})

    def serves(self, version: str | None, model: str = "m") -> None:
        """Wait until this version serves."""
        until(lambda: self._served(model) == version, f"{model}:{version} serves")

    def _served(self, model: str) -> str | None:
        models = self.get("/models").json()["models"]
        return next((each["serving"] for each in models if each["name"] == model), None)

    def figure(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels; 0 without any."""
        return sum(sample.value for sample in self.samples(name, **labels))

    def samples(self, name: str, **labels: str) -> list[Sample]:
        """A metric's samples that have these labels."""
        families = text_string_to_metric_families(self.get("/metrics").text)
        found = [sample for family in families for sample in family.samples if sample.name == name]
        return [sample for sample in found if labels.items() <= sample.labels.items()]

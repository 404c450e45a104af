"""Proxies of others in front of a service: they keep connections to it, and pass offers to upgrade on."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.clients.conftest import home_of
from tests.e2e.harness import free_port
from tests.e2e.waiting import until

#: Seconds for which they wait for a client that has not said all.
_PATIENCE = 2

_NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  scgi_temp_path {folder}; uwsgi_temp_path {folder};
  client_header_timeout {patience}s; client_body_timeout {patience}s; keepalive_timeout {patience}s;
  upstream service {{ server 127.0.0.1:{service}; keepalive 1; }}
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://service;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
    }}
  }}
}}
"""
#: Two ways to offer a service below a path: as it came, and with the prefix taken off and told.
_PREFIXES = _NGINX.replace(
    """
    location / {{
      proxy_pass http://service;
""",
    """
    location /stripped/ {{
      proxy_pass http://service/;
      proxy_set_header X-Forwarded-Prefix /stripped;
      proxy_set_header X-Forwarded-For 203.0.113.9;
      proxy_http_version 1.1;
    }}
    location / {{
      proxy_pass http://service;
""",
)
_HAPROXY = """
defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout server 30s
  timeout client {patience}s
  timeout http-request {patience}s
  timeout http-keep-alive {patience}s
frontend all
  bind 127.0.0.1:{port}
  default_backend service
backend service
  server one 127.0.0.1:{service} maxconn 1
"""
_CONFIGURATIONS = {"nginx": _NGINX, "haproxy": _HAPROXY}
_COMMANDS = {"nginx": ("-e", "stderr", "-c"), "haproxy": ("-db", "-f")}

NAMES = sorted(_CONFIGURATIONS)


@contextmanager
def prefixing(service: int, folder: Path) -> Iterator[int]:
    """The port of nginx: below `/stripped/` it takes the prefix off and says so, else it changes nothing."""
    with _running("nginx", _PREFIXES, service, folder) as port:
        yield port


@contextmanager
def proxy(name: str, service: int, folder: Path) -> Iterator[int]:
    """The port of a proxy before the service on that port."""
    with _running(name, _CONFIGURATIONS[name], service, folder) as port:
        yield port


@contextmanager
def _running(name: str, configuration: str, service: int, folder: Path) -> Iterator[int]:
    program = home_of(name) / "bin" / name
    port = free_port()
    told = folder / f"{name}.conf"
    told.write_text(configuration.format(folder=folder, service=service, port=port, patience=_PATIENCE))
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([program, *_COMMANDS[name], told], stdout=log, stderr=log) as process,
    ):
        try:
            until(lambda: _listens(port) or process.poll(), f"{name} listens")
            assert process.poll() is None, (folder / "log").read_text()
            yield port
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False

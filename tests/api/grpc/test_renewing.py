"""Certificates that are renewed while the port is open, against the real library."""

from __future__ import annotations

import asyncio
import codecs
import logging
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from api.grpc import tls
from api.grpc.server import Listen, RpcServer
from api.grpc.tls import BadCertificate, CertificateRenewal, TlsFiles, check, read
from tests.api.grpc.handshakes import ALONE, HOST, credentials, let_in, shown
from tests.api.grpc.protocol import parts_of
from tests.e2e.certificates import Authority, Pair
from tests.hotswap.fakes import PATIENCE
from tests.hotswap.world import live

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

CHECK = "/grpc.health.v1.Health/Check"


@dataclass
class Port:
    """A port over mutual TLS, and the files that its certificate comes from."""

    files: TlsFiles
    authority: Authority
    client: Pair
    renewing: CertificateRenewal
    number: int = 0

    def write(self, pair: Pair) -> None:
        """Renew both files."""
        shutil.copy(pair.certificate, self.files.certificate)
        shutil.copy(pair.key, self.files.key)

    def look(self) -> None:
        """Look at the files once."""
        self.renewing.look()

    def shows(self) -> str:
        """The name on the certificate for who connects now."""
        return shown(self.number, self.authority, self.client)


def _files(folder: Path, authority: Authority) -> TlsFiles:
    pair = authority.vouch("first")
    files = TlsFiles(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
    for source, target in (
        (pair.certificate, "tls.crt"),
        (pair.key, "tls.key"),
        (authority.own.certificate, "ca.crt"),
    ):
        shutil.copy(source, folder / target)
    return files


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Who signs."""
    return Authority(tmp_path / "ours")


@pytest.fixture
def port(tmp_path: Path, authority: Authority) -> Iterator[Port]:
    """A port that is open; the test looks at the files."""
    files = _files(tmp_path, authority)
    opened = Port(files, authority, authority.vouch("client"), CertificateRenewal(files))
    server = grpc.server(ThreadPoolExecutor(1))
    opened.number = server.add_secure_port(f"{HOST}:0", opened.renewing.credentials())
    server.start()
    yield opened
    server.stop(None).wait()


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.ERROR]


def test_who_connects_after_the_files_were_renewed_sees_the_new_certificate(port: Port) -> None:
    assert port.shows() == "first"
    port.write(port.authority.vouch("second"))
    assert port.shows() == "first", "no handshake reads files"
    port.look()
    assert [port.shows(), port.shows()] == ["second", "second"]


def test_files_that_are_written_one_after_the_other_are_used_when_both_are(port: Port) -> None:
    second = port.authority.vouch("second")
    shutil.copy(second.certificate, port.files.certificate)
    port.look()
    assert port.shows() == "first"
    shutil.copy(second.key, port.files.key)
    port.look()
    assert port.shows() == "second"


def test_of_files_that_are_written_while_they_are_read_the_next_look_makes_a_pair(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = port.authority.vouch("second")
    shutil.copy(second.certificate, port.files.certificate)

    def checked(files: TlsFiles) -> None:
        shutil.copy(second.key, files.key)  # after it was read
        check(files)

    monkeypatch.setattr(tls, "check", checked)
    port.look()
    assert [port.shows(), port.shows()] == ["first", "first"], "the library keeps what it has"
    port.look()
    assert port.shows() == "second"


@pytest.mark.parametrize("broken", ["another key", "no PEM", "gone"])
def test_what_cannot_be_used_leaves_the_old_certificate_and_is_told_once(
    port: Port, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    if broken == "gone":
        port.files.certificate.unlink()
    elif broken == "no PEM":
        port.files.certificate.write_text("-----BEGIN NOTHING-----\n")
    else:
        shutil.copy(port.authority.vouch("another").key, port.files.key)
    for _ in range(3):
        port.look()
        assert port.shows() == "first"
    (told,) = _told(caplog)
    assert str(port.files.certificate) in told
    port.write(port.authority.vouch("mended"))
    port.look()
    assert port.shows() == "mended"
    assert len(_told(caplog)) == 1


def _with_byte_order_mark(files: TlsFiles) -> None:
    files.certificate.write_bytes(codecs.BOM_UTF8 + files.certificate.read_bytes())


def test_what_openssl_takes_and_the_library_does_not_leaves_the_old_certificate(port: Port) -> None:
    pair = port.authority.vouch("second")
    port.write(pair)
    _with_byte_order_mark(port.files)
    port.look()
    assert [port.shows(), port.shows()] == ["first", "first"]
    port.write(pair)
    port.look()
    assert port.shows() == "second"


@pytest.mark.anyio
async def test_what_the_library_does_not_take_ends_the_start_with_the_files_name(
    tmp_path: Path, authority: Authority
) -> None:
    files = _files(tmp_path, authority)
    _with_byte_order_mark(files)
    with live() as world:
        server = RpcServer(parts_of(world), Listen(HOST, 0, tls=files))
        with pytest.raises(BadCertificate) as refused:
            await server.start()
    assert str(files.certificate) in str(refused.value)
    assert "byte order mark" in str(refused.value)


def test_clients_go_on_to_need_a_certificate_and_their_authority_is_renewed_too(
    port: Port, tmp_path: Path
) -> None:
    theirs = Authority(tmp_path / "theirs", "theirs")
    known = theirs.vouch("known")
    assert not let_in(port.number, port.authority, known)
    port.write(port.authority.vouch("second"))
    port.look()
    assert let_in(port.number, port.authority, port.client)
    assert not let_in(port.number, port.authority, None)
    assert port.files.client_ca is not None
    shutil.copy(theirs.own.certificate, port.files.client_ca)
    port.look()
    assert let_in(port.number, port.authority, known)
    assert not let_in(port.number, port.authority, port.client)
    assert not let_in(port.number, port.authority, None)


def test_a_key_is_shown_to_nobody_who_prints_what_the_files_hold(
    tmp_path: Path, authority: Authority
) -> None:
    assert "PRIVATE" not in repr(read(_files(tmp_path, authority)))


class Load:
    """Calls over connections that live, and over a new one for each call, until it is ended."""

    def __init__(self, port: int, secret: grpc.ChannelCredentials) -> None:
        self._address, self._secret = f"{HOST}:{port}", secret
        self.lived = self.fresh = 0
        self._ends = False

    async def live(self) -> None:
        """One connection for all calls."""
        channel = grpc.aio.secure_channel(self._address, self._secret, options=ALONE)
        async with channel:
            while not self._ends:
                await channel.unary_unary(CHECK)(b"", timeout=PATIENCE)
                self.lived += 1

    async def renew(self) -> None:
        """A connection for each call."""
        while not self._ends:
            channel = grpc.aio.secure_channel(self._address, self._secret, options=ALONE)
            async with channel:
                await channel.unary_unary(CHECK)(b"", timeout=PATIENCE)
                self.fresh += 1

    def end(self) -> None:
        """After the calls that are under way."""
        self._ends = True


@pytest.mark.anyio
async def test_under_load_no_call_fails_while_certificates_follow_each_other(
    tmp_path: Path, authority: Authority
) -> None:
    files, client = _files(tmp_path, authority), authority.vouch("client")
    with live("m:v1") as world:
        server = RpcServer(parts_of(world), Listen(HOST, 0, tls=files, renewal=0.01))
        port = await server.start()
        load = Load(port, credentials(authority, client))
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as calls:
            for each in (load.live, load.live, load.renew, load.renew):
                calls.create_task(each())
            for number in range(5):
                await _renewed(authority, client, files, port, f"number-{number}")
            load.end()
        await server.stop()
    assert load.lived > 20
    assert load.fresh > 5


async def _renewed(authority: Authority, client: Pair, files: TlsFiles, port: int, name: str) -> None:
    pair = await asyncio.to_thread(authority.vouch, name)
    shutil.copy(pair.certificate, files.certificate)
    shutil.copy(pair.key, files.key)
    while await asyncio.to_thread(shown, port, authority, client) != name:
        await asyncio.sleep(0.01)

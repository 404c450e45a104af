"""Programs of others, clients and servers, each in an environment of its own under `.cache/clients`.

usage: python -m scripts.clients NAME…    build what is missing, print where each lies
       python -m scripts.clients --lock   resolve tests/clients/environments/*.in anew

They cannot live in our environment: two stubs of package `inference` exclude each other, and some pull
libraries down that we need newer. Ends with 69 and one line where a registry or a tool is out of reach.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "clients"
LOCKS = ROOT / "tests" / "clients" / "environments"
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"
KAFKA = ("org.apache.kafka:kafka_2.13:3.9.1", "org.slf4j:slf4j-simple:1.7.36")
FLINK_KAFKA = "org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2"
AXE = "axe-core@4.11.0"
VERSITYGW = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
UNAVAILABLE = 69
#: What runs a client that is built.
_RUN_BY = {"kafka": "java", "flink": "java"}

_NO_NETWORK = re.compile(
    r"error sending request|client error \(Connect\)|dns error|dial tcp|i/o timeout|no such host"
    r"|Temporary failure|Could not resolve|Could not connect|Unable to locate package|operation timed out"
    r"|has no candidate|ENOTFOUND|ECONNREFUSED|EAI_AGAIN|ETIMEDOUT",
    re.IGNORECASE,
)
_COMPILE = (
    *("pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
)


class Unavailable(Exception):
    """A client that cannot be had on this machine now; the text says why."""


def build(name: str) -> Path:
    """The folder of a client, built unless it stands there as its lock wants it; raises `Unavailable`."""
    if name not in names():
        raise ValueError(f"{name!r}: known are {', '.join(names())}")
    if name in _RUN_BY:
        _need(_RUN_BY[name])
    home = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f".{name}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        stamp, wanted = home / ".built", _digest(name)
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(home, ignore_errors=True)
            _BUILDERS.get(name, _python)(home)
            stamp.write_text(wanted)
    return home


def names() -> list[str]:
    """Every client there is."""
    return sorted({path.stem for path in LOCKS.glob("*.lock")} | _BUILDERS.keys())


def lock() -> None:
    """Resolve every requirement file into its lock with hashes and no addresses."""
    for path in sorted(LOCKS.glob("*.in")):
        _run([_uv(), *_COMPILE, str(path), "-o", str(path.with_suffix(".lock"))])


def _digest(name: str) -> str:
    path = LOCKS / f"{name}.lock"
    programs = {"axe": AXE, "versitygw": VERSITYGW, "kafka": " ".join(KAFKA)}
    data = path.read_bytes() if path.exists() else programs.get(name, GRPCURL).encode()
    return hashlib.sha256(data + sys.version.encode()).hexdigest()


def _python(home: Path) -> None:
    _run([_uv(), "venv", "--quiet", "--python", sys.executable, str(home)])
    where = ["--python", str(home / "bin" / "python")]
    what = ["--require-hashes", "-r", str(LOCKS / f"{home.name}.lock")]
    _run([_uv(), "pip", "install", "--quiet", *where, *what])


def _perf_analyzer(home: Path) -> None:
    """The program lies in a wheel; a library that it needs comes from Debian, unpacked beside it."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise Unavailable("perf_analyzer is a program for Linux on x86_64")
    apt, unpack = _need("apt-get"), _need("dpkg-deb")
    _python(home)
    program = home / "bin" / "perf_analyzer"
    program.chmod(0o755)
    library = home / "lib" / "debian"
    library.mkdir()
    _run([apt, "download", "-q", "libb64-0d"], cwd=library)
    for package in library.glob("*.deb"):
        _run([unpack, "-x", str(package), str(library)])
    folders = {
        path.parent for path in home.rglob("lib*.so*") if path.name.startswith(("libb64", "libcudart"))
    }
    (home / "library-path").write_text(":".join(map(str, sorted(folders))))


def _grpcurl(home: Path) -> None:
    _go(home, GRPCURL)


def _versitygw(home: Path) -> None:
    _go(home, VERSITYGW)


def _axe(home: Path) -> None:
    """The script that judges a page's accessibility, by npm; nothing of it is run at the installation."""
    npm = _need("npm")
    home.mkdir(parents=True)
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    _run([npm, "install", "--prefix", str(home), *quiet, AXE], cwd=home)


def _kafka(home: Path) -> None:
    """The jars of Apache Kafka, by Maven; who runs them needs Java."""
    maven = _need("mvn")
    lines = [
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>".format(
            *each.split(":")
        )
        for each in KAFKA
    ]
    home.mkdir(parents=True)
    (home / "pom.xml").write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>okawari</groupId><artifactId>kafka</artifactId><version>1</version>"
        f"<dependencies>{''.join(lines)}</dependencies></project>"
    )
    copy = ["dependency:copy-dependencies", f"-DoutputDirectory={home / 'lib'}"]
    _run([maven, "-q", "-B", "-f", str(home / "pom.xml"), *copy])


def _flink(home: Path) -> None:
    """PyFlink, and beside it the jar of the connector for Kafka; who runs them needs Java."""
    maven = _need("mvn")
    _python(home)
    copy = ["dependency:copy", f"-Dartifact={FLINK_KAFKA}", f"-DoutputDirectory={home / 'connectors'}"]
    _run([maven, "-q", "-B", *copy])


def _go(home: Path, program: str) -> None:
    (home / "bin").mkdir(parents=True)
    there = shutil.which(home.name)
    if there is not None:
        (home / "bin" / home.name).symlink_to(there)
        return
    _run([_need("go"), "install", program], {"GOBIN": str(home / "bin")})


def _chromium(home: Path) -> None:
    """The one of this machine; only CI, which owns its machine, may install so much."""
    there = _first("chromium", "chromium-browser", "google-chrome")
    if there is None and not os.environ.get("CI"):
        raise Unavailable("no chromium on this machine; `apt-get install chromium` brings it")
    _link(home, there or _debian("chromium", "chromium"))


def _nginx(home: Path) -> None:
    _link(home, shutil.which("nginx") or _debian("nginx", "nginx-light"))


def _haproxy(home: Path) -> None:
    _link(home, shutil.which("haproxy") or _debian("haproxy", "haproxy"))


def _prometheus(home: Path) -> None:
    """The server and promtool, of this machine or unpacked from Debian's package: both need nothing else."""
    programs = ("prometheus", "promtool")
    there = [found for name in programs if (found := shutil.which(name))]
    if len(there) < len(programs):
        package = _unpacked(home / "debian", "prometheus")
        there = [str(package / "usr" / "bin" / name) for name in programs]
    (home / "bin").mkdir(parents=True)
    for name, program in zip(programs, there, strict=True):
        (home / "bin" / name).symlink_to(program)


def _unpacked(folder: Path, package: str) -> Path:
    """A package of Debian, not installed: no service of it starts, and nobody has to be root."""
    apt, unpack = _need("apt-get"), _need("dpkg-deb")
    folder.mkdir(parents=True)
    if os.geteuid() == 0:
        _run([apt, "update", "-q"])
    _run([apt, "download", "-q", package], cwd=folder)
    (archive,) = folder.glob("*.deb")
    _run([unpack, "-x", str(archive), str(folder)])
    archive.unlink()
    return folder


def _docker_compose(home: Path) -> None:
    """The one of this machine, or Debian's; it reads files without an engine of Docker."""
    _link(home, shutil.which("docker-compose") or _debian("docker-compose", "docker-compose"))


def _link(home: Path, program: str) -> None:
    (home / "bin").mkdir(parents=True)
    (home / "bin" / home.name).symlink_to(program)


def _debian(program: str, package: str) -> str:
    """A program of the system, installed by root, who may; the service that some start is not wanted."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise Unavailable(f"no {program} on this machine; `apt-get install {package}` brings it")
    _run([apt, "update", "-q"])
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    _run([apt, "install", "-q", "-y", "--no-install-recommends", package], quiet)
    return _need(program)


_BUILDERS: Mapping[str, Callable[[Path], None]] = {
    "axe": _axe,
    "perf_analyzer": _perf_analyzer,
    "grpcurl": _grpcurl,
    "chromium": _chromium,
    "docker-compose": _docker_compose,
    "flink": _flink,
    "haproxy": _haproxy,
    "kafka": _kafka,
    "nginx": _nginx,
    "prometheus": _prometheus,
    "versitygw": _versitygw,
}


def _run(command: Sequence[str], more: Mapping[str, str] | None = None, cwd: Path = ROOT) -> None:
    environment = os.environ | dict(more or {})
    environment.pop("VIRTUAL_ENV", None)
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        if _NO_NETWORK.search(said):
            raise Unavailable(f"{Path(command[0]).name} reaches no registry: {said.splitlines()[-1].strip()}")
        raise RuntimeError(f"{' '.join(command)}\n{said}")


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else _need("uv")


def _need(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        raise Unavailable(f"no {tool} on this machine")
    return found


def _first(*tools: str) -> str | None:
    return next((found for tool in tools if (found := shutil.which(tool))), None)


def main(words: Sequence[str]) -> int:
    """Build what is named; the exit code."""
    try:
        if list(words) == ["--lock"]:
            lock()
            return 0
        for name in words or names():
            sys.stdout.write(f"{build(name)}\n")
    except Unavailable as error:
        sys.stderr.write(f"{error}\n")
        return UNAVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

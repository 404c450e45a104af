"""A role of PostgreSQL that reads the records and writes nothing; it does not see the tokens' hashes."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b64encode
from contextlib import closing

from sqlalchemy import Connection, make_url, text

from adapters.sql.database import RECORDS, Database
from adapters.sql.lineage_tables import TABLES, TOKENS
from hotswap.errors import BadRequest, Conflict

_ROLE = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_PASSWORD = re.compile(r"[\x21-\x7e]{1,200}")
_ROUNDS = 4096
_READABLE = tuple(table.name for table in TABLES if table is not TOKENS)
_KNOWN = text("SELECT 1 FROM pg_roles WHERE rolname = :role")
_MIGHTY = text(
    "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls FROM pg_roles WHERE rolname = :role"
)
_MAY_WRITE = text(
    "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND has_table_privilege("
    ":role, format('%I.%I', schemaname, tablename), 'INSERT, UPDATE, DELETE, TRUNCATE')"
)
_MAY_CREATE = text("SELECT has_schema_privilege(:role, 'public', 'CREATE')")
_MAY_READ = text("SELECT has_table_privilege(:role, 'public.device_tokens', 'SELECT')")
#: Who may read the table of the tokens and not write it: no service, but a reader.
_READERS = text(
    "SELECT grantee::regrole::text FROM pg_class, aclexplode(relacl) "
    "WHERE oid = to_regclass('device_tokens') AND grantee <> relowner AND grantee <> 0 "
    "GROUP BY grantee HAVING NOT bool_or(privilege_type = 'INSERT')"
)


def scram(password: str, salt: bytes | None = None) -> str:
    """A password as PostgreSQL keeps it, so that neither the network nor its log sees the password.

    Raises `BadRequest` for what is not 1 to 200 printable ASCII characters.
    """
    if not _PASSWORD.fullmatch(password):
        raise BadRequest("the password of a reader has 1 to 200 printable ASCII characters, without spaces")
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    first, second, third = (b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${_ROUNDS}:{first}${second}:{third}"


def reader_statements(url: str, role: str, verifier: str | None, *, is_new: bool = True) -> list[str]:
    """The statements that make a reader. Raises `BadRequest` for a name that no reader may have."""
    if not _ROLE.fullmatch(role):
        raise BadRequest(f"role {role[:70]!r} is not allowed: a-z, 0-9 and _, at most 63, no digit first")
    parsed = make_url(url)
    database = str(parsed.database or parsed.username or "").replace('"', '""')
    password = f" PASSWORD '{verifier}'" if verifier else ""
    return [
        f'{"CREATE" if is_new else "ALTER"} ROLE "{role}" LOGIN{password}',
        f'ALTER ROLE "{role}" SET default_transaction_read_only = on',
        f'GRANT CONNECT ON DATABASE "{database}" TO "{role}"',
        f'GRANT USAGE ON SCHEMA public TO "{role}"',
        f'GRANT SELECT ON {", ".join(_READABLE)} TO "{role}"',
        f'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO "{role}"',
    ]


def make_reader(url: str, role: str, password: str | None) -> None:
    """Make a role that reads, or bring one up to date; all or nothing.

    Raises `Conflict` where the role may write or create something, and `RecordsUnavailable`.
    """
    verifier = None if password is None else scram(password)
    with closing(Database(url, RECORDS)) as database, database.writing() as connection:
        is_new = connection.execute(_KNOWN, {"role": role}).first() is None
        if not is_new:
            _check_harmless(connection, role)
        for statement in reader_statements(url, role, verifier, is_new=is_new):
            connection.exec_driver_sql(statement.replace("%", "%%"))
        _check_harmless(connection, role)


def _check_harmless(connection: Connection, role: str) -> None:
    def answer(question: object) -> bool:
        return bool(connection.execute(question, {"role": role}).scalar_one())  # type: ignore[call-overload]

    if answer(_MIGHTY) or answer(_MAY_WRITE):
        raise Conflict(f"the role {role} may write: choose another name for the reader")
    if answer(_MAY_CREATE):
        advice = "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
        raise Conflict(f"the role {role} may create tables, as anybody may in this database: run {advice}")
    if answer(_MAY_READ):
        advice = "REVOKE SELECT ON device_tokens"
        raise Conflict(f"the role {role} may read the hashes of tokens: run {advice} from who has it")


def hide_tokens(connection: Connection) -> None:
    """Take the table of the tokens from readers, who get what is made anew by default."""
    for reader in connection.execute(_READERS).scalars().all():
        connection.exec_driver_sql(f"REVOKE ALL ON device_tokens FROM {reader}".replace("%", "%%"))

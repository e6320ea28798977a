"""Addresses of PostgreSQL servers with the parameters of libpq, which psql and most other clients also use."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

from inhaul.errors import UnsupportedDatabase
from inhaul.texts import is_storable

SYSTEM = "system"
"""The value of `sslrootcert` for the certificates that this machine trusts."""

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_CHOICES = {
    "sslmode": _SSL_MODES,
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "sslnegotiation": ("postgres", "direct"),
}
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
# Parameters that the driver itself reads, as libpq does.
_PASSED_ON = (
    *_CHOICES,
    *_FILES,
    "sslpassword",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "passfile",
    "service",
    "krbsrvname",
    "gsslib",
    "application_name",
    "options",
)
_ITS_OWN = ("host", "port", "user", "password", "dbname", "connect_timeout")
# Parameters that the driver does not support, with the values that have no effect.
_NOTHING_ASKED = {
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "client_encoding": ("auto", "utf8", "utf-8", "unicode"),
    "load_balance_hosts": ("disable",),
    "sslcompression": ("0",),
    "sslsni": ("1",),
}
_INSTEAD = {"channel_binding": "sslmode=verify-full, which knows the server by its certificate"}
_SHOWN = ("service", "options")  # they determine the database


@dataclass(frozen=True, repr=False)
class Server:
    """A database on a server.

    Attributes:
        arguments: The arguments of `asyncpg.connect`. They hold passwords.
        shown: The address without passwords.
    """

    arguments: dict[str, Any]
    shown: str

    def __str__(self) -> str:
        return self.shown

    __repr__ = __str__


def parse(address: str) -> Server:
    """Parses the part of an address after `postgresql://`.

    Raises:
        UnsupportedDatabase: A part cannot be used. The message names it, but quotes nothing that may be secret.
    """
    place, _, query = address.partition("?")
    # A password may contain @ that should be %-encoded, so the last @ ends it.
    userinfo, _, where = place.rpartition("@")
    user, _, password = userinfo.partition(":")
    hosts, _, name = where.partition("/")
    given = dict(_pairs(query))
    host, port = _hosts(hosts)
    parts = {"user": unquote(user), "password": unquote(password), "host": host, "port": port, "dbname": unquote(name)}
    given = {part: value for part, value in parts.items() if value} | given
    _check(given)
    return Server(_arguments(given), _shown(given))


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    for pair in query.split("&") if query else ():
        name, equals, value = pair.partition("=")
        name, value = unquote(name), unquote(value)
        if not equals:
            raise UnsupportedDatabase("the address has a parameter without a value: write NAME=VALUE after the ?")
        if name == "ssl":  # the name that drivers use
            name, value = "sslmode", {"true": "require", "false": "disable"}.get(value.lower(), value)
        elif name == "fallback_application_name":
            name = "application_name"
        if value:
            yield name, value


def _hosts(text: str) -> tuple[str, str]:
    """Returns the names and the ports of the hosts before the name of the database."""
    names, ports = [], []
    for one in text.split(","):
        match = re.fullmatch(r"(\[[^]]*\]|[^:]*)(?::(.*))?", one)
        if match is None:
            raise UnsupportedDatabase(
                "the host in the address cannot be read: write HOST:PORT, and an IPv6 address in brackets"
            )
        names.append(unquote(match[1]).strip("[]"))
        ports.append(match[2] or "")
    return ",".join(names), ",".join(ports) if any(ports) else ""


def _check(given: dict[str, str]) -> None:
    if not all(map(is_storable, given.values())):
        raise UnsupportedDatabase("the address has a NUL character, or half of a surrogate pair: remove it")
    for name, value in given.items():
        if name in _NOTHING_ASKED:
            if value.lower() not in _NOTHING_ASKED[name]:
                instead = f", or use {_INSTEAD[name]}" if name in _INSTEAD else ""
                raise UnsupportedDatabase(f"{name}={value} in the address is not supported: remove it{instead}")
        elif name not in _PASSED_ON and name not in _ITS_OWN:
            raise UnsupportedDatabase(
                f"the address has a parameter {name!r}, which inhaul does not know: remove it; "
                "settings of the server are set by options=-c%20NAME=VALUE"
            )
        elif name in _CHOICES and value not in _CHOICES[name]:
            raise UnsupportedDatabase(f"{name}={value} in the address: use one of {', '.join(_CHOICES[name])}")
        elif name == "connect_timeout" and not value.isdecimal():
            raise UnsupportedDatabase(f"{name}={value} in the address: use a number of seconds")
        elif name in _FILES and value != SYSTEM and not Path(value).is_file():
            raise UnsupportedDatabase(f"{name}={value} in the address: there is no such file")
    if not all(_is_port(port) for port in given.get("port", "").split(",")):
        # The text may be part of a password, so the error does not quote it.
        raise UnsupportedDatabase(
            "a port in the address is not a number from 1 to 65535; %-encode special characters of a password"
        )

    hosts, ports = (given.get(name, "").count(",") for name in ("host", "port"))
    if ports not in (0, hosts):
        raise UnsupportedDatabase("the address must have one port for all hosts, or one for each")


def _is_port(text: str) -> bool:
    return text == "" or (text.isdecimal() and text.isascii() and 0 < int(text[:6]) < 65536)


def _arguments(given: dict[str, str]) -> dict[str, Any]:
    """Returns the arguments for the driver."""
    arguments: dict[str, Any] = {
        argument: given[name]
        for name, argument in (("user", "user"), ("password", "password"), ("dbname", "database"))
        if name in given
    }
    if "host" in given:
        arguments["host"] = given["host"].split(",")
        ports = given.get("port", "").split(",")
        ports = ports * len(arguments["host"]) if len(ports) == 1 else ports
        arguments["port"] = [int(port or 5432) for port in ports]
    elif given.get("port"):
        arguments["port"] = int(given["port"])
    if seconds := int(given.get("connect_timeout", 0)):
        arguments["timeout"] = float(seconds)
    rest = {name: given[name] for name in _PASSED_ON if name in given}
    if rest.get("sslrootcert") == SYSTEM:
        arguments["ssl"] = rest.pop("sslrootcert")
    arguments["dsn"] = f"postgresql://?{urlencode(rest, quote_via=quote)}" if rest else None
    return arguments


def _shown(given: dict[str, str]) -> str:
    user = f"{quote(given['user'])}{':***' if 'password' in given else ''}@" if "user" in given else ""
    hosts = given.get("host", "").split(",")
    ports = given.get("port", "").split(",")
    is_socket = hosts[0].startswith("/")
    shown = {name: given[name] for name in (*_SHOWN, *(["host", "port"] if is_socket else [])) if given.get(name)}
    where = ",".join(
        (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
        for host, port in zip(hosts, ports if len(ports) == len(hosts) else ports * len(hosts), strict=False)
    )
    query = f"?{urlencode(shown, safe='/', quote_via=quote)}" if shown else ""
    return f"postgresql://{user}{'' if is_socket else where}/{quote(given.get('dbname', ''))}{query}"

"""Whom the catalogue may ask: an exact list of hosts, and no address inside our own network (pure).

What a source or a registry says is hostile: an address in it, a redirect or an answer of DNS must
not send us to Nomad's API or a cloud's metadata service.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from specs.texts import shown

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_URL: Final = 2048

_NAME: Final = (
    r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?){0,20}"
)
_HOST: Final = re.compile(rf"({_NAME}|\[[0-9a-f:.]{{2,45}}\])(?::([1-9][0-9]{{0,4}}))?", re.ASCII)
_PLAIN: Final = re.compile(r"[!-~]+", re.ASCII)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class Refused(Exception):
    """Nobody may be asked that, or the answer can't be used; asking again changes nothing.

    `str()` says why and what to do. It holds no credential.
    """


@dataclass(frozen=True, slots=True)
class Target:
    """A checked address: what to connect to, and what to ask for there.

    `inside` says that the operator named this very host and port (or address), so that it may lie
    in our own network.
    """

    scheme: str
    host: str
    port: int
    path: str
    inside: bool

    @property
    def netloc(self) -> str:
        """Host and port as a URL and the Host header have them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == (443 if self.scheme == "https" else 80)
        return host if usual else f"{host}:{self.port}"


def checked_host(text: str) -> str:
    """Return `host` or `host:port` in lower case. Raises: ValueError."""
    found = _HOST.fullmatch(text.lower())
    if found is None or int(found[2] or 0) > 65535:
        raise ValueError(f"{shown(text)} is no host: write host or host:port, without https://")
    return found[0]


class Hosts:
    """The hosts that may be asked.

    `host` alone means https at port 443 of a public address, or of the address itself where the
    entry is one. `host:port` means that port, with https or http, wherever it lies. `setting` is
    where an operator reads and adds them.
    """

    def __init__(self, entries: Iterable[str], *, setting: str = "exchange.hosts") -> None:
        self._entries = frozenset(map(checked_host, entries))
        self.setting = setting

    def target(self, url: str) -> Target:
        """Return what to connect to for `url`. Raises: Refused."""
        if len(url) > MAX_URL or not _PLAIN.fullmatch(url) or "\\" in url:
            raise Refused(f"{shown(url)} is no address: it is too long or holds odd characters")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise Refused(f"{shown(url)} is no address: its host or port can't be read") from None
        if parts.scheme not in {"https", "http"}:
            raise Refused(f"only https is asked, not {shown(parts.scheme)}")
        if "@" in parts.netloc:
            raise Refused("an address with a user or password in it is not asked")
        host = parts.hostname or ""
        named = f"[{host}]" if ":" in host else host
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if port is not None and f"{named}:{port}" in self._entries:
            return Target(parts.scheme, host, port, path, inside=True)
        if named not in self._entries or port not in {None, 443} or not _HOST.fullmatch(named):
            at = named if port is None else f"{named}:{port}"
            raise Refused(
                f"the host {shown(at)} is not among {self.setting}: its operator must add it"
            )
        if parts.scheme != "https":
            raise Refused(f"{shown(named)} is asked over https only")
        return Target("https", host, 443, path, inside=as_address(host) is not None)


def as_address(host: str) -> Address | None:
    """Return the host as an IP address, None where it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether the address is one host of the public internet.

    An IPv6 address that stands for an IPv4 one is judged by that: as mapped, 6to4, Teredo or NAT64.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        inner = [address.sixtofour, *(address.teredo or ())]
        if address.is_site_local or any(one is not None and not is_public(one) for one in inner):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved

"""Which addresses may be called: public ones, and loopback where that is allowed. Nothing private, ever.

What counts is the address a name resolved to, so every spelling of one (``127.1``, ``0x7f.1``, ``2130706433``) is the
same. IPv6 is judged by a list of what is good (global unicast, 2000::/3) less what is not: there are too many ways to
write an IPv4 address in it. Not recognisable are a network's *own* NAT64 prefixes: they look like any other address.

Source: the special-purpose address registries of IANA, which ``ipaddress`` knows in part.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from modeldrop.errors import Refused

METADATA_NAMES = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
"""The names under which clouds hand out credentials to whoever is on the machine."""

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the IPv4 address is the last four bytes
_6TO4 = IPv6Network("2002::/16")  # RFC 3056: the IPv4 address is bytes 2 to 5
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NOT_PUBLIC = (
    IPv4Network("192.0.0.0/24"),  # protocols of their own, of which ``ipaddress`` knows some
    IPv4Network("192.88.99.0/24"),  # relays of 6to4, RFC 7526
    IPv4Network("168.63.129.16/32"),  # Azure's own services, on a public address
    IPv6Network("2001::/23"),  # protocols of their own, Teredo among them
    IPv6Network("3fff::/20"),  # documentation, RFC 9637
)


def check_name(host: str) -> None:
    """Raises Refused for a name that means the machine's own metadata, whatever it resolves to."""
    if host.lower() in METADATA_NAMES:
        raise Refused(f"{host} is a metadata service")


def check_addresses(host: str, addresses: Sequence[str], *, loopback: bool, plain: bool) -> None:
    """Raises Refused unless every address of the host may be called; ``plain``: over http, on loopback alone.

    >>> check_addresses("example.com", ["93.184.215.14", "10.0.0.1"], loopback=False, plain=False)
    Traceback (most recent call last):
    modeldrop.errors.Refused: example.com has an address that is not public
    """
    for text in addresses:
        is_loopback = loopback and _is_loopback(text)
        if plain and not is_loopback:
            raise Refused(f"{host} is called over https only")
        if not (is_loopback or is_public(text)):
            raise Refused(f"{host} has an address that is not public")


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet; those with a zone (``%eth0``) and no addresses are not.

    >>> [is_public(text) for text in ("8.8.8.8", "2001:4860:4860::8888", "64:ff9b::8.8.8.8")]
    [True, True, True]
    >>> [is_public(text) for text in ("169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a00:1", "fd00:ec2::254")]
    [False, False, False, False]
    """
    address = _read(text)
    if isinstance(address, IPv6Address):
        address = _translated(address) or address
    if address is None or any(address.version == block.version and address in block for block in _NOT_PUBLIC):
        return False
    if isinstance(address, IPv6Address):
        return address in _GLOBAL_UNICAST and address.is_global
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _is_loopback(text: str) -> bool:
    address = _read(text)
    return address is not None and address.is_loopback


def _read(text: str) -> IPv4Address | IPv6Address | None:
    """The address, out of IPv6 notation where it is an IPv4 address (``::ffff:…``); None for what is no address."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return None if address.scope_id is not None else address.ipv4_mapped or address


def _translated(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to it end up at, where a gateway translates them."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _6TO4:
        return IPv4Address((int(address) >> 80) & 0xFFFFFFFF)
    return None

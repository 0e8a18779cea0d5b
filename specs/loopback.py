"""What is this machine, and can be read by nobody on the way (pure)."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether `host`, an address without brackets or a name, can only be this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Whether the server of this container is alive: exit 0 or 1, for HEALTHCHECK.

It asks `/livez` on PORT, in the clear and then by TLS; whose certificate it is does not matter on
the way to oneself.
"""

import os
import ssl
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 4


def main() -> int:
    """Ask, and print what is wrong."""
    port = os.environ.get("PORT", "8080")
    context = ssl._create_unverified_context()  # noqa: S323, SLF001
    trouble = ""
    for scheme in ("http", "https"):
        url = f"{scheme}://127.0.0.1:{port}/livez"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S, context=context):  # noqa: S310
                return 0
        except urllib.error.HTTPError as error:
            trouble = f"{url}: {error.code} {error.read(2000).decode(errors='replace')}"
        except OSError as error:
            trouble = trouble or f"{url}: {error}"
    sys.stdout.write(f"{trouble}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

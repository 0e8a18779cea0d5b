"""A small HTTP load from its own process: keep-alive connections on loopback, bounded in count."""

import http.client
import json
import sys
import threading
import time

CONNECTIONS = 8


def requests_per_second(host: str, port: int, path: str, token: str, seconds: float) -> float:
    """Ask for `path` over `CONNECTIONS` connections for `seconds`; return answers a second.

    Raises: RuntimeError on any answer but 200.
    """
    counts = [0] * CONNECTIONS
    until = time.monotonic() + seconds
    bad: list[int] = []

    def ask(number: int) -> None:
        connection = http.client.HTTPConnection(host, port, timeout=30)
        headers = {"Authorization": f"Bearer {token}"}
        while time.monotonic() < until and not bad:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                bad.append(answer.status)
            counts[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CONNECTIONS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if bad:
        raise RuntimeError(f"{path} answered {bad[0]}")
    return sum(counts) / (time.monotonic() - began)


if __name__ == "__main__":
    host, port, path, token, seconds = sys.argv[1:]
    print(json.dumps(requests_per_second(host, int(port), path, token, float(seconds))))

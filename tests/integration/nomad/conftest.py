"""A server that pretends to be a Nomad, for the real adapter."""

from collections.abc import Iterator

import pytest

from tests.pretender import Pretender, pretending


@pytest.fixture
def server() -> Iterator[Pretender]:
    """A server that answers as the test says."""
    with pretending() as pretender:
        yield pretender

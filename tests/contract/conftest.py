"""The doors that the cluster contract is run through, and the databases that the store is."""

import os
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, make_url, text

from reconciler.cluster.nomad import NomadCluster
from reconciler.cluster.simulator.cluster import SimulatedCluster
from reconciler.cluster.simulator.http import serve
from reconciler.cluster.simulator.nodes import node
from reconciler.cluster.simulator.state import SimulatedNomad
from reconciler.nomad_section import NomadSettings
from specs.store import SpecStore
from tests.builders import SEAL
from tests.contract.doors import DEVICE, Case, Door
from tests.contract.stores import Clock
from tests.postgres import find_postgres, private_postgres
from tests.real import NAMESPACES, DevAgent, find_nomad, unmount

DEVICE_PLUGIN = "nomad-device-example"
"""Nomad's own example of a device plugin: the files of a folder are devices `nomad/file/mock`."""

DEVICE_CONFIG = """
plugin "{plugin}" {{
  config {{
    dir            = "{devices}"
    list_period    = "200ms"
    unhealthy_perm = "-rwxrwxrwx"
  }}
}}
"""

NODE = "simulated-node"
DOORS = ("simulated", "http", pytest.param("nomad", marks=pytest.mark.nomad))
on_the_wire = pytest.mark.parametrize("case", DOORS[1:], indirect=True)


@pytest.fixture(params=DOORS)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """One test's hands on one door."""
    case = Case(request.getfixturevalue(f"{request.param}_door"))
    yield case
    case.clean()


@pytest.fixture(scope="session")
def simulated_door() -> Door:
    """The simulator, called in process."""
    nomad = _simulated()
    return Door(
        cluster=SimulatedCluster(nomad, NAMESPACES),
        stop_allocation=nomad.machines.stop_allocation,
        **_second_device(nomad),
    )


@pytest.fixture(scope="session")
def http_door() -> Iterator[Door]:
    """The simulator behind its HTTP door, called by the real adapter."""
    nomad = _simulated()
    with closing(serve(nomad)) as served:
        yield Door(
            cluster=NomadCluster(NomadSettings(address=served.address), NAMESPACES),
            stop_allocation=nomad.machines.stop_allocation,
            **_second_device(nomad),
            address=served.address,
        )


def _simulated() -> SimulatedNomad:
    nomad = SimulatedNomad(nodes=[_node(devices=1)])
    for namespace in NAMESPACES:
        nomad.put_namespace(namespace)
    return nomad


def _second_device(nomad: SimulatedNomad) -> dict[str, Any]:
    node_id = _node(devices=1)["ID"]
    return {
        "add_device": lambda: nomad.machines.set_devices(node_id, {DEVICE: 2}),
        "remove_device": lambda: nomad.machines.set_devices(node_id, {DEVICE: 1}),
    }


def _node(*, devices: int) -> dict[str, Any]:
    return node(NODE, cores=400, memory_mb=4_000_000, disk_mb=2_000_000, gpus={DEVICE: devices})


@pytest.fixture(scope="session")
def nomad_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A real Nomad of this run's own."""
    nomad = find_nomad()
    if nomad is None:
        pytest.skip("no `nomad` program on PATH or in NOMAD_BIN: the contract was not tried on it")
    home = tmp_path_factory.mktemp("nomad")
    devices = home / "devices"
    devices.mkdir()
    (devices / "first").touch(mode=0o644)
    plugin = _device_plugin(nomad)
    more = DEVICE_CONFIG.format(plugin=plugin.name, devices=devices) if plugin else ""
    try:
        with DevAgent(home, more=more, plugins=plugin and plugin.parent) as agent:
            yield Door(
                cluster=NomadCluster(NomadSettings(address=agent.address), NAMESPACES),
                stop_allocation=lambda id_: agent.call("POST", f"/v1/allocation/{id_}/stop"),
                add_device=(devices / "second").touch if plugin else None,
                remove_device=(devices / "second").unlink if plugin else None,
                address=agent.address,
            )
    finally:
        unmount(home)


def _device_plugin(nomad: str) -> Path | None:
    beside = Path(nomad).resolve().parent.parent / "plugins" / DEVICE_PLUGIN
    plugin = Path(os.environ.get("AI4PAPI_TEST_DEVICE_PLUGIN", beside))
    return plugin if plugin.is_file() else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try both databases, and of several replicas the one that can have them."""
    if "url" in metafunc.fixturenames:
        both = () if "shared" in metafunc.fixturenames else ("sqlite",)
        metafunc.parametrize("url", (*both, "postgresql"), indirect=True)


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new, empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/var/ai4papi.db"
        return
    base = request.getfixturevalue("postgres")
    schema = f"test_{uuid4().hex}"
    admin = create_engine(make_url(base).set(drivername="postgresql+psycopg"))
    with admin.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    own = make_url(base).update_query_dict({"options": f"-csearch_path={schema}"})
    yield own.render_as_string(hide_password=False)
    with admin.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    admin.dispose()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL of this run's own."""
    programs = find_postgres()
    if programs is None:
        pytest.skip("no PostgreSQL programs: install Debian's postgresql")
    with private_postgres(programs) as url:
        yield url


@pytest.fixture
def clock() -> Clock:
    """The clock of `store`."""
    return Clock()


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[SpecStore]:
    """A store with its tables, a clock that the test moves, and uids that count."""
    numbers = count(1)
    store = SpecStore(url, seal=SEAL, now=clock, new_uid=lambda: f"uid-{next(numbers)}")
    store.migrate()
    yield store
    store.close()

"""The machines that the simulator pretends to have, in Nomad's node JSON (pure)."""

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

VERSION: Final = "2.0.5+simulated"
"""What the simulator says its Nomad version is."""

CORE_MHZ: Final = 2500
_DRIVERS: Final = ("docker", "exec", "raw_exec", "mock_driver")
_STARTED_AT: Final = "2026-01-01T00:00:00Z"


def node(
    name: str,
    *,
    cores: int,
    memory_mb: int,
    disk_mb: int,
    gpus: Mapping[str, int] | None = None,
    datacenter: str = "dc1",
    meta: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return a ready node; `gpus` maps a model, or vendor/type/model, to how many there are.

    Its id follows from its name, its CPU from its cores (2,500 MHz each).
    """
    return {
        "ID": str(uuid5(NAMESPACE_URL, f"simulated/{name}")),
        "Name": name,
        "Datacenter": datacenter,
        "NodeClass": "",
        "NodePool": "default",
        "Address": "127.0.0.1",
        "HTTPAddr": "127.0.0.1:4646",
        "Status": "ready",
        "StatusDescription": "simulated: nothing runs here",
        "SchedulingEligibility": "eligible",
        "Drain": False,
        "DrainStrategy": None,
        "LastDrain": None,
        "Attributes": _attributes(name, cores=cores, memory_mb=memory_mb),
        "Meta": dict(meta or {}),
        "Links": {},
        "HostVolumes": {},
        "HostNetworks": {},
        "CSIControllerPlugins": {},
        "CSINodePlugins": {},
        "Events": [
            {
                "Message": "Node registered",
                "Subsystem": "Cluster",
                "Timestamp": _STARTED_AT,
                "Details": None,
            }
        ],
        "Drivers": {name: _driver(name) for name in _DRIVERS},
        "NodeResources": _resources(
            cores=cores, memory_mb=memory_mb, disk_mb=disk_mb, devices=_devices(name, gpus or {})
        ),
        "ReservedResources": {
            "Cpu": {"CpuShares": 0, "ReservedCpuCores": None},
            "Memory": {"MemoryMB": 0},
            "Disk": {"DiskMB": 0},
            "Networks": {"ReservedHostPorts": ""},
        },
        "Version": VERSION,
        "CreateIndex": 0,
        "ModifyIndex": 0,
        "StatusUpdatedAt": 0,
    }


def with_devices(node: Mapping[str, Any], gpus: Mapping[str, int]) -> dict[str, Any]:
    """Return the node with these devices and no others; `gpus` as for `node`.

    Devices keep their ids: of two one that stays is the first.
    """
    resources = {**node["NodeResources"], "Devices": _devices(node["Name"], gpus) or None}
    return {**node, "NodeResources": resources}


def computed_class(node: Mapping[str, Any]) -> str:
    """Return the same word for nodes that Nomad takes to be of one kind.

    How much they have does not count, nor the number of their devices: only which kinds there are.
    """
    devices = node["NodeResources"]["Devices"] or ()
    named = {
        **{key: node[key] for key in ("Datacenter", "NodeClass", "NodePool")},
        **{key: _not_unique(node[key]) for key in ("Attributes", "Meta")},
        "Devices": [[d[key] for key in ("Vendor", "Type", "Name", "Attributes")] for d in devices],
    }
    return f"v1:{zlib.crc32(json.dumps(named, sort_keys=True).encode())}"


def default_nodes() -> list[dict[str, Any]]:
    """Return the cluster of `make simulate`: two plain machines and three with GPUs."""
    return [
        node("simulated-cpu-1", cores=64, memory_mb=256_000, disk_mb=2_000_000),
        node("simulated-cpu-2", cores=64, memory_mb=256_000, disk_mb=2_000_000),
        node(
            "simulated-k80-1", cores=32, memory_mb=128_000, disk_mb=1_000_000, gpus={"Tesla K80": 4}
        ),
        node(
            "simulated-v100-1",
            cores=32,
            memory_mb=256_000,
            disk_mb=1_000_000,
            gpus={"Tesla V100": 4},
        ),
        node(
            "simulated-a100-1",
            cores=64,
            memory_mb=512_000,
            disk_mb=2_000_000,
            gpus={"NVIDIA A100": 2},
        ),
    ]


def _not_unique(named: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in named.items() if not key.startswith("unique.")}


def _attributes(name: str, *, cores: int, memory_mb: int) -> dict[str, str]:
    return {
        "cpu.arch": "amd64",
        "cpu.frequency": str(CORE_MHZ),
        "cpu.numcores": str(cores),
        "cpu.totalcompute": str(cores * CORE_MHZ),
        "kernel.name": "linux",
        "kernel.arch": "x86_64",
        "memory.totalbytes": str(memory_mb * 2**20),
        "nomad.service_discovery": "true",
        "nomad.version": VERSION,
        "os.name": "simulated",
        "os.signals": "SIGABRT,SIGHUP,SIGINT,SIGKILL,SIGQUIT,SIGTERM,SIGUSR1,SIGUSR2",
        "unique.hostname": name,
        "unique.network.ip-address": "127.0.0.1",
        **{f"driver.{driver}": "1" for driver in _DRIVERS},
    }


def _driver(name: str) -> dict[str, Any]:
    return {
        "Attributes": {f"driver.{name}": "true"},
        "Detected": True,
        "Healthy": True,
        "HealthDescription": "Healthy",
        "UpdateTime": _STARTED_AT,
    }


def _resources(
    *, cores: int, memory_mb: int, disk_mb: int, devices: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "Cpu": {
            "CpuShares": cores * CORE_MHZ,
            "TotalCpuCores": cores,
            "ReservableCpuCores": list(range(cores)),
        },
        "Memory": {"MemoryMB": memory_mb},
        "Disk": {"DiskMB": disk_mb},
        "Networks": [{"Mode": "host", "Device": "lo", "IP": "127.0.0.1", "CIDR": "127.0.0.1/32"}],
        "MinDynamicPort": 20000,
        "MaxDynamicPort": 32000,
        "Devices": list(devices) or None,
    }


def _devices(node_name: str, gpus: Mapping[str, int]) -> list[dict[str, Any]]:
    devices = []
    for model, count in gpus.items():
        vendor, kind, name = model.split("/", 2) if "/" in model else ("nvidia", "gpu", model)
        devices.append(
            {
                "Vendor": vendor,
                "Type": kind,
                "Name": name,
                "Attributes": {},
                "Instances": [
                    {
                        "ID": f"{node_name}/{name}/{number}",
                        "Healthy": True,
                        "HealthDescription": "",
                        "Locality": None,
                    }
                    for number in range(count)
                ],
            }
        )
    return devices

"""Which blocks and arguments of a job specification are read, and what they set (pure)."""

from typing import Final, NamedTuple


class Argument(NamedTuple):
    """One argument or block: the field that it sets, and how it is read.

    `kind` is "text", "number", "bool", "duration", "strings", "texts" (map), "config", the name of
    a block that may stand once, or "[block]".
    """

    field: str
    kind: str


LABEL: Final = "*"
"""The key that a block's label stands under; no argument has this name."""


def _arguments(kind: str, pairs: str) -> dict[str, Argument]:
    """Return arguments of one kind from `name=Field` pairs."""
    named = (pair.split("=") for pair in pairs.split())
    return {name: Argument(field, kind) for name, field in named}


OPERAND_ARGUMENTS: Final = {
    "distinct_hosts": "distinct_hosts",
    "distinct_property": "distinct_property",
    "regexp": "regexp",
    "version": "version",
    "semver": "semver",
    "set_contains": "set_contains",
    "set_contains_all": "set_contains_all",
    "set_contains_any": "set_contains_any",
}
"""Operands that may be written as an argument of a constraint or an affinity."""

_TARGET: Final = {
    **_arguments("text", "attribute=LTarget operator=Operand value=RTarget"),
    **{name: Argument(name, "text") for name in OPERAND_ARGUMENTS},
}
_CONSTRAINED: Final = {
    "constraint": Argument("Constraints", "[constraint]"),
    "affinity": Argument("Affinities", "[affinity]"),
}
_HEALTH: Final = {
    **_arguments("number", "max_parallel=MaxParallel"),
    **_arguments("text", "health_check=HealthCheck"),
    **_arguments("duration", "min_healthy_time=MinHealthyTime healthy_deadline=HealthyDeadline"),
}
_GROUP: Final = {
    **_CONSTRAINED,
    "meta": Argument("Meta", "texts"),
    "spread": Argument("Spreads", "[spread]"),
    "update": Argument("Update", "update"),
    "migrate": Argument("Migrate", "migrate"),
    "reschedule": Argument("ReschedulePolicy", "reschedule"),
}

BLOCKS: Final[dict[str, dict[str, Argument]]] = {
    "job": {
        **{name: _GROUP[name] for name in ("constraint", "affinity", "meta", "spread", "update")},
        **_arguments("text", "id=ID name=Name namespace=Namespace type=Type region=Region"),
        **_arguments("text", "node_pool=NodePool"),
        **_arguments("number", "priority=Priority"),
        **_arguments("strings", "datacenters=Datacenters"),
        **_arguments("bool", "all_at_once=AllAtOnce"),
        "migrate": Argument("Migrate", "migrate"),
        "reschedule": Argument("Reschedule", "reschedule"),
        "ui": Argument("UI", "ui"),
        "group": Argument("TaskGroups", "[group]"),
    },
    "ui": {**_arguments("text", "description=Description"), "link": Argument("Links", "[link]")},
    "link": _arguments("text", "label=Label url=Url"),
    "constraint": _TARGET,
    "affinity": {**_TARGET, **_arguments("number", "weight=Weight")},
    "spread": {
        **_arguments("text", "attribute=Attribute"),
        **_arguments("number", "weight=Weight"),
        "target": Argument("SpreadTarget", "[spread target]"),
    },
    "spread target": {
        LABEL: Argument("Value", "text"),
        **_arguments("number", "percent=Percent"),
    },
    "update": {
        **_HEALTH,
        **_arguments("number", "canary=Canary"),
        **_arguments("bool", "auto_revert=AutoRevert auto_promote=AutoPromote"),
        **_arguments("duration", "stagger=Stagger progress_deadline=ProgressDeadline"),
    },
    "migrate": _HEALTH,
    "group": {
        **_GROUP,
        LABEL: Argument("Name", "text"),
        **_arguments("number", "count=Count"),
        **_arguments("bool", "prevent_reschedule_on_lost=PreventRescheduleOnLost"),
        **_arguments("duration", "shutdown_delay=ShutdownDelay"),
        "network": Argument("Networks", "[network]"),
        "service": Argument("Services", "[service]"),
        "task": Argument("Tasks", "[task]"),
        "ephemeral_disk": Argument("EphemeralDisk", "ephemeral_disk"),
        "restart": Argument("RestartPolicy", "restart"),
        "disconnect": Argument("Disconnect", "disconnect"),
        "scaling": Argument("Scaling", "scaling"),
    },
    "scaling": {
        **_arguments("bool", "enabled=Enabled"),
        **_arguments("number", "min=Min max=Max"),
        "policy": Argument("Policy", "config"),
    },
    "network": {
        **_arguments("text", "mode=Mode hostname=Hostname"),
        "port": Argument("Ports", "[port]"),
    },
    "port": {
        LABEL: Argument("Label", "text"),
        **_arguments("number", "to=To static=Value"),
        **_arguments("text", "host_network=HostNetwork"),
    },
    "ephemeral_disk": {
        **_arguments("number", "size=SizeMB"),
        **_arguments("bool", "sticky=Sticky migrate=Migrate"),
    },
    "restart": {
        **_arguments("number", "attempts=Attempts"),
        **_arguments("duration", "interval=Interval delay=Delay"),
        **_arguments("text", "mode=Mode"),
        **_arguments("bool", "render_templates=RenderTemplates"),
    },
    "reschedule": {
        **_arguments("number", "attempts=Attempts"),
        **_arguments("duration", "interval=Interval delay=Delay max_delay=MaxDelay"),
        **_arguments("text", "delay_function=DelayFunction"),
        **_arguments("bool", "unlimited=Unlimited"),
    },
    "disconnect": {
        **_arguments("duration", "lost_after=LostAfter stop_on_client_after=StopOnClientAfter"),
        **_arguments("bool", "replace=Replace"),
        **_arguments("text", "reconcile=Reconcile"),
    },
    "service": {
        **_arguments("text", "name=Name provider=Provider port=PortLabel address=Address"),
        **_arguments("text", "address_mode=AddressMode task=TaskName on_update=OnUpdate"),
        **_arguments("strings", "tags=Tags canary_tags=CanaryTags"),
        **_arguments("texts", "meta=Meta canary_meta=CanaryMeta"),
        "check": Argument("Checks", "[check]"),
    },
    "check": {
        **_arguments("text", "name=Name type=Type path=Path protocol=Protocol port=PortLabel"),
        **_arguments("text", "method=Method body=Body address_mode=AddressMode task=TaskName"),
        **_arguments("text", "on_update=OnUpdate"),
        **_arguments("bool", "tls_skip_verify=TLSSkipVerify expose=Expose"),
        **_arguments("duration", "interval=Interval timeout=Timeout"),
    },
    "task": {
        **_CONSTRAINED,
        LABEL: Argument("Name", "text"),
        "meta": Argument("Meta", "texts"),
        "env": Argument("Env", "texts"),
        "config": Argument("Config", "config"),
        "resources": Argument("Resources", "resources"),
        "template": Argument("Templates", "[template]"),
        "service": Argument("Services", "[service]"),
        "restart": Argument("RestartPolicy", "restart"),
        "logs": Argument("LogConfig", "logs"),
        "lifecycle": Argument("Lifecycle", "lifecycle"),
        **_arguments("text", "driver=Driver user=User kill_signal=KillSignal"),
        **_arguments("duration", "kill_timeout=KillTimeout shutdown_delay=ShutdownDelay"),
        **_arguments("bool", "leader=Leader"),
    },
    "resources": {
        **_arguments("number", "cpu=CPU cores=Cores memory=MemoryMB memory_max=MemoryMaxMB"),
        "device": Argument("Devices", "[device]"),
    },
    "device": {
        **_CONSTRAINED,
        LABEL: Argument("Name", "text"),
        **_arguments("number", "count=Count"),
    },
    "template": {
        **_arguments("text", "data=EmbeddedTmpl destination=DestPath source=SourcePath"),
        **_arguments("text", "change_mode=ChangeMode change_signal=ChangeSignal perms=Perms"),
        **_arguments("text", "left_delimiter=LeftDelim right_delimiter=RightDelim"),
        **_arguments("bool", "env=Envvars error_on_missing_key=ErrMissingKey once=Once"),
        **_arguments("duration", "splay=Splay"),
        **_arguments("number", "uid=Uid gid=Gid"),
    },
    "logs": {
        **_arguments("number", "max_files=MaxFiles max_file_size=MaxFileSizeMB"),
        **_arguments("bool", "disabled=Disabled"),
    },
    "lifecycle": {**_arguments("text", "hook=Hook"), **_arguments("bool", "sidecar=Sidecar")},
}
"""Every block that is read, by name. Under `LABEL` stands what the block's label sets."""

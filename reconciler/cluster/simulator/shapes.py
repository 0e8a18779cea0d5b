"""The fields of Nomad's job JSON: their names, types and what Nomad fills in (pure).

Source: answers of Nomad 2.0 to `POST /v1/jobs` and `GET /v1/job/:id`. Fields that the simulator
does nothing with are kept only where a job of ours may carry them.
"""

from typing import Any, Final, NamedTuple

MINUTE: Final = 60 * 10**9
HOUR: Final = 60 * MINUTE
SECOND: Final = 10**9


class Field(NamedTuple):
    """One field: its Go type or the shape of its value, and what stands there by default.

    `kind` is a Go type ("string", "int", "uint64", "bool"), "strings" (list), "texts" (string map),
    "any", the name of a shape, or "[shape]" for a list of them.
    """

    kind: str
    default: Any = None


def _fields(kind: str, default: object, names: str) -> dict[str, Field]:
    return {name: Field(kind, default) for name in names.split()}


_TARGET = _fields("string", "", "LTarget RTarget Operand")
_PORT = {**_fields("string", "", "Label HostNetwork"), **_fields("int", 0, "To Value")}
_UPDATE = {
    "Stagger": Field("int", 30 * SECOND),
    "MaxParallel": Field("int", 1),
    "HealthCheck": Field("string", "checks"),
    "MinHealthyTime": Field("int", 10 * SECOND),
    "HealthyDeadline": Field("int", 5 * MINUTE),
    "ProgressDeadline": Field("int", 10 * MINUTE),
    "Canary": Field("int", 0),
    **_fields("bool", False, "AutoPromote AutoRevert"),
}

SHAPES: Final[dict[str, dict[str, Field]]] = {
    "Job": {
        **_fields("string", "", "ID Name ConsulNamespace VaultNamespace ParentID NomadTokenID"),
        **_fields("string", "", "DispatchIdempotencyToken Status StatusDescription"),
        "Namespace": Field("string", "default"),
        "NodePool": Field("string", "default"),
        "Region": Field("string", "global"),
        "Type": Field("string", "service"),
        "Priority": Field("int", 50),
        "Datacenters": Field("strings"),
        "Meta": Field("texts"),
        "UI": Field("UI"),
        "Update": Field("Update"),
        "Migrate": Field("Migrate"),
        "Reschedule": Field("ReschedulePolicy"),
        "Constraints": Field("[Constraint]"),
        "Affinities": Field("[Affinity]"),
        "Spreads": Field("[Spread]"),
        "TaskGroups": Field("[TaskGroup]"),
        **_fields("bool", False, "AllAtOnce Dispatched Stable Stop"),
        **_fields("any", None, "Multiregion ParameterizedJob Payload Periodic VersionTag"),
        **_fields("uint64", 0, "CreateIndex ModifyIndex JobModifyIndex Version"),
        "SubmitTime": Field("int", 0),
    },
    "UI": {"Description": Field("string", ""), "Links": Field("[Link]")},
    "Link": {"Label": Field("string", ""), "Url": Field("string", "")},
    "Update": _UPDATE,
    "Constraint": _TARGET,
    "Affinity": {**_TARGET, "Weight": Field("int", 50)},
    "Spread": {
        "Attribute": Field("string", ""),
        "Weight": Field("int", 50),
        "SpreadTarget": Field("[SpreadTarget]"),
    },
    "SpreadTarget": {"Value": Field("string", ""), "Percent": Field("int", 0)},
    "TaskGroup": {
        "Name": Field("string", ""),
        "Count": Field("int", 1),
        "Meta": Field("texts"),
        "Constraints": Field("[Constraint]"),
        "Affinities": Field("[Affinity]"),
        "Spreads": Field("[Spread]"),
        "Networks": Field("[Network]"),
        "Services": Field("[Service]"),
        "Tasks": Field("[Task]"),
        "EphemeralDisk": Field("EphemeralDisk"),
        "RestartPolicy": Field("RestartPolicy"),
        "ReschedulePolicy": Field("ReschedulePolicy"),
        "Disconnect": Field("Disconnect"),
        "Migrate": Field("Migrate"),
        "Update": Field("Update"),
        "PreventRescheduleOnLost": Field("bool", False),
        **_fields("int", None, "ShutdownDelay MaxClientDisconnect StopAfterClientDisconnect"),
        "Scaling": Field("ScalingPolicy"),
        **_fields("any", None, "Consul Volumes MaxRunDuration"),
    },
    "ScalingPolicy": {
        **_fields("string", "", "ID"),
        "Type": Field("string", "horizontal"),
        "Enabled": Field("bool", True),
        "Min": Field("int", 0),
        "Max": Field("int", -1),
        "Policy": Field("any"),
        "Target": Field("texts"),
        **_fields("uint64", 0, "CreateIndex ModifyIndex"),
    },
    "Network": {
        **_fields("string", "", "Mode Hostname"),
        "DynamicPorts": Field("[Port]"),
        "ReservedPorts": Field("[Port]"),
        "DNS": Field("any"),
    },
    "Port": _PORT,
    "EphemeralDisk": {"SizeMB": Field("int", 300), **_fields("bool", False, "Migrate Sticky")},
    "RestartPolicy": {
        "Attempts": Field("int", 2),
        "Delay": Field("int", 15 * SECOND),
        "Interval": Field("int", 30 * MINUTE),
        "Mode": Field("string", "fail"),
        "RenderTemplates": Field("bool", False),
    },
    "ReschedulePolicy": {
        "Attempts": Field("int", 0),
        "Delay": Field("int", 30 * SECOND),
        "DelayFunction": Field("string", "exponential"),
        "Interval": Field("int", 0),
        "MaxDelay": Field("int", HOUR),
        "Unlimited": Field("bool", True),
    },
    "Disconnect": {
        **_fields("int", None, "LostAfter StopOnClientAfter"),
        "Reconcile": Field("string", "best_score"),
        "Replace": Field("bool", True),
    },
    "Migrate": {
        "HealthCheck": Field("string", "checks"),
        "HealthyDeadline": Field("int", 5 * MINUTE),
        "MaxParallel": Field("int", 1),
        "MinHealthyTime": Field("int", 10 * SECOND),
    },
    "Service": {
        **_fields("string", "", "Name PortLabel Address TaskName Kind"),
        "AddressMode": Field("string", "auto"),
        "Cluster": Field("string", "default"),
        "OnUpdate": Field("string", "require_healthy"),
        "Provider": Field("string", "consul"),
        "EnableTagOverride": Field("bool", False),
        **_fields("strings", None, "Tags CanaryTags"),
        **_fields("texts", None, "Meta CanaryMeta TaggedAddresses"),
        "Checks": Field("[Check]"),
        **_fields("any", None, "Connect Identity Weights"),
    },
    "Check": {
        **_fields("string", "", "Name Type Path Protocol PortLabel AddressMode Method Body"),
        **_fields("string", "", "Command TaskName InitialStatus TLSServerName Notes GRPCService"),
        "OnUpdate": Field("string", "require_healthy"),
        **_fields("int", 0, "Interval Timeout SuccessBeforePassing FailuresBeforeCritical"),
        "FailuresBeforeWarning": Field("int", 0),
        **_fields("bool", False, "Expose TLSSkipVerify GRPCUseTLS"),
        "Args": Field("strings"),
        **_fields("any", None, "CheckRestart Header"),
    },
    "Task": {
        **_fields("string", "", "Name Driver User Kind KillSignal"),
        "KillTimeout": Field("int", 5 * SECOND),
        "ShutdownDelay": Field("int", 0),
        "Leader": Field("bool", False),
        "Config": Field("any"),
        "Env": Field("texts"),
        "Meta": Field("texts"),
        "Constraints": Field("[Constraint]"),
        "Affinities": Field("[Affinity]"),
        "Services": Field("[Service]"),
        "Templates": Field("[Template]"),
        "Resources": Field("Resources"),
        "RestartPolicy": Field("RestartPolicy"),
        "LogConfig": Field("LogConfig"),
        "Lifecycle": Field("Lifecycle"),
        "Identity": Field("any"),
        **_fields(
            "any", None, "Actions Artifacts CSIPluginConfig Consul DispatchPayload Identities"
        ),
        **_fields("any", None, "ScalingPolicies Schedule Secrets Vault VolumeMounts"),
    },
    "Template": {
        **_fields("string", "", "SourcePath DestPath EmbeddedTmpl ChangeSignal"),
        "ChangeMode": Field("string", "restart"),
        "Perms": Field("string", "0644"),
        "LeftDelim": Field("string", "{{"),
        "RightDelim": Field("string", "}}"),
        "Splay": Field("int", 5 * SECOND),
        "VaultGrace": Field("int", 0),
        **_fields("bool", False, "Envvars ErrMissingKey Once"),
        **_fields("any", None, "ChangeScript Gid Uid Wait"),
    },
    "Resources": {
        "CPU": Field("int", 100),
        "Cores": Field("int", 0),
        "MemoryMB": Field("int", 300),
        **_fields("int", 0, "MemoryMaxMB DiskMB IOPS SecretsMB"),
        "Devices": Field("[RequestedDevice]"),
        **_fields("any", None, "NUMA Networks"),
    },
    "RequestedDevice": {
        "Name": Field("string", ""),
        "Count": Field("uint64", 1),
        "Constraints": Field("[Constraint]"),
        "Affinities": Field("[Affinity]"),
    },
    "LogConfig": {
        "MaxFiles": Field("int", 10),
        "MaxFileSizeMB": Field("int", 10),
        "Disabled": Field("bool", False),
    },
    "Lifecycle": {"Hook": Field("string", ""), "Sidecar": Field("bool", False)},
}
"""Every shape by its name in Nomad's source (the name also appears in its error texts)."""

"""Jobs as the platform before this one wrote them, in both of its shapes."""

from typing import Any

PASSWORD = "correct horse battery"
RCLONE = "obscured-rclone-word"
MAIL = "mailing-token-word"


def an_old_job(number: int = 1, *, owner: str = "alice", **changes: Any) -> dict[str, Any]:
    """Return a job of 2023: id `userjob-<uuid>`, one task, whole MHz."""
    task = _task("usertask", Resources={"CPU": 100, "MemoryMB": 300})
    job = _job(f"userjob-{_uuid(number)}", "userjob", [task], owner=owner)
    return {**job, **changes}


def a_new_job(number: int = 1, *, owner: str = "alice", **changes: Any) -> dict[str, Any]:
    """Return a job of 2026: id a bare uuid, name `module-<uuid>`, helpers beside its task."""
    task = _task("main", Resources={"CPU": 200, "MemoryMB": 300})
    task["Env"] |= {"RCLONE_CONFIG_RSHARE_PASS": RCLONE, "MLFLOW_TRACKING_PASSWORD": MAIL}
    helper = {
        "Name": "email-notification",
        "Driver": "docker",
        "Config": {**task["Config"], "args": ["--mail"]},
        "Env": {"MAILING_TOKEN": MAIL, "DEST": "alice@example.org"},
        "Resources": {"CPU": 50, "MemoryMB": 64},
    }
    job = _job(_uuid(number), f"module-{_uuid(number)}", [task, helper], owner=owner)
    job["Meta"] |= {"owner_name": "Alice", "owner_email": "alice@example.org"}
    return {**job, **changes}


def _job(job_id: str, name: str, tasks: list[Any], *, owner: str) -> dict[str, Any]:
    return {
        "ID": job_id,
        "Name": name,
        "Type": "service",
        "Namespace": "ai4eosc",
        "Datacenters": ["*"],
        "Meta": {"owner": owner, "title": "word-1", "description": ""},
        "TaskGroups": [
            {"Name": "usergroup", "Count": 1, "EphemeralDisk": {"SizeMB": 400}, "Tasks": tasks}
        ],
    }


def _task(name: str, **more: Any) -> dict[str, Any]:
    return {
        "Name": name,
        "Driver": "docker",
        "Config": {
            "image": "deephdc/deep-oc-image-classification-tf:cpu",
            "command": "deep-start",
            "args": ["--deepaas"],
        },
        "Env": {
            "jupyterPASSWORD": PASSWORD,
            "RCLONE_CONFIG": "/srv/.rclone/rclone.conf",
            "RCLONE_CONFIG_RSHARE_TYPE": "webdav",
            "RCLONE_CONFIG_RSHARE_URL": "https://store.example/webdav",
            "RCLONE_CONFIG_RSHARE_VENDOR": "nextcloud",
            "RCLONE_CONFIG_RSHARE_USER": "alice",
            "RCLONE_CONFIG_RSHARE_PASS": "",
        },
        "LogConfig": {"MaxFiles": 2, "MaxFileSizeMB": 10},
        **more,
    }


def _uuid(number: int) -> str:
    return f"{number:08x}-9d3a-11ef-8000-0242ac120002"

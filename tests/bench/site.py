"""A private site for measuring: settings, specs and a runtime on one Nomad, nothing shared."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from reconciler.runtime import Runtime, open_runtime
from reconciler.settings import load_settings, packaged_etc
from specs.model import Owner
from specs.userconf import UserConf, read_userconf
from specs.wish import Wish, wish_of_conf

OWNER: Final = Owner("local", "local")
VO: Final = "vo.ai4eosc.eu"
LIMIT: Final = re.compile(
    r"^  (requests_per_minute|writes_per_minute|vo_writes_per_minute|long_polls): \d+$",
    re.MULTILINE,
)


@contextmanager
def open_site(folder: Path, address: str | None, *, etc: Path | None = None) -> Iterator[Runtime]:
    """Open a runtime of its own in `folder`; `address` None: on the embedded simulator."""
    environ = {"PATH": os.environ["PATH"], "AI4PAPI_AUTH": "local", "AI4PAPI_RESYNC_S": "86400"}
    environ["AI4PAPI_STORE_URL"] = f"sqlite:///{folder}/ai4papi.db"
    if address is not None:
        environ["NOMAD_ADDR"] = address
    if etc is not None:
        environ["AI4PAPI_ETC"] = str(etc)
    runtime = open_runtime(load_settings(environ))
    try:
        yield runtime
    finally:
        runtime.stop()


def etc_without_limits(folder: Path) -> Path:
    """Copy the shipped `etc/`, so that one user may ask for what a thousand users would.

    Raises: RuntimeError where the shipped one no longer has the limits that are known here.
    """
    etc = folder / "etc"
    shutil.copytree(packaged_etc(), etc)
    main_conf = etc / "main_conf.yaml"
    text, lifted = LIMIT.subn(r"  \1: null", main_conf.read_text(encoding="utf-8"))
    if lifted != 4:
        raise RuntimeError(f"{main_conf}: {lifted} limits of {LIMIT.pattern} instead of 4")
    main_conf.write_text(text, encoding="utf-8")
    return etc


def fill(runtime: Runtime, count: int, *, prefix: str) -> list[str]:
    """Store `count` specs; return their ids."""
    conf = read_userconf(runtime.settings.userconf)
    return [_create(runtime, a_wish(conf, f"{prefix}-{number}")) for number in range(count)]


def a_wish(conf: UserConf, name: str, *, title: str = "") -> Wish:
    """Return the wish of a plain deployment, its title by default its name."""
    return wish_of_conf({"general": {"title": title or name}}, conf, vos=[VO], name=name)


def _create(runtime: Runtime, wish: Wish) -> str:
    record, _ = runtime.store.create(wish, owner=OWNER, owner_name="Local", source={"type": "api"})
    return record.uid

"""What the HTTP face needs from the rest of the house, as one value that the wiring fills in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from api.auth import Authenticator
from api.auth.code_flow import CodeLogin
from api.dashboard.sights import Loop, Room
from api.edge import LOOPBACK, Network
from api.forms import Gpu
from api.limits import NO_LIMITS, LimitRules
from api.login import LoginView
from api.logs import ReadLog, no_cluster
from api.operations import OrphanView
from api.schemas import ComparisonView, PlanView
from reconciler.measures import Measures
from specs.leases import Standing
from specs.model import Deployment
from specs.priorities import PriorityClasses
from specs.store import SpecStore
from specs.userconf import UserConf


@dataclass(frozen=True, slots=True)
class Services:
    """The parts behind the routes.

    `preview` says what applying a record would do now, `compare` also in which fields what runs
    differs from it; both answer while the cluster is down. `orphans` are jobs of ours that no
    record knows; raises `ClusterSilent`. `faults` is empty while the reconciler does its work,
    `ready` whether requests can be served. `trash_for` is how long a deleted spec is kept.
    `priorities` are the classes that a spec may ask for, `login` is how to log in here.
    `local_only` refuses requests to an address of another than this machine's loopback. `cors` are
    the origins whose pages may call this server. A body must arrive within `body_s` seconds.
    `read_log` reads the log of an allocation, `tasks_of` names the tasks of a deployment.
    `gpus` are the models that the cluster has (None: nobody knows now), `image_tags` the tags of an
    image in its registry, newest first, none where that does not answer.
    `standing` is this process's part in the work that replicas share, None: it shares none.
    `session_keys` are the site's keys, the first of them seals the sessions of browsers (none: one
    that ends with this process). `browser_logins` are the providers that a browser can log in at.
    `rooms` are the nodes with what of them is taken (None: nobody knows now), `loop_state` how the
    loop stands (None: this process runs none).
    `unready` says in words why nothing can be served now. `measures` counts, and is shown to the
    addresses of `metrics_for`.
    `hook_secret` signs the webhooks of git hosts, None: none are taken.
    """

    store: SpecStore
    conf: UserConf
    auth: Authenticator
    preview: Callable[[Deployment], PlanView]
    compare: Callable[[Deployment], ComparisonView]
    orphans: Callable[[], Sequence[OrphanView]]
    faults: Callable[[], Sequence[str]]
    ready: Callable[[], bool]
    cluster_title: str
    trash_for: timedelta
    login: LoginView
    read_log: ReadLog = no_cluster
    tasks_of: Callable[[Deployment], Sequence[str]] = lambda _: ()
    gpus: Callable[[], Sequence[Gpu] | None] = lambda: None
    image_tags: Callable[[str], Sequence[str]] = lambda _: ()
    priorities: PriorityClasses = field(default_factory=dict)
    limits: LimitRules = NO_LIMITS
    max_body_bytes: int = 1_000_000
    max_header_bytes: int = 32_768
    body_s: float = 30
    local_only: bool = False
    cors: tuple[str, ...] = ()
    unready: Callable[[], Sequence[str]] = tuple
    measures: Measures = field(default_factory=Measures)
    metrics_for: tuple[Network, ...] = LOOPBACK
    hook_secret: str | None = field(default=None, repr=False)
    standing: Callable[[], Standing | None] = lambda: None
    session_keys: tuple[str, ...] = field(default=(), repr=False)
    browser_logins: Sequence[CodeLogin] = ()
    rooms: Callable[[], Sequence[Room] | None] = lambda: None
    loop_state: Callable[[], Loop | None] = lambda: None

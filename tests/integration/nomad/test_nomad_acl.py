"""What our token may do in a Nomad with ACLs: `etc/nomad-policy.hcl`, all of it needed, no more.

Rows C51, C52 and C53 of the attack list.
"""

import re
import threading
import urllib.error
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from reconciler.cluster.nomad import NomadCluster
from reconciler.cluster.protocol import Cluster
from reconciler.errors import ClusterForbidden, ClusterUnavailable
from reconciler.jobs import Allocation, Job, JobRef, Node
from reconciler.nomad_section import NomadSettings
from tests.contract.doors import a_job, ref_of, watching
from tests.real import NAMESPACES, GuardedAgent, find_nomad, unmount

pytestmark = pytest.mark.nomad

ETC = Path(__file__).parents[3] / "etc"
POLICY = (ETC / "nomad-policy.hcl").read_text()
CAPABILITIES = sorted(set(re.findall(r'"([a-z-]+)"[],]', POLICY)))
FOREIGN = "foreign"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedAgent]:
    if find_nomad() is None:
        pytest.skip("no `nomad` program on PATH or in NOMAD_BIN")
    home = tmp_path_factory.mktemp("guarded")
    with GuardedAgent(home) as started:
        started.call("POST", "/v1/namespace", {"Name": FOREIGN})
        started.call("POST", "/v1/jobs", {"Job": a_job(job_id="theirs", namespace=FOREIGN)})
        items = {"Items": {"password": "theirs"}}
        for place in (FOREIGN, NAMESPACES[0]):
            started.call("PUT", f"/v1/var/others/secret?namespace={place}", items)
        yield started
    unmount(home)


@pytest.fixture(scope="module")
def ours(agent: GuardedAgent) -> str:
    """The secret of a token with the shipped policy."""
    return str(agent.token_for(POLICY)["SecretID"])


def a_cluster(agent: GuardedAgent, token: str, namespaces: tuple[str, ...] = NAMESPACES) -> Cluster:
    return NomadCluster(NomadSettings(address=agent.address, token=token), namespaces)


def live(cluster: Cluster, namespace: str) -> None:
    """Do everything once that the loop ever does, in its order."""
    job = a_job(namespace=namespace)
    ref = ref_of(job)
    cluster.ensure_namespaces()
    assert cluster.parse_job((ETC / "job.nomad").read_text())["ID"]
    cluster.put_variable(ref, {"password": "s3cret"}, if_index=0)
    assert cluster.read_variable(ref) is not None
    with watching(cluster) as watch:
        assert cluster.plan_job(job).effect == "creates"
        first = cluster.register_job(job, if_index=0)
        heard = watch.change(Job, lambda told: told.ref == ref)
        assert heard.job_modify_index == first.index
        runs = watch.change(Allocation, lambda a: (a.ref, a.client_status) == (ref, "running"))
        log = {"task": "usertask", "kind": "stdout", "tail_bytes": 9, "follow": False}
        assert b"".join(cluster.read_log(ref, runs.id, stop=threading.Event(), **log)) == b""
        cluster.restart_allocation(ref, runs.id)
        cluster.evaluate_job(ref)
        changed = {**job, "Priority": 60}
        assert cluster.plan_job(changed).effect == "in place"
        cluster.register_job(changed, if_index=cluster_index(cluster, ref))
        cluster.stop_job(ref)
        cluster.register_job(job, if_index=cluster_index(cluster, ref))
        listed = {allocation.id for allocation in cluster.list_allocations().items}
        assert runs.id in listed
        cluster.list_evaluations()
        cluster.list_rollouts()
        assert cluster.list_nodes().items
        cluster.purge_job(ref)
    assert cluster.read_job(ref) is None
    cluster.delete_variable(ref)


def cluster_index(cluster: Cluster, ref: JobRef) -> int:
    return next(job.job_modify_index for job in cluster.list_jobs().items if job.ref == ref)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_the_policy_is_enough(agent, ours, namespace):
    live(a_cluster(agent, ours), namespace)


def without(capability: str) -> str:
    """Return the policy with that capability in no namespace, the node's reading included."""
    if capability == "node":
        return re.sub(r"node \{.*?\}", "", POLICY, flags=re.DOTALL)
    return re.sub(rf'"{capability}",|, "{capability}"', "", POLICY)


@pytest.mark.parametrize("capability", [*CAPABILITIES, "node"])
def test_every_line_of_the_policy_is_needed(agent, capability):
    """C52: what could be left out is too much. The refusal says what was asked for."""
    token = agent.token_for(without(capability))["SecretID"]
    with pytest.raises(ClusterForbidden, match=r"(GET|POST|PUT|DELETE) /v1/"):
        live(a_cluster(agent, token), NAMESPACES[0])


def test_the_policy_names_what_is_needed_and_the_shipped_namespaces():
    assert len(CAPABILITIES) == 12
    conf = yaml.safe_load((ETC / "main_conf.yaml").read_text())
    blocks = re.findall(r'namespace "([^"]+)" \{', POLICY)
    assert sorted(blocks) == sorted(conf["nomad"]["namespaces"].values())


def refused(agent: GuardedAgent, token: str, method: str, path: str, body: Any) -> bool:
    """Whether Nomad says 403 to that."""
    stranger = agent.token
    agent.token = token
    try:
        agent.call(method, path, body)
    except urllib.error.HTTPError as error:
        return error.code == 403
    else:
        return False
    finally:
        agent.token = stranger


THEIRS = f"namespace={FOREIGN}"


@pytest.mark.parametrize(
    "asked",
    [
        ("GET", f"/v1/jobs?{THEIRS}", None),
        ("GET", f"/v1/job/theirs?{THEIRS}", None),
        ("GET", f"/v1/allocations?{THEIRS}", None),
        ("DELETE", f"/v1/job/theirs?{THEIRS}", None),
        ("POST", f"/v1/jobs?{THEIRS}", {"Job": a_job(job_id="theirs", namespace=FOREIGN)}),
        ("POST", "/v1/jobs", {"Job": a_job(namespace="default")}),
        ("GET", f"/v1/var/others/secret?{THEIRS}", None),
        ("GET", "/v1/var/others/secret?namespace=ai4eosc", None),
        ("GET", "/v1/var/nomad/jobs?namespace=ai4eosc", None),
        ("PUT", "/v1/var/others/new?namespace=ai4eosc", {"Items": {"a": "b"}}),
        ("PUT", "/v1/namespace/mine", {"Name": "mine"}),
        ("DELETE", f"/v1/namespace/{FOREIGN}", None),
        ("POST", "/v1/node/{node}/drain", {"DrainSpec": {"Deadline": 1}}),
        ("POST", "/v1/node/{node}/eligibility", {"Eligibility": "ineligible"}),
        ("POST", "/v1/node/{node}/purge", None),
        ("GET", "/v1/agent/self", None),
        ("GET", "/v1/agent/monitor", None),
        ("GET", "/v1/operator/scheduler/configuration", None),
        ("GET", "/v1/operator/snapshot", None),
        ("PUT", "/v1/system/gc", None),
        ("GET", "/v1/acl/tokens", None),
        ("POST", "/v1/acl/token", {"Name": "x", "Type": "management"}),
        ("GET", "/v1/client/fs/ls/{alloc}?path=/&namespace=ai4eosc", None),
        ("GET", "/v1/client/fs/stat/{alloc}?path=/&namespace=ai4eosc", None),
    ],
    ids=lambda asked: f"{asked[0]} {asked[1]}",
)
def test_the_policy_lets_us_do_nothing_else(agent, ours, standing, asked):
    """C52, C53: other people's jobs, Variables and nodes, and all files, are not ours."""
    (node,) = agent.call("GET", "/v1/nodes")
    method, path, body = asked
    path = path.format(node=node["ID"], alloc=standing)
    assert refused(agent, ours, method, path, body)


def test_nobody_gets_into_a_container_with_our_token(agent, ours, standing):
    own = agent.token
    agent.token = ours
    said = agent.cli("alloc", "exec", "-namespace", "ai4eosc", standing, "true")
    agent.token = own
    assert "Permission denied" in said


@pytest.fixture(scope="module")
def standing(agent: GuardedAgent, ours: str) -> Iterator[str]:
    """The allocation of a job of ours that runs."""
    cluster = a_cluster(agent, ours)
    job = a_job()
    with watching(cluster) as watch:
        cluster.register_job(job, if_index=0)
        runs = watch.change(
            Allocation, lambda a: (a.ref, a.client_status) == (ref_of(job), "running")
        )
    yield runs.id
    cluster.purge_job(ref_of(job))


# A token that is not what it was


@pytest.mark.parametrize("token", ["", "x", str(uuid4())], ids=["none", "garbage", "unknown"])
def test_a_token_that_nomad_does_not_know_is_forbidden_everything(agent, token):
    cluster = a_cluster(agent, token)
    for call in (
        cluster.ensure_namespaces,
        cluster.list_jobs,
        cluster.list_nodes,
        lambda: cluster.read_job(JobRef("ai4eosc", "x")),
        lambda: cluster.read_variable(JobRef("ai4eosc", "x")),
        lambda: cluster.register_job(a_job(), if_index=0),
        lambda: cluster.purge_job(JobRef("ai4eosc", "x")),
    ):
        with pytest.raises(ClusterForbidden) as said:
            call()
        assert not token or token not in str(said.value).split()


@pytest.mark.parametrize("lost", ["list-jobs", "read-job"])
def test_what_a_policy_hides_never_looks_gone(agent, lost):
    """C52: a token that lost one right in one of two namespaces. Listed over all of them at once,
    the jobs of that namespace would be missing, and nothing would say so."""
    head, tail = POLICY.split('namespace "imagine"')
    rules = head + 'namespace "imagine"' + tail.replace(f'"{lost}",', "")
    cluster = a_cluster(agent, agent.token_for(rules)["SecretID"])
    hidden = cluster.list_jobs if lost == "list-jobs" else cluster.list_allocations
    with pytest.raises(ClusterForbidden, match="in namespace imagine"):
        hidden()


def test_a_namespace_that_the_policy_does_not_name_is_told_with_what_to_do(agent, ours):
    with pytest.raises(ClusterForbidden, match="sees no namespace foreign"):
        a_cluster(agent, ours, (*NAMESPACES, FOREIGN)).ensure_namespaces()


def test_a_missing_namespace_is_made_by_those_who_may_only(agent):
    name = f"vo-{uuid4()}"
    rules = POLICY.replace("ai4eosc", name)
    cluster = a_cluster(agent, agent.token_for(rules)["SecretID"], (name,))
    with pytest.raises(ClusterForbidden, match=f"run `nomad namespace apply {name}`"):
        cluster.ensure_namespaces()
    a_cluster(agent, agent.token, (name,)).ensure_namespaces()
    cluster.ensure_namespaces()
    assert cluster.list_jobs().items == []


def test_the_stream_of_a_token_that_is_taken_away_is_not_believed(agent, monkeypatch):
    """C52: on Nomad 2.0.6 such a stream falls silent, and is closed when Go's garbage collector
    finds it (11 to 27 s later, measured): either ends it here, and then the refusal is told."""
    monkeypatch.setattr("reconciler.cluster.nomad.SILENCE_S", 2.0)
    made = agent.token_for(POLICY)
    cluster = a_cluster(agent, made["SecretID"])
    heard = []
    with closing(cluster.changes(after=0, stop=threading.Event())) as stream:
        next(stream)
        agent.call("DELETE", f"/v1/acl/token/{made['AccessorID']}")
        job = a_job(count=0)
        agent.call("POST", "/v1/jobs", {"Job": job})
        with suppress(ClusterUnavailable):
            heard.extend(change for message in stream for change in message.changes)
    agent.call("DELETE", f"/v1/job/{job['ID']}?namespace=ai4eosc&purge=true")
    assert ref_of(job) not in [change.ref for change in heard if not isinstance(change, Node)]
    with pytest.raises(ClusterForbidden):
        cluster.ensure_namespaces()


def test_a_token_that_may_do_everything_is_warned_of_and_so_is_one_that_ends(agent, ours, caplog):
    """C52: "reconciler token too strong"; said once, without the token."""
    a_cluster(agent, ours).ensure_namespaces()
    assert "NOMAD_TOKEN" not in caplog.text
    strong = a_cluster(agent, agent.token)
    for _ in range(2):
        strong.ensure_namespaces()
    assert caplog.text.count("NOMAD_TOKEN may do everything") == 1
    ends = agent.token_for(POLICY, ExpirationTTL="1h")
    a_cluster(agent, ends["SecretID"]).ensure_namespaces()
    (said,) = [r for r in caplog.records if r.message == "NOMAD_TOKEN expires"]
    assert said.expires_at == ends["ExpirationTime"]
    assert ends["SecretID"] not in caplog.text

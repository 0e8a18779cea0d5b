"""The real adapter against answers that no healthy Nomad gives, and what it says on the wire."""

import base64
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from reconciler.cluster.nomad import NomadCluster
from reconciler.errors import (
    ClusterForbidden,
    ClusterUnavailable,
    JobConflict,
    JobRejected,
)
from reconciler.jobs import JobRef, Registered
from reconciler.nomad_section import NomadSettings
from tests.pretender import (
    JOB,
    REF,
    STUB,
    WRITTEN,
    Answer,
    Asked,
    a_cluster,
    a_page,
    pretending,
)

# What is sent


def test_the_environment_redirects_nothing(server, monkeypatch):
    """python-nomad lets NOMAD_NAMESPACE win over the job's own, and requests follows proxies."""
    for name, value in {
        "NOMAD_NAMESPACE": "elsewhere",
        "NOMAD_TOKEN": "the-environments",
        "NOMAD_REGION": "mars",
        "NOMAD_ADDR": "http://127.0.0.1:1",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    cluster = a_cluster(server)
    server.answer = lambda _: Answer(WRITTEN)
    cluster.register_job(JOB, if_index=0)
    (asked,) = server.asked
    assert asked.query == {"namespace": ["ns"]}
    assert "X-Nomad-Token" not in asked.headers


def test_token_region_and_basic_auth_go_with_every_call(server):
    cluster = a_cluster(server, token="s3cret", region="eu", http_auth="me:pass:word")
    server.answer = lambda asked: a_page() if asked.path == "/v1/nodes" else Answer(WRITTEN)
    cluster.register_job(JOB, if_index=4)
    cluster.stop_job(REF)
    cluster.list_nodes()
    assert len(server.asked) == 3
    for asked in server.asked:
        assert asked.headers["X-Nomad-Token"] == "s3cret"
        assert asked.query["region"] == ["eu"]
        sent = base64.b64decode(asked.headers["Authorization"].removeprefix("Basic "))
        assert sent == b"me:pass:word"
    assert server.asked[0].body == {"Job": JOB, "EnforceIndex": True, "JobModifyIndex": 4}


def test_no_secret_is_shown_in_the_title(server):
    shown = NomadCluster(
        NomadSettings(address="http://me:word@nomad.example:4646", token="s3cret"), ("ns",)
    ).title
    assert shown == "Nomad at http://nomad.example:4646"


def test_every_call_names_its_namespace(server):
    """python-nomad sends none with evaluations and Variables."""
    server.answer = lambda asked: (
        Answer([{"Name": "ns"}])
        if asked.path == "/v1/namespaces"
        else Answer({"Items": {}, "ModifyIndex": 3})
        if "/var/" in asked.path
        else a_page()
        if asked.path.endswith("s") and "/job/" not in asked.path
        else Answer(WRITTEN)
    )
    cluster = a_cluster(server)
    cluster.list_jobs()
    cluster.list_allocations()
    cluster.list_evaluations()
    cluster.read_variable(REF)
    cluster.put_variable(REF, {"a": "b"}, if_index=0)
    cluster.delete_variable(REF)
    cluster.purge_job(REF)
    own = [a for a in server.asked if not a.path.startswith(("/v1/namespace", "/v1/agent/"))]
    assert [asked.query["namespace"] for asked in own] == [["ns"]] * 7


@pytest.mark.parametrize("odd", ["../agent/self", "a?purge=true#", "a/b", "a%2Fb", "é\n"])
def test_an_id_never_leaves_its_place_in_the_path(server, odd):
    server.answer = lambda _: Answer({**STUB, "ID": odd})
    a_cluster(server).read_job(JobRef("ns", odd))
    (asked,) = server.asked
    assert asked.path.startswith("/v1/job/")
    assert asked.path.count("/") == 3
    assert asked.query == {"namespace": ["ns"]}


@pytest.mark.parametrize("dots", ["", ".", ".."])
def test_an_id_that_a_path_can_not_hold_is_never_sent(server, dots):
    with pytest.raises(JobRejected):
        a_cluster(server).stop_job(JobRef("ns", dots))
    assert server.asked == []


def test_a_redirect_is_not_followed(server):
    """Whoever is named in it would get the token."""
    with pretending() as elsewhere:
        server.answer = lambda _: Answer(
            status=307, headers={"Location": elsewhere.address + "/v1/jobs"}
        )
        cluster = a_cluster(server, token="s3cret")
        for call in (
            lambda: cluster.parse_job("x"),
            lambda: cluster.register_job(JOB, if_index=0),
            lambda: cluster.put_variable(REF, {"a": "b"}, if_index=0),
            lambda: cluster.stop_job(REF),
            cluster.list_jobs,
        ):
            with pytest.raises(ClusterUnavailable):
                call()
        assert elsewhere.asked == []


# What is made of answers


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer("<html>It works!</html>"), ClusterUnavailable),
        (Answer("nothing of sense"), ClusterUnavailable),
        (Answer({"status": "ok"}), ClusterUnavailable),
        (Answer([]), ClusterUnavailable),
        (Answer(None), ClusterUnavailable),
        (Answer("Too many requests", 429), ClusterUnavailable),
        (Answer("<html>Bad gateway</html>", 502), ClusterUnavailable),
        (Answer("No cluster leader", 500), ClusterUnavailable),
        (Answer("No cluster leader", 503), ClusterUnavailable),
        (Answer("", 504), ClusterUnavailable),
        (Answer("404 page not found", 404), ClusterUnavailable),
        (Answer("<html>Not here</html>", 404), ClusterUnavailable),
        (Answer("Permission denied", 403), ClusterForbidden),
        (Answer("", 401), ClusterForbidden),
    ],
)
def test_what_is_not_nomads_answer_is_no_answer(server, answer, kind):
    """Row R7: a proxy's page must never read as "there is no such job"."""
    server.answer = lambda _: answer
    cluster = a_cluster(server)
    for call in (
        lambda: cluster.read_job(REF),
        lambda: cluster.register_job(JOB, if_index=0),
        lambda: cluster.plan_job(JOB),
        lambda: cluster.stop_job(REF),
        lambda: cluster.purge_job(REF),
        lambda: cluster.restart_allocation(REF, "a1"),
        lambda: cluster.evaluate_job(REF),
        lambda: cluster.read_variable(REF),
        lambda: cluster.put_variable(REF, {"a": "b"}, if_index=0),
        lambda: cluster.parse_job("x"),
        cluster.list_jobs,
        cluster.list_rollouts,
        cluster.list_nodes,
    ):
        with pytest.raises(kind):
            call()


@pytest.mark.parametrize("page", ["404 page not found", "<html>Not here</html>", ""])
def test_a_404_is_absence_only_in_nomads_own_words(server, page):
    server.answer = lambda asked: (
        Answer({"Name": "ns"}) if asked.path.startswith("/v1/namespace/") else Answer(page, 404)
    )
    cluster = a_cluster(server)
    for call in (cluster.read_job, cluster.read_variable):
        with pytest.raises(ClusterUnavailable):
            call(REF)


def test_another_jobs_answer_is_no_answer(server):
    server.answer = lambda _: Answer({**STUB, "ID": "somebody-else"})
    with pytest.raises(ClusterUnavailable):
        a_cluster(server).read_job(REF)


def test_a_500_is_the_jobs_fault_only_where_validation_says_so(server):
    server.will(Answer("1 error", 500), Answer({"Error": "disk\n\ttoo small"}))
    with pytest.raises(JobRejected, match=r"^disk too small$"):
        a_cluster(server).register_job(JOB, if_index=0)
    assert [asked.path for asked in server.asked] == ["/v1/jobs", "/v1/validate/job"]


@pytest.mark.parametrize(
    "judged", [Answer({"Error": ""}), Answer("rpc error", 500), Answer("<html>", 200)]
)
def test_a_500_that_validation_can_not_explain_is_an_outage(server, judged):
    server.will(Answer("rpc error: EOF", 500), judged)
    with pytest.raises(ClusterUnavailable):
        a_cluster(server).register_job(JOB, if_index=0)


def test_a_conflict_needs_no_validation(server):
    server.will(Answer("Enforcing job modify index 3: job exists with conflicting …", 500))
    with pytest.raises(JobConflict, match=r"Enforcing job modify index 3"):
        a_cluster(server).register_job(JOB, if_index=3)


def test_an_unchanged_register_answers_the_index_that_was_enforced(server):
    server.will(Answer({"JobModifyIndex": 22, "Index": 30, "EvalID": "e1"}))
    assert a_cluster(server).register_job(JOB, if_index=21) == Registered(21, "e1")


def test_a_lost_variable_write_tells_no_secret(server, caplog):
    held = {"Items": {"general.jupyter_password": "tops3cret"}, "ModifyIndex": 8}
    items = {"general.jupyter_password": "n3w"}
    server.will(Answer(held, 409))
    with pytest.raises(JobConflict) as refused:
        a_cluster(server).put_variable(REF, items, if_index=7)
    logging.getLogger("test").error("look", exc_info=refused.value)
    assert "nomad/jobs/j1" in caplog.text
    assert "tops3cret" not in caplog.text
    assert '"n3w"' not in caplog.text.replace("'", '"')


# Lists


def test_pages_of_all_namespaces_make_one_list(server):
    server.will(
        a_page(STUB, index=12, after="ns.j2"),
        a_page({**STUB, "ID": "j2"}, {**STUB, "Namespace": "somebody-elses", "ID": "j4"}, index=11),
        a_page({**STUB, "Namespace": "other", "ID": "j3"}, index=13),
        Answer([{"Name": "ns"}, {"Name": "other"}, {"Name": "somebody-elses"}]),
        Answer({"config": {"Version": {"Version": "2.0.5"}}}),
    )
    cluster = a_cluster(server, namespaces=("ns", "other"))
    listing = cluster.list_jobs()
    assert [job.ref for job in listing.items] == [("ns", "j1"), ("ns", "j2"), ("other", "j3")]
    assert listing.index == 11
    assert [asked.query.get("next_token") for asked in server.asked] == [
        None,
        ["ns.j2"],
        None,
        None,
        None,
    ]
    assert cluster.title == f"Nomad 2.0.5 at {server.address}"


@pytest.mark.parametrize(
    "broken",
    [
        Answer("", 500),
        Answer("<html>"),
        Answer([{"ID": "j2"}], headers={"X-Nomad-Index": "1"}),
        Answer([STUB]),
        a_page(STUB, leader="false"),
    ],
    ids=["refused", "a page", "half an item", "no index", "no leader"],
)
def test_a_list_is_complete_or_there_is_none(server, broken):
    """Absence counts only after a complete read."""
    server.will(a_page(STUB, after="ns.j2"), broken)
    with pytest.raises(ClusterUnavailable):
        a_cluster(server).list_jobs()


def test_an_empty_list_of_a_namespace_that_is_not_there_is_no_list(server):
    server.will(a_page(), Answer("Namespace not found", 404))
    with pytest.raises(ClusterForbidden, match=r"nomad\.namespaces"):
        a_cluster(server).list_jobs()


def test_a_namespace_that_is_not_there_is_no_empty_list(server):
    server.will(a_page(), Answer([{"Name": "default"}]))
    with pytest.raises(ClusterForbidden, match="no namespace ns"):
        a_cluster(server).list_jobs()


def test_a_list_is_asked_of_each_namespace_by_its_name(server):
    """C52: of all namespaces at once Nomad lists what our token may see, and says nothing of the
    rest: a job that it hides would look gone."""
    server.will(a_page(STUB), Answer("Permission denied", 403))
    with pytest.raises(ClusterForbidden, match="GET /v1/jobs in namespace other"):
        a_cluster(server, namespaces=("ns", "other")).list_jobs()


def test_a_refusal_says_what_was_asked_and_no_more(server):
    server.answer = lambda _: Answer("Permission denied", 403)
    with pytest.raises(ClusterForbidden) as refused:
        a_cluster(server, token="s3cret", http_auth="me:word").put_variable(
            REF, {"password": "tops3cret"}, if_index=0
        )
    assert "PUT /v1/var/nomad/jobs/j1 in namespace ns" in str(refused.value)
    assert not {"s3cret", "word", "tops3cret"} & set(str(refused.value).replace("/", " ").split())


# Namespaces


def found(asked, *, there=("ns",), seen=("ns", "other"), may_create=False):
    """Answer as a Nomad with the namespaces `there`, of which our token sees `seen`."""
    name = asked.path.rpartition("/")[2]
    if asked.method != "GET":
        return Answer("") if may_create else Answer("Permission denied", 403)
    if not asked.path.startswith("/v1/namespace/"):
        return a_page()
    if name not in seen:
        return Answer("Permission denied", 403)
    return Answer({"Name": name}) if name in there else Answer("Namespace not found", 404)


def test_a_missing_namespace_is_made_and_says_who_made_it(server, caplog):
    """C16: the second wall stands in namespaces of our making, and in no other."""
    server.answer = lambda asked: found(asked, may_create=True)
    a_cluster(server, namespaces=("ns", "other")).ensure_namespaces()
    (made,) = [asked for asked in server.asked if asked.method != "GET"]
    assert made.body["Name"] == "other"
    assert "ai4papi" in made.body["Description"]
    assert "raw_exec" in made.body["Capabilities"]["DisabledTaskDrivers"]
    assert "namespace created" in caplog.text


def test_what_an_operator_must_do_is_said_of_every_namespace_at_once(server):
    server.answer = lambda asked: found(asked, there=("ns",), seen=("ns", "other"))
    with pytest.raises(ClusterForbidden) as refused:
        a_cluster(server, namespaces=("hidden", "ns", "other")).ensure_namespaces()
    assert "run `nomad namespace apply other`" in str(refused.value)
    assert "sees no namespace hidden" in str(refused.value)
    assert "etc/nomad-policy.hcl" in str(refused.value)


@pytest.mark.parametrize("blind", ["/v1/evaluations", "/v1/nodes"])
def test_what_a_stream_would_hide_is_asked_before_it_is_opened(server, blind):
    """A stream that our token may not read stays silent (Nomad 2.0.6)."""
    server.answer = lambda asked: (
        Answer("Permission denied", 403) if asked.path == blind else found(asked)
    )
    with pytest.raises(ClusterForbidden, match=blind):
        a_cluster(server).ensure_namespaces()


def test_a_token_that_may_not_know_the_version_lists_all_the_same(server):
    known = Answer([{"Name": "ns"}])
    server.will(a_page(STUB), known, Answer("Permission denied", 403), a_page(STUB), known)
    cluster = a_cluster(server)
    assert [job.ref for job in cluster.list_jobs().items] == [REF]
    assert cluster.list_jobs().index == 10
    assert cluster.title == f"Nomad at {server.address}"


# Time and threads


def test_nobody_there_is_unavailable_and_said_in_few_words():
    cluster = NomadCluster(NomadSettings(address="http://127.0.0.1:1"), ("ns",))
    with pytest.raises(
        ClusterUnavailable, match=r"127\.0\.0\.1:1: \[Errno \d+\] Connection refused"
    ):
        cluster.list_jobs()


def test_an_answer_that_does_not_come_is_not_waited_for(server):
    """Row R6: a slow Nomad, and a connection that is half open."""

    def never(_: Asked) -> Answer:
        server.gone.wait()
        return Answer()

    server.answer = never
    with pytest.raises(ClusterUnavailable, match="timed out"):
        a_cluster(server, timeout_s=0.1).list_jobs()


def test_many_threads_get_each_their_own_answer(server):
    server.answer = lambda asked: Answer({**STUB, "ID": asked.path.rpartition("/")[2]})
    cluster = a_cluster(server)
    wanted = [JobRef("ns", f"job-{n}") for n in range(200)]
    with ThreadPoolExecutor(16) as pool:
        assert [job["ID"] for job in pool.map(cluster.read_job, wanted)] == [r.id for r in wanted]


# The job that we run in


OWN = {**JOB, "Namespace": REF.namespace, "ID": REF.id}


@pytest.mark.parametrize(
    "act",
    [
        lambda cluster: cluster.register_job(OWN, if_index=7),
        lambda cluster: cluster.stop_job(REF),
        lambda cluster: cluster.purge_job(REF),
        lambda cluster: cluster.restart_allocation(REF, "a1"),
        lambda cluster: cluster.evaluate_job(REF),
        lambda cluster: cluster.put_variable(REF, {"a": "b"}, if_index=0),
        lambda cluster: cluster.delete_variable(REF),
    ],
    ids=["register", "stop", "purge", "restart", "evaluate", "put variable", "delete variable"],
)
def test_the_platform_never_touches_the_job_that_it_runs_in(server, act):
    cluster = a_cluster(server, own_job=REF)
    server.answer = lambda _: Answer(WRITTEN)
    with pytest.raises(JobRejected, match="never manages itself"):
        act(cluster)
    assert server.asked == []


def test_the_job_that_we_run_in_is_in_no_list(server):
    own, other = {**STUB, "ID": REF.id, "Namespace": REF.namespace}, {**STUB, "ID": "other"}
    cluster = a_cluster(server, own_job=REF)

    def answer(asked):
        if asked.path == "/v1/namespaces":
            return a_page({"Name": "ns"})
        if asked.path != "/v1/jobs":
            return Answer({"config": {"Version": {"Version": "2.0.5"}}})
        meta = {"Meta": {"managed_by": "ai4papi"}} if "filter" in asked.query else {}
        return a_page(own | meta, other | meta)

    server.answer = answer
    assert [job.ref.id for job in cluster.list_jobs().items] == ["other"]
    assert [job.ref.id for job in cluster.list_foreign_jobs().items] == ["other"]

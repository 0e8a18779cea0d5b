"""What Nomad says when it refuses (texts as a real Nomad 2.0 gives them), and what that means."""

import pytest

from reconciler.cluster.refusals import WORDS_MAX, error_of
from reconciler.errors import ClusterForbidden, ClusterUnavailable, JobConflict, JobRejected


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (500, "Enforcing job modify index 0: job already exists", JobConflict),
        (500, "Enforcing job modify index 3: job does not exist", JobConflict),
        (
            500,
            "Enforcing job modify index 3: job exists with conflicting job modify index: 10",
            JobConflict,
        ),
        (500, "1 error occurred:\n\t* Job ID contains a space\n\n", ClusterUnavailable),
        (500, 'cannot update job from type "service" to "batch"', JobRejected),
        (500, "No cluster leader", ClusterUnavailable),
        (500, "rpc error: failed to get conn: EOF", ClusterUnavailable),
        (
            500,
            '1 error occurred:\n\t* job "a1" is in nonexistent namespace "x"\n\n',
            ClusterForbidden,
        ),
        (404, "Namespace not found", ClusterForbidden),
        (404, "", ClusterUnavailable),
        (404, "<html>not here</html>", ClusterUnavailable),
        (403, "Permission denied", ClusterForbidden),
        (403, "<html>who are you</html>", ClusterForbidden),
        (401, "", ClusterForbidden),
        (400, "Failed to parse job: input.hcl:1,11-15: Argument required", JobRejected),
        (400, "json: cannot unmarshal string into Go struct field", JobRejected),
        (400, "Client sent an HTTP request to an HTTPS server.\n", ClusterUnavailable),
        (400, "<html>Bad request</html>", ClusterUnavailable),
        (413, "http: request body too large", JobRejected),
        (429, "Too many requests", ClusterUnavailable),
        (502, "Bad Gateway", ClusterUnavailable),
        (503, " <!doctype html><p>later", ClusterUnavailable),
        (504, "", ClusterUnavailable),
        (307, "", ClusterUnavailable),
    ],
)
def test_a_refusal_says_what_to_do(status, text, kind):
    assert type(error_of(status, text)) is kind


def test_a_lost_compare_and_set_keeps_its_body_to_itself():
    """Nomad answers the Variable as it is now, secrets and all."""
    error = error_of(409, '{"Items":{"general.jupyter_password":"tops3cret"}}')
    assert type(error) is JobConflict
    assert "tops3cret" not in str(error)


def test_nomads_words_are_kept_on_one_line_and_bounded():
    error = error_of(400, "1 error occurred:\n\t* disk too small\n\n" + "x" * 100_000)
    assert str(error).startswith("1 error occurred: * disk too small x")
    assert len(str(error)) == WORDS_MAX

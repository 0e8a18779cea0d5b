"""What can go wrong between us and the cluster, named for what the catcher does (pure).

ClusterError
 ├ ClusterUnavailable   come back later, with back-off; say so in the status
 ├ JobConflict          somebody else wrote first: look again, never overwrite
 ├ JobRejected          Nomad will never take this job: wait until the wish changes
 ├ LogMissing           there is no such log, or not any more: what was kept of it may be there
 └ ClusterForbidden     our token may not: the operator's problem, loud and slow
"""


class ClusterError(Exception):
    """The cluster did not do what was asked. `str()` is fit for the operator's log."""


class ClusterUnavailable(ClusterError):
    """No answer, a broken one, or one that says "not now".

    Retry with back-off, or in `again_s` seconds where that is known.
    """

    def __init__(self, message: str, *, again_s: float | None = None) -> None:
        super().__init__(message)
        self.again_s = again_s


class JobConflict(ClusterError):
    """The job is not at the index we decided on. Look again."""


class JobRejected(ClusterError):
    """Nomad refused the job itself, with these words. Retrying the same job can't help."""


class ClusterForbidden(ClusterError):
    """The token lacks a capability, or the namespace does not exist. An operator must act."""


class LogMissing(ClusterError):
    """The allocation or its node is gone, or the task has not begun: nothing to read there."""

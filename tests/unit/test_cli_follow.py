"""When waiting is over, and the long poll until then, on a clock of its own."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from api.cli.choices import Goal
from api.cli.client import Answer
from api.cli.failures import Code, CommandFailed, NoAnswer, refused
from api.cli.follow import Ending, Sight, ending_of, follow


def status(phase: str = "Starting", *, ready: bool = False, **more: Any) -> dict[str, Any]:
    ready_condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "uid": "u1",
        "generation": 1,
        "observedGeneration": 1,
        "phase": phase,
        "message": f"{phase} it is",
        "conditions": [ready_condition],
        "endpoints": {},
        **more,
    }


STALLED = [{"type": "Stalled", "status": "True"}]


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (status("Running", ready=True), Code.DONE),
        (status("Complete", ready=True), Code.DONE),
        (status("Complete"), Code.ENDED_BADLY),
        (status("Failed"), Code.ENDED_BADLY),
        (status("Suspended"), Code.ENDED_BADLY),
        (status("Queued", conditions=STALLED), Code.ENDED_BADLY),
        (status("Running", ready=True, deletionTimestamp="2026-01-01T00:00:00Z"), Code.ENDED_BADLY),
        (status("Running", ready=True, generation=2), None),
        (status("Failed", generation=2), None),
        (status("Queued"), None),
        (status("Held"), Code.POLICY),
        (status("Held", generation=2), None),
        (status("Degraded"), None),
    ],
)
def test_waiting_for_ready_ends_where_the_present_wish_has_its_answer(
    seen: dict[str, Any], code: Code | None
) -> None:
    ending = ending_of(seen, Goal.READY)
    assert (ending and ending.code) is code


def test_a_wish_that_nothing_runs_is_fulfilled_when_nothing_runs() -> None:
    ending = ending_of(status("Suspended"), Goal.READY, may_rest=True)
    assert ending is not None
    assert ending.code is Code.DONE


def test_waiting_for_the_end_goes_on_while_there_is_a_status() -> None:
    assert ending_of(status("Failed"), Goal.DELETED) is None


class World:
    """Answers in turn, each after some seconds of a clock that nothing else moves."""

    def __init__(self, *answers: tuple[float, Any]) -> None:
        self.now_s = 1000.0
        self.asked: list[tuple[str | None, int]] = []
        self.told: list[Sight] = []
        self._answers: Iterator[tuple[float, Any]] = iter(answers)
        self._etags = 0

    def look(self, etag: str | None, wait_s: int) -> Answer:
        self.asked.append((etag, wait_s))
        took_s, body = next(self._answers, (wait_s, None))
        self.now_s += took_s
        if isinstance(body, Exception):
            raise body
        if body is not None:
            self._etags += 1
        return Answer(body, f'"{self._etags}"')

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now_s += seconds

    def follow(self, goal: Goal = Goal.READY, timeout_s: float = 600, **more: Any) -> Ending:
        return follow(
            self.look,
            goal,
            timeout_s=timeout_s,
            tell=self.told.append,
            clock=lambda: self.now_s,
            sleep=self.sleep,
            **more,
        )


NOT_FOUND = refused(404, {"reason": "NotFound", "title": "gone"}, server="S")
AWAY = NoAnswer(Code.FAILED, "no answer")
BROKEN = refused(503, None, server="S")


def test_the_first_look_is_told_at_once_and_later_ones_wait_for_a_change() -> None:
    world = World(
        (0, status("Queued")), (12, status("Starting")), (5, status("Running", ready=True))
    )
    ending = world.follow()
    assert (ending.code, ending.words) == (Code.DONE, "is Running")
    assert world.asked == [(None, 0), ('"1"', 30), ('"2"', 30)]
    assert [sight.phase for sight in world.told] == ["Queued", "Starting", "Running"]


def test_time_is_up_when_it_says_so_with_the_last_reason() -> None:
    world = World((0, status("Queued")))
    ending = world.follow(timeout_s=70)
    assert (ending.code, ending.words) == (
        Code.TIMED_OUT,
        "is not Ready after 1m10s: Queued: Queued it is",
    )
    assert world.now_s == pytest.approx(1070, abs=1)
    assert [wait for _, wait in world.asked] == [0, 30, 30, 10]


def test_no_time_at_all_is_one_look() -> None:
    world = World((0, status("Queued")))
    assert world.follow(timeout_s=0).code is Code.TIMED_OUT
    assert len(world.asked) == 1


def test_a_server_that_does_not_hold_the_poll_is_asked_once_a_second() -> None:
    world = World((0, status()), *[(0.0, None)] * 1000)
    assert world.follow(timeout_s=20).code is Code.TIMED_OUT
    assert len(world.asked) <= 22


@pytest.mark.parametrize("trouble", [AWAY, BROKEN])
def test_a_server_that_comes_back_is_asked_again(trouble: CommandFailed) -> None:
    world = World((0, status()), (0, trouble), (0, trouble), (0, status("Running", ready=True)))
    assert world.follow().code is Code.DONE
    assert world.asked[1:] == [('"1"', 30)] * 3
    assert world.now_s == 1002
    assert world.told[1] == Sight("Starting", trouble.message)


def test_a_server_that_stays_away_ends_in_a_time_out() -> None:
    world = World((0, status()), *[(0.0, AWAY)] * 1000)
    assert world.follow(timeout_s=20).code is Code.TIMED_OUT


@pytest.mark.parametrize("trouble", [AWAY, BROKEN, NOT_FOUND])
def test_trouble_at_the_first_look_ends_the_command(trouble: CommandFailed) -> None:
    with pytest.raises(CommandFailed) as caught:
        World((0, trouble)).follow()
    assert caught.value is trouble


def test_a_token_that_expires_meanwhile_ends_the_command() -> None:
    expired = refused(401, {"reason": "NotAuthenticated"}, server="S")
    with pytest.raises(CommandFailed) as caught:
        World((0, status()), (0, expired)).follow()
    assert caught.value.code is Code.NOT_ALLOWED


def _deleted(*answers: tuple[float, Any], **more: Any) -> Callable[[Goal], Ending]:
    return lambda goal: World(*answers).follow(goal, **more)


@pytest.mark.parametrize(
    "see",
    [
        _deleted((0, status()), (1, NOT_FOUND)),
        _deleted((0, NOT_FOUND), uid="u1"),
        _deleted((0, status()), (1, status(uid="u2"))),
        _deleted((0, status(uid="u2")), uid="u1"),
    ],
)
def test_a_deployment_that_is_gone_or_replaced_is_deleted_and_never_ready(
    see: Callable[[Goal], Ending],
) -> None:
    assert see(Goal.DELETED).code is Code.DONE
    assert see(Goal.READY).code is Code.ENDED_BADLY


def test_waiting_for_the_end_of_what_is_not_there_is_done() -> None:
    assert World((0, NOT_FOUND)).follow(Goal.DELETED).code is Code.DONE


def test_a_404_that_the_server_did_not_mean_is_no_deletion() -> None:
    proxy = refused(404, None, server="S")
    with pytest.raises(CommandFailed) as caught:
        World((0, status()), (1, proxy)).follow(Goal.DELETED)
    assert caught.value.code is Code.FAILED

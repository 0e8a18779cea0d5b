from reconciler.waiting import LAST_GAP_S, WaitingForRoom


def test_who_was_refused_once_may_ask_again_soon_and_later_each_time():
    now_s = [100.0]
    waiting = WaitingForRoom(clock=lambda: now_s[0])
    gaps = []
    for _ in range(10):
        waiting.hold("a")
        gaps.append(waiting.delays()["a"])
    assert gaps[:3] == [1.0, 2.0, 4.0]
    assert gaps[-1] == LAST_GAP_S


def test_the_gap_is_counted_from_the_last_question():
    now_s = [100.0]
    waiting = WaitingForRoom(clock=lambda: now_s[0])
    waiting.hold("a")
    now_s[0] += 30
    assert waiting.delays() == {"a": 0.0}


def test_who_was_released_waits_no_longer_and_begins_anew():
    waiting = WaitingForRoom(clock=lambda: 0.0)
    waiting.hold("a")
    waiting.hold("a")
    waiting.release("a")
    assert waiting.delays() == {}
    waiting.hold("a")
    assert waiting.delays() == {"a": 1.0}

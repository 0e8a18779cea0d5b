"""How the parts of the work are shared out among replicas."""

from hypothesis import given
from hypothesis import strategies as st

from specs.shards import SHARDS, SITE, Shares, shard_of, shares

NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f", "g"])
EVENTS = st.lists(
    st.tuples(st.sampled_from(["beat", "beat", "beat", "joins", "dies"]), NAMES), max_size=60
)


def test_a_deployment_belongs_to_the_same_part_in_every_version():
    """Replicas of two versions work side by side during an upgrade."""
    assert [shard_of(f"uid-{n}") for n in range(6)] == [4, 2, 8, 14, 13, 11]


def test_the_parts_are_about_equally_full():
    counts = [0] * SHARDS
    for n in range(16_000):
        counts[shard_of(f"6f1d-{n}-a")] += 1
    assert min(counts) > 800
    assert max(counts) < 1200


def test_who_is_alone_takes_everything():
    assert shares("a", ["a"], {}) == Shares(frozenset(), frozenset(range(SHARDS)), frozenset())


def test_who_holds_too_much_gives_up_but_the_duties_of_the_site():
    told = shares("a", ["a", "b"], dict.fromkeys(range(SHARDS), "a"))
    assert told == Shares(frozenset(range(8)), frozenset(), frozenset(range(8, SHARDS)))
    assert SITE in told.keep


def test_what_another_holds_is_never_taken_even_where_it_is_too_much():
    assert not shares("b", ["a", "b"], dict.fromkeys(range(SHARDS), "a")).take


class Site:
    """Replicas that look at one table in turn, as the store's lock makes them."""

    def __init__(self) -> None:
        self.alive = {"a"}
        self.holders: dict[int, str | None] = {}
        self.moves = 0

    def beat(self, me: str) -> None:
        told = shares(me, self.alive, self.holders)
        mine = {shard for shard, holder in self.holders.items() if holder == me}
        assert told.keep | told.leave == mine
        assert not told.keep & told.leave
        assert all(self.holders.get(shard) is None for shard in told.take)
        self.holders |= dict.fromkeys(told.take, me) | dict.fromkeys(told.leave)
        self.moves += len(told.take) + len(told.leave)

    def settle(self) -> None:
        for _ in range(2):
            for me in sorted(self.alive):
                self.beat(me)


@given(EVENTS)
def test_whatever_comes_and_goes_all_parts_come_to_be_held_fairly_and_then_rest(events):
    site = Site()
    for event, name in events:
        if event == "joins":
            site.alive.add(name)
        elif event == "dies" and site.alive != {name}:
            site.alive.discard(name)
            site.holders = {s: h if h != name else None for s, h in site.holders.items()}
        elif name in site.alive:
            site.beat(name)
    site.settle()
    counts = [list(site.holders.values()).count(name) for name in site.alive]
    assert sum(counts) == SHARDS
    assert max(counts) - min(counts) <= 1
    site.moves = 0
    site.settle()
    assert site.moves == 0, "parts move though nobody came or went"


@given(st.sets(NAMES, min_size=2), NAMES)
def test_who_comes_or_goes_moves_no_more_than_a_fair_share_and_one_each(alive, name):
    site = Site()
    site.alive = alive - {name} or {"z"}
    site.settle()
    before = dict(site.holders)
    site.alive |= {name}
    site.settle()
    moved = sum(before[shard] != site.holders[shard] for shard in range(SHARDS))
    assert moved <= SHARDS // len(site.alive) + len(site.alive)

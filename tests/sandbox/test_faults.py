import msgspec
import pytest

from tenure.sandbox.faults import Fault, FaultOfTime, Watch


def strikes(fault: Fault, *asked: str) -> list[bool]:
    watch = Watch(faults=[fault])
    return [watch.strike(*one.split(" ", 1)) is not None for one in asked]


def test_a_fault_strikes_as_often_as_asked_and_minus_one_means_for_ever() -> None:
    asked = ["GET /a"] * 5
    assert strikes(Fault(name="500"), *asked) == [True, False, False, False, False]
    assert strikes(Fault(name="500", count=3), *asked) == [True, True, True, False, False]
    assert strikes(Fault(name="500", count=-1), *asked) == [True] * 5


def test_a_match_is_a_beginning_or_a_glob_and_may_name_the_method() -> None:
    asked = ["GET /v1/users", "POST /v1/users", "GET /v1/users/1/x", "GET /other"]
    begins, glob = Fault(name="500", count=-1, match="/v1"), Fault(name="500", match="/*/x")
    posted = Fault(name="500", count=-1, match="POST /v1")
    assert strikes(begins, *asked) == [True, True, True, False]
    assert strikes(glob, *asked) == [False, False, True, False]
    assert strikes(posted, *asked) == [False, True, False, False]


def test_only_a_look_can_be_stale() -> None:
    assert strikes(FaultOfTime(name="stale"), "POST /a", "GET /a") == [False, True]


def test_what_a_struck_request_asked_is_counted_too() -> None:
    watch = Watch(faults=[Fault(name="500")])
    for _ in range(2):
        watch.strike("GET", "/a")
    assert watch.requests == {"GET /a": 2}


def test_the_first_of_two_faults_is_spent_before_the_second() -> None:
    watch = Watch(faults=[Fault(name="500"), Fault(name="429", count=2)])
    struck = [watch.strike("GET", "/a") for _ in range(4)]
    assert [fault and fault.name for fault in struck] == ["500", "429", "429", None]


@pytest.mark.parametrize("wrong", [{"count": 0}, {"count": -2}, {"back": 0}])
def test_numbers_that_mean_nothing_are_known(wrong: dict[str, int]) -> None:
    assert not msgspec.convert({"name": "stale", **wrong}, FaultOfTime).is_sensible()
    assert FaultOfTime(name="stale", count=-1).is_sensible()

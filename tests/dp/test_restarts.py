from dp.restarts import BACKOFF_FIRST_S, BACKOFF_MAX_S, RESTARTS_MAX, WINDOW_S, RestartPolicy


def test_the_pause_doubles_with_each_death_in_the_window() -> None:
    policy = RestartPolicy()
    pauses = [policy.died(now) for now in range(4)]
    assert pauses == [BACKOFF_FIRST_S * factor for factor in (1, 2, 4, 8)]


def test_it_gives_up_when_deaths_come_too_fast() -> None:
    policy = RestartPolicy()
    pauses = [policy.died(0.0) for _ in range(RESTARTS_MAX + 1)]
    assert pauses[-1] is None
    assert all(pause is not None and pause <= BACKOFF_MAX_S for pause in pauses[:-1])


def test_old_deaths_are_forgiven() -> None:
    policy = RestartPolicy()
    for _ in range(RESTARTS_MAX):
        policy.died(0.0)
    assert policy.died(WINDOW_S + 1) == BACKOFF_FIRST_S

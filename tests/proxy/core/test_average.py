from scalesim.proxy.core.average import Average


def _of(*samples: float) -> Average:
    average = Average()
    for sample in samples:
        average.add(sample)
    return average


def test_the_first_sample_is_the_mean_and_half_of_it_the_deviation() -> None:
    average = _of(4.0)
    assert (average.mean, average.deviation, average.count) == (4.0, 2.0, 1)


def test_few_samples_are_averaged_plainly() -> None:
    assert _of(1.0, 2.0, 6.0).mean == 3.0


def test_a_new_habit_is_followed() -> None:
    average = _of(*[1.0] * 50, *[9.0] * 12)
    assert 8.5 < average.mean <= 9.0


def test_regular_samples_have_no_deviation_in_the_end() -> None:
    assert _of(*[5.0] * 40).deviation < 0.001

from scalesim.proxy.core.mean import Mean


def test_few_samples_are_averaged_plainly() -> None:
    mean = Mean(1 / 8)
    for sample in (1.0, 2.0, 6.0):
        mean.add(sample)
    assert (mean.value, mean.count) == (3.0, 3)


def test_what_was_long_ago_is_forgotten_slowly() -> None:
    mean = Mean(1 / 8)
    for sample in [0.0] * 100 + [1.0] * 8:
        mean.add(sample)
    assert 0.6 < mean.value < 0.7

from scalesim.proxy.core.counters import Counters
from scalesim.proxy.core.misses import Cause
from scalesim.proxy.core.model import Outcome, Usage


def test_tokens_are_summed_for_all_calls_and_for_first_calls() -> None:
    counters = Counters()
    counters.count_end(Outcome.DONE, Usage(100, 80, 5), first=True)
    counters.count_end(Outcome.DONE, Usage(50, 50, 5), first=False)
    assert (counters.prompt_tokens, counters.cached_tokens) == (150, 130)
    assert (counters.first_prompt_tokens, counters.first_cached_tokens) == (100, 80)


def test_misses_are_counted_by_their_causes() -> None:
    counters = Counters()
    for cause in (Cause.UNKNOWN, Cause.EVICTED_FAR, Cause.UNKNOWN):
        counters.count_miss(cause)
    assert counters.misses == {Cause.UNKNOWN: 2, Cause.EVICTED_FAR: 1}


def test_a_call_of_which_nothing_is_known_does_not_spoil_the_rates() -> None:
    counters = Counters()
    counters.count_end(Outcome.DONE, Usage(100, None, 5), first=True)
    counters.count_end(Outcome.ENGINE_FAILED, None, first=False)
    assert (counters.prompt_tokens, counters.first_prompt_tokens) == (0, 0)
    assert (counters.unmeasured_calls, counters.failed_calls) == (2, 1)

from scalesim.proxy.core.counters import Counters
from scalesim.proxy.core.model import Outcome, Usage


def test_tokens_are_summed_for_all_calls_and_for_first_calls() -> None:
    counters = Counters()
    counters.count_end(Outcome.DONE, Usage(100, 80, 5), first=True)
    counters.count_end(Outcome.DONE, Usage(50, 50, 5), first=False)
    assert (counters.prompt_tokens, counters.cached_tokens) == (150, 130)
    assert (counters.first_prompt_tokens, counters.first_cached_tokens) == (100, 80)
    assert counters.misses == 0


def test_a_first_call_that_finds_less_than_half_of_its_prompt_is_a_miss() -> None:
    counters = Counters()
    for cached in (0, 49, 50):
        counters.count_end(Outcome.DONE, Usage(100, cached, 5), first=True)
    counters.count_end(Outcome.DONE, Usage(100, 0, 5), first=False)
    assert counters.misses == 2


def test_a_call_of_which_nothing_is_known_does_not_spoil_the_rates() -> None:
    counters = Counters()
    counters.count_end(Outcome.DONE, Usage(100, None, 5), first=True)
    counters.count_end(Outcome.ENGINE_FAILED, None, first=False)
    assert (counters.prompt_tokens, counters.first_prompt_tokens, counters.misses) == (0, 0, 0)
    assert (counters.unmeasured_calls, counters.failed_calls) == (2, 1)

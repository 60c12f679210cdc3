"""Shared by all tests."""

import signal

import pytest
from hypothesis import HealthCheck, settings

# Whoever starts the tests in the background of a script has them ignore Ctrl-C, and what they start inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run, however slow the machine: a check must not fail by chance, nor a deadline of 200 ms be
# its measure. `--hypothesis-profile=default` looks at other examples.
settings.register_profile(
    "the-same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("the-same")

# Else a failure in a contract, which is no test module itself, would not say what was compared.
pytest.register_assert_rewrite(
    *(f"tests.engine_adapters.{name}" for name in ("contract", "memory_contract", "any_contract"))
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"

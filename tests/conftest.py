"""Shared by all tests."""

import pytest

# Else a failure in a contract, which is no test module itself, would not say what was compared.
pytest.register_assert_rewrite("tests.engine_adapters.contract", "tests.engine_adapters.memory_contract")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"

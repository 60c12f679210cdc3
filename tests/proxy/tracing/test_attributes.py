from __future__ import annotations

from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes

from scalesim.proxy.core.model import AgentName, SimulationId, Usage
from scalesim.proxy.data_plane.request import GENERATION_ROUTES
from scalesim.proxy.span import Agents
from scalesim.proxy.tracing.attributes import MOST_CHARS, of_caller, of_engine, of_request, of_usage

TOWN, ANN = SimulationId("town"), AgentName("Ann")
KEY = b"k" * 32


def test_every_route_has_an_operation() -> None:
    known = {one.value for one in gen_ai_attributes.GenAiOperationNameValues}
    assert {of_request(route, None)[0] for route in GENERATION_ROUTES} <= known


def test_names_are_those_of_the_conventions() -> None:
    known = {
        value
        for module in (gen_ai_attributes, error_attributes, http_attributes, server_attributes)
        for value in vars(module).values()
        if isinstance(value, str)
    }
    body = {"model": "m", "max_tokens": 3, "temperature": 0.5, "top_p": 1, "stream": True}
    told = of_request("/v1/chat/completions", body)[1] | of_usage(Usage(9, 4, 2)) | of_engine("http://e:1")
    told |= of_caller(TOWN, ANN, Agents.NAMED, KEY)
    assert {name for name in told if not name.startswith("scalesim.")} <= known
    assert {"error.type", "http.response.status_code", "gen_ai.provider.name"} <= known


def test_the_span_is_named_by_what_is_done_with_which_model() -> None:
    assert of_request("/v1/embeddings", {"model": "m"})[0] == "embeddings m"
    assert of_request("/generate", {"text": "a prompt"}) == (
        "text_completion",
        {"gen_ai.operation.name": "text_completion"},
    )


def test_what_makes_no_sense_is_left_out() -> None:
    body = {"model": ["m"], "max_tokens": "many", "temperature": True, "top_p": None, "stream": "yes"}
    assert of_request("/v1/completions", body)[1] == {"gen_ai.operation.name": "text_completion"}


def test_the_strongest_field_for_a_number_counts() -> None:
    body = {"max_tokens": 3, "max_completion_tokens": 5}
    assert of_request("/v1/chat/completions", body)[1]["gen_ai.request.max_tokens"] == 5


def test_what_a_client_wrote_is_cut() -> None:
    told = of_request("/v1/chat/completions", {"model": "m" * 1000})[1]["gen_ai.request.model"]
    assert told == "m" * MOST_CHARS


def test_an_agent_is_hashed_within_its_simulation_and_by_the_key() -> None:
    told = of_caller(TOWN, ANN, Agents.HASHED, KEY)["scalesim.agent"]
    assert told == of_caller(TOWN, ANN, Agents.HASHED, KEY)["scalesim.agent"]
    assert told != of_caller(SimulationId("city"), ANN, Agents.HASHED, KEY)["scalesim.agent"]
    assert told != of_caller(TOWN, ANN, Agents.HASHED, b"x" * 32)["scalesim.agent"]
    assert "Ann" not in str(told)
    assert of_caller(TOWN, ANN, Agents.OFF, KEY) == of_caller(TOWN, None, Agents.NAMED, KEY)


def test_a_port_that_is_not_said_is_that_of_the_scheme() -> None:
    assert of_engine("https://e") == {"server.address": "e", "server.port": 443}
    assert of_engine("http://[::1]:30000") == {"server.address": "::1", "server.port": 30000}


def test_where_nothing_is_said_of_the_cache_nothing_is_told_of_it() -> None:
    assert "gen_ai.usage.cache_read.input_tokens" not in of_usage(Usage(9, None, 2))

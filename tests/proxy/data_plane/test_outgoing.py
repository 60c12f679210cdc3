"""What is written for an engine; most of it is seen through the relay."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from scalesim.proxy.core.model import AdapterName, AgentName, Mode, Owner, SimulationId
from scalesim.proxy.data_plane.outgoing import Outgoing, Said, Writer
from scalesim.proxy.data_plane.request import Request
from scalesim.proxy.recognition.ladder import Recognised
from tests.support.fake_adapter import EXTENDED, FakeAdapter

CHAT = "/v1/chat/completions"
TOWN = SimulationId("town")
ANN = Said(Recognised(TOWN, AgentName("Ann"), "URL", 1.0), TOWN, None, None)


def written(
    said: Said = ANN,
    body: bytes = b'{"model": "m"}',
    features: frozenset[str] = EXTENDED.features,
    salt: dict[str, str] | None = None,
    to: FakeAdapter | None = None,
) -> Outgoing:
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    request = Request("POST", CHAT, CHAT, "", [], body, parsed, None, True)
    writer = Writer(mode_of=lambda _: Mode.ON, salted=lambda *_: salt or {})
    return writer.write(request, said, to or FakeAdapter(), features)


def test_an_engine_of_which_nothing_is_known_gets_what_the_client_sent() -> None:
    assert written(features=frozenset()).body == b'{"model": "m"}'


def test_what_is_no_object_is_sent_as_it_is() -> None:
    assert written(body=b"no json") == Outgoing(b"no json")


def test_owner_id_salt_adapter_and_model_come_behind_what_the_client_said() -> None:
    said = ANN._replace(assigned=AdapterName("pirate"), model="base")
    outgoing = written(said, salt={"cache_salt": "s"})
    assert outgoing.body.startswith(b'{"model": "m",')
    sent = json.loads(outgoing.body)
    assert sent == outgoing.sent
    assert (sent["model"], sent["owner"], sent["lora_path"], sent["cache_salt"]) == (
        "base",
        "town/Ann",
        "pirate",
        "s",
    )
    assert outgoing.adapter == "pirate"
    assert outgoing.abort_id == sent["rid"]


class AskedByModel(FakeAdapter):
    """An engine that is asked for an adapter in place of the model."""

    def additions(
        self,
        path: str,
        body: Mapping[str, object],
        owner: Owner | None,
        request_id: str,
        adapter: AdapterName | None = None,
    ) -> Mapping[str, object]:
        return {"model": adapter} if adapter is not None and body["model"] == "base" else {}


def test_an_adapter_that_is_asked_for_in_place_of_the_model_is_not_put_back_by_an_alias() -> None:
    said = ANN._replace(assigned=AdapterName("pirate"), model="base")
    assert json.loads(written(said, to=AskedByModel()).body)["model"] == "pirate"
    assert json.loads(written(said._replace(assigned=None), to=AskedByModel()).body)["model"] == "base"


@pytest.mark.parametrize("rid", ['"mine"', '["one", "each"]'])
def test_an_id_of_the_client_stays(rid: str) -> None:
    outgoing = written(body=b'{"rid": %s}' % rid.encode())
    assert json.loads(outgoing.body)["rid"] == json.loads(rid)
    assert outgoing.abort_id == ("mine" if "mine" in rid else None)


def test_each_time_that_it_is_written_it_has_another_id() -> None:
    assert written().abort_id != written().abort_id

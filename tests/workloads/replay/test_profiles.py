from __future__ import annotations

import re
from dataclasses import fields

import pytest

from scalesim.workloads.program import Impossible
from scalesim.workloads.replay import profiles
from scalesim.workloads.replay.profiles import Gpu
from scalesim.workloads.servers import ROOT

GOOD = """
name = "toy"
memory_bytes = 80e9
memory_bytes_per_s = 3e12
flops = 9e14
link_bytes_per_s = 64e9
peer_bytes_per_s = 4e11
"""


@pytest.mark.parametrize("name", profiles.names("gpu"))
def test_every_machine_can_be_read(name: str) -> None:
    assert profiles.gpu(name).memory_bytes > 1e9


@pytest.mark.parametrize("name", profiles.names("model"))
def test_the_weights_of_every_model_are_its_parameters(name: str) -> None:
    model = profiles.model(name)
    assert model.weight_bytes == pytest.approx(model.parameters * model.bytes_per_value, rel=0.01)


def test_there_is_what_docs_promise() -> None:
    assert profiles.names("gpu") == ["a100", "a10g", "h100", "h200", "l40s"]
    assert profiles.names("model") == ["llama-3.1-8b", "qwen2.5-32b", "qwen2.5-7b"]
    assert profiles.server().chunk_tokens == 8192


def test_sizes_are_those_that_are_published() -> None:
    assert profiles.model("qwen2.5-7b").bytes_per_token == 57_344
    assert profiles.model("qwen2.5-32b").bytes_per_token == 262_144
    assert profiles.model("llama-3.1-8b").bytes_per_token == 131_072
    assert profiles.model("qwen2.5-7b").adapter_bytes(64) == pytest.approx(323e6, rel=0.001)
    assert profiles.model("qwen2.5-32b").adapter_bytes(64) == pytest.approx(1.07e9, rel=0.01)


def test_who_is_not_there_is_named_with_those_who_are() -> None:
    with pytest.raises(Impossible, match=r"no gpu 'h1000'; there is a100, a10g, h100"):
        profiles.gpu("h1000")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("80e9", "80"), r"memory_bytes is 80, and has to be from 1e\+08"),  # it was meant in GB
        (("80e9", "-80e9"), "memory_bytes is -80000000000.0, and has to be above 0"),
        (("9e14", "0"), "flops is 0, and has to be above 0"),
        (("9e14", "nan"), "flops is nan, and has to be a number"),
        (("9e14", "true"), "flops is True, and has to be a number"),
        (("9e14", "'fast'"), "flops is 'fast', and has to be a number"),
        (("flops", "flop"), "has flop, which nobody knows"),
        (("flops = 9e14", ""), "lacks flops"),
        (('"toy"', '""'), "name is '', and has to be a name"),
        (("80e9", "80 GB"), "toy.toml:"),
    ],
)
def test_what_cannot_be_is_refused_with_the_file_and_the_figure(change: tuple[str, str], says: str) -> None:
    with pytest.raises(Impossible, match=says):
        profiles.parsed(Gpu, GOOD.replace(*change), "toy.toml")


def test_a_share_is_at_most_one_and_a_count_is_whole() -> None:
    server = (ROOT / "workloads/replay/profiles/engine-sglang.toml").read_text()
    with pytest.raises(Impossible, match=r"compute_share is 1.5, and has to be at most 1"):
        profiles.parsed(profiles.Server, server.replace("compute_share = 0.5", "compute_share = 1.5"), "x")
    with pytest.raises(Impossible, match=r"max_running is 2.5, and has to be a whole number"):
        profiles.parsed(profiles.Server, server.replace("max_running = 256", "max_running = 2.5"), "x")


FILES = {Gpu: "gpu-h100", profiles.Model: "model-qwen2.5-7b", profiles.Server: "engine-sglang"}
FIGURES = [(kind, one.name) for kind in FILES for one in fields(kind) if one.name != "name"]


@pytest.mark.parametrize(("kind", "figure"), FIGURES, ids=lambda one: getattr(one, "__name__", one))
@pytest.mark.parametrize("value", ["-1", "inf", "nan", "1e40", "'many'", "true"])
def test_no_figure_of_any_profile_can_be_what_it_cannot(kind: type[Gpu], figure: str, value: str) -> None:
    text = (ROOT / f"workloads/replay/profiles/{FILES[kind]}.toml").read_text()
    assert profiles.parsed(kind, text, "x").name
    changed = re.sub(rf"^{figure} = [^#]*", f"{figure} = {value} ", text, flags=re.MULTILINE)
    assert changed != text
    with pytest.raises(Impossible, match=f"x: {figure} is "):
        profiles.parsed(kind, changed, "x")


@pytest.mark.parametrize(
    ("figure", "value", "says"),
    [
        ("kv_heads", "5", "kv_heads is 5, and has to divide heads, 28"),
        ("weight_bytes", "15.2e6", r"weight_bytes is 1.52e\+07, 0.002 for each of the parameters"),
        ("bytes_per_value", "16", "bytes_per_value is 16, and has to be from 1 to 8"),  # bits
    ],
)
def test_a_model_whose_figures_do_not_fit_each_other_is_refused(figure: str, value: str, says: str) -> None:
    text = (ROOT / "workloads/replay/profiles/model-qwen2.5-7b.toml").read_text()
    changed = re.sub(rf"^{figure} = [^#]*", f"{figure} = {value} ", text, flags=re.MULTILINE)
    with pytest.raises(Impossible, match=says):
        profiles.parsed(profiles.Model, changed, "x")

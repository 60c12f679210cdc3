"""What can be said of deploy/kubernetes without a cluster: what kustomize makes of each overlay is valid by the schemas of Kubernetes,
its parts find each other, and everything is as confined as in compose.yaml. It was never applied to a cluster by us."""

from __future__ import annotations

import copy
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has none
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are another package, for two calls

from .stack import ROOT, printed_commands

OVERLAYS = ROOT / "deploy" / "kubernetes" / "overlays"
# The oldest and the newest release that is looked at. Kubernetes itself looks after three releases at a time.
RELEASES = ("1.30", "1.34")
# No part of Kubernetes, so that there is no schema of it: looked at by hand, below.
FOREIGN = {"ServiceMonitor"}

each_overlay = pytest.mark.parametrize("overlay", ["cpu", "gpu", "gpu-monitored"])
pytestmark = pytest.mark.slow

Resource = Mapping[str, Any]


@functools.cache
def built(overlay: str) -> tuple[Resource, ...]:
    """What would be applied. By kustomize, or by the one in kubectl, which speaks to nobody for that."""
    kustomize, kubectl = shutil.which("kustomize"), shutil.which("kubectl")
    if kustomize is not None:
        command = [kustomize, "build"]
    elif kubectl is not None:
        command = [kubectl, "kustomize"]
    else:
        pytest.skip("needs kustomize or kubectl")
    done = subprocess.run(
        [*command, OVERLAYS / overlay],
        capture_output=True,
        text=True,
        env={**os.environ, "KUBECONFIG": os.devnull},
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # it warns of what is deprecated
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(resources: tuple[Resource, ...], *kinds: str) -> dict[str, Any]:
    return {one["metadata"]["name"]: one for one in resources if one["kind"] in kinds}


def workloads(overlay: str) -> dict[str, Any]:
    return of_kind(built(overlay), "Deployment", "StatefulSet")


def pods(overlay: str) -> Iterator[tuple[str, Any, Any]]:
    """The name, the pod and its only container."""
    for name, workload in workloads(overlay).items():
        pod = workload["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        yield name, pod, container


@each_overlay
@pytest.mark.parametrize("release", RELEASES)
def test_everything_is_valid_by_the_schemas_of_kubernetes(overlay: str, release: str) -> None:
    for resource in built(overlay):
        if resource["kind"] not in FOREIGN:
            kubernetes_validate.validate(resource, release, strict=True)


@pytest.mark.parametrize(
    ("kind", "path", "wrong"),
    [
        ("Deployment", ("spec", "template", "spec", "containers", 0, "livenesProbe"), {}),
        ("Deployment", ("spec", "replicas"), "two"),
        ("NetworkPolicy", ("spec", "podSelector"), "proxy"),
        ("PodDisruptionBudget", ("spec", "minAvailable"), [1]),
    ],
)
def test_what_is_wrong_would_be_found(kind: str, path: tuple[str | int, ...], wrong: object) -> None:
    resource = copy.deepcopy(next(one for one in built("cpu") if one["kind"] == kind))
    place: Any = resource
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = wrong
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(resource, RELEASES[0], strict=True)


@each_overlay
def test_everything_is_in_its_namespace_which_lets_nothing_in_that_is_not_confined(overlay: str) -> None:
    resources = built(overlay)
    (namespace,) = of_kind(resources, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = [one for one in resources if one["kind"] != "Namespace"]
    assert {one["metadata"]["namespace"] for one in others} == {namespace["metadata"]["name"]}


@each_overlay
def test_no_pod_runs_as_root_or_may_become_anything_or_talks_to_the_cluster(overlay: str) -> None:
    for name, pod, container in pods(overlay):
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] == 10001, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name


@each_overlay
def test_every_pod_has_limits_and_is_looked_after(overlay: str) -> None:
    for name, pod, container in pods(overlay):
        assert {"cpu", "memory"} <= set(container["resources"]["limits"]), name
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
        assert "livenessProbe" in container, name
        assert all("sizeLimit" in volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume), (
            name
        )


@each_overlay
def test_ports_and_volumes_that_are_named_are_there(overlay: str) -> None:
    resources = built(overlay)
    settings = set(of_kind(resources, "ConfigMap"))
    for name, pod, container in pods(overlay):
        ports = {port["name"] for port in container["ports"]}
        probes = [
            container[probe]
            for probe in ("startupProbe", "livenessProbe", "readinessProbe")
            if probe in container
        ]
        used = {probe[way]["port"] for probe in probes for way in ("httpGet", "tcpSocket") if way in probe}
        assert used <= ports, name
        claims = workloads(overlay)[name]["spec"].get("volumeClaimTemplates", [])
        volumes = {volume["name"] for volume in [*pod["volumes"], *(claim["metadata"] for claim in claims)]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes, name
        referenced = {one["configMapRef"]["name"] for one in container.get("envFrom", [])}
        referenced |= {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
        assert referenced <= settings, name
    for name, service in of_kind(resources, "Service").items():
        label = service["spec"]["selector"]["app.kubernetes.io/name"]
        (port,) = service["spec"]["ports"]
        (container,) = workloads(overlay)[label]["spec"]["template"]["spec"]["containers"]
        assert {"name": port["targetPort"], "containerPort": port["port"]} in container["ports"], name


@each_overlay
def test_labels_that_are_selected_are_those_of_pods(overlay: str) -> None:
    known = {}
    for name, workload in workloads(overlay).items():
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
        known[name] = labels["app.kubernetes.io/name"]
    assert known == {"proxy": "proxy", "redis": "redis", "engine": "engine"}
    for policy in of_kind(built(overlay), "NetworkPolicy").values():
        chosen = policy["spec"]["podSelector"].get("matchLabels", {}).get("app.kubernetes.io/name")
        assert chosen in {None, *known.values()}
    (budget,) = of_kind(built(overlay), "PodDisruptionBudget").values()
    assert budget["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": "proxy"}


@each_overlay
def test_the_proxies_are_told_of_each_engine_by_its_own_name(overlay: str) -> None:
    engine = workloads(overlay)["engine"]
    (settings,) = [
        one for name, one in of_kind(built(overlay), "ConfigMap").items() if name.startswith("proxy-")
    ]
    names = [f"engine-{number}" for number in range(engine["spec"]["replicas"])]
    assert settings["data"]["SCALESIM_ENGINES"] == ",".join(
        f"{name}=http://{name}.engine:30000" for name in names
    )
    assert engine["spec"]["serviceName"] == "engine"
    assert of_kind(built(overlay), "Service")["engine"]["spec"]["clusterIP"] == "None"


@each_overlay
def test_a_proxy_that_ends_is_given_the_time_to(overlay: str) -> None:
    proxy = workloads(overlay)["proxy"]["spec"]
    pod = proxy["template"]["spec"]
    (container,) = pod["containers"]
    wait = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    drain_s = 20  # the setting's default
    assert pod["terminationGracePeriodSeconds"] >= wait + drain_s + 10
    ready = container["readinessProbe"]
    assert wait > ready["periodSeconds"] * ready["failureThreshold"]
    assert ready["httpGet"] == {"path": "/readyz", "port": "admin"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "admin"}
    assert proxy["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert proxy["replicas"] == 2


@each_overlay
def test_the_admin_port_is_for_the_namespace_alone_and_engines_and_redis_for_proxies(overlay: str) -> None:
    policies = of_kind(built(overlay), "NetworkPolicy")
    assert policies["nothing-else"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    to_admin = [
        rule["from"]
        for policy in policies.values()
        for rule in policy["spec"].get("ingress", [])
        if {"port": "admin"} in rule["ports"]
    ]
    of_prometheus = [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
        }
    ]
    assert [{"podSelector": {}}] in to_admin
    to_admin.remove([{"podSelector": {}}])
    assert to_admin == ([of_prometheus] if overlay == "gpu-monitored" else [])
    of_proxies = [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "proxy"}}}]
    for name in ("engine", "redis"):
        (rule,) = policies[name]["spec"]["ingress"]
        assert rule["from"] == of_proxies
    services = of_kind(built(overlay), "Service")
    assert {service["spec"].get("type", "ClusterIP") for service in services.values()} == {"ClusterIP"}
    assert [port["port"] for port in services["proxy"]["spec"]["ports"]] == [8000]


@each_overlay
def test_secrets_are_referenced_and_hold_what_the_script_makes(overlay: str, tmp_path: Path) -> None:
    resources = built(overlay)
    assert not of_kind(resources, "Secret")
    subprocess.run([ROOT / "deploy" / "secrets.sh", tmp_path / "secrets"], check=True, capture_output=True)
    made = {path.name for path in (tmp_path / "secrets").iterdir()}
    used: set[str] = set()
    for name, pod, container in pods(overlay):
        told = " ".join(one.get("value", "") for one in container.get("env", []))
        mounted = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
        assert mounted == ({f"scalesim-{name}"} if name != "engine" else set())
        used |= {path for path in made if f"/run/secrets/{path}" in told}
    assert used == {"proxy.toml", "redis_password"}


def test_the_operator_of_prometheus_is_told_where_to_look() -> None:
    monitor = of_kind(built("gpu-monitored"), "ServiceMonitor")["proxy"]
    service = of_kind(built("gpu-monitored"), "Service")["proxy-admin"]
    spec = monitor["spec"]
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = spec["endpoints"]
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]
    assert endpoint["authorization"]["credentials"] == {"name": "scalesim-admin", "key": "admin_key"}
    # By which the alerts know it.
    assert service["metadata"]["labels"][spec["jobLabel"]] == "scalesim"


def test_the_command_of_the_page_is_what_is_looked_at_here() -> None:
    commands = [command for command in printed_commands() if command.startswith("kubectl ")]
    assert commands == [f"kubectl kustomize {(OVERLAYS / 'cpu').relative_to(ROOT)}"]


def test_images_are_those_of_compose() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    defaults = {
        name: service["image"].split(":-")[1].rstrip("}").removeprefix("localhost/")
        for name, service in compose.items()
    }
    found = {name: container["image"] for name, _, container in pods("cpu")}
    assert found == {name: defaults[name] for name in ("proxy", "redis", "engine")}
    assert (
        workloads("gpu")["engine"]["spec"]["template"]["spec"]["containers"][0]["image"]
        == defaults["engine-gpu"]
    )

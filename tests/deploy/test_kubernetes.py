"""What kustomize makes of deploy/kubernetes fits the schemas, the code and our own rules."""

# Neither says much of its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject

from shared.settings import Settings
from tests.deploy.compose import DRAIN_SECONDS, GRACE_SECONDS, SETTLE_SECONDS
from tests.fixtures.processes import ROOT

FOLDER = ROOT / "deploy/kubernetes"
KUBECTL = Path(sys.executable).with_name("kubectl")
SCHEMAS = [("plain", "1.37"), ("full", "1.37"), ("full", "1.31")]
PODS = ("Deployment", "Job")
CUSTOM = ("ScaledObject",)
Object = dict[str, Any]


@cache
def built(overlay: str) -> tuple[Object, ...]:
    command = [str(KUBECTL), "kustomize", str(FOLDER / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(overlay: str, *kinds: str) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in built(overlay) if one["kind"] in kinds}


def pod_of(name: str) -> Object:
    found: Object = of_kind("plain", *PODS)[name]["spec"]["template"]
    return found


def container_of(name: str) -> Object:
    (found,) = pod_of(name)["spec"]["containers"]
    return found


@pytest.mark.parametrize(("overlay", "version"), SCHEMAS)
def test_every_object_fits_its_schema(overlay: str, version: str) -> None:
    ours = [one for one in built(overlay) if one["kind"] not in CUSTOM]
    assert len(ours) >= 10
    for one in ours:
        kubernetes_validate.validate(one, version, strict=True)


def test_what_keda_reads_fits_its_schema() -> None:
    """What the model doesn't know would be missing from what it says again."""
    (written,) = of_kind("full", "ScaledObject").values()
    read = ScaledObject.model_validate(written)
    assert read.model_dump(by_alias=True, exclude_unset=True, mode="json") == written


def test_the_plain_overlay_needs_nothing_that_a_cluster_may_lack() -> None:
    groups = {one["apiVersion"].partition("/")[0] for one in built("plain")}
    assert groups == {"v1", "apps", "batch", "policy", "networking.k8s.io"}


@pytest.mark.parametrize("name", ["parley-api", "parley-worker", "parley-migrate"])
def test_a_pod_has_no_rights_that_it_does_not_need(name: str) -> None:
    pod, container = pod_of(name)["spec"], container_of(name)
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert container["resources"].keys() == {"requests", "limits"}


@pytest.mark.parametrize("name", ["parley-api", "parley-worker", "parley-migrate"])
def test_it_runs_a_command_of_ours_with_settings_of_ours(name: str) -> None:
    container = container_of(name)
    known = {field.upper() for field in Settings.model_fields}
    assert {variable["name"] for variable in container["env"]} <= known
    assert container["args"] == [name.removeprefix("parley-")]
    (config,) = of_kind("plain", "ConfigMap").values()
    assert set(config["data"]) <= known


def test_a_process_is_given_the_time_that_it_takes() -> None:
    api, worker = (pod_of(f"parley-{name}")["spec"] for name in ("api", "worker"))
    (command, seconds) = container_of("parley-api")["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert api["terminationGracePeriodSeconds"] > float(seconds) + GRACE_SECONDS
    assert worker["terminationGracePeriodSeconds"] > DRAIN_SECONDS + SETTLE_SECONDS


def test_an_api_is_let_in_when_it_is_ready_and_stays_while_it_lives() -> None:
    container = container_of("parley-api")
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in PROBES}
    assert paths == {"startup": "/health/ready", "readiness": "/health", "liveness": "/health"}


def test_a_worker_that_is_stuck_is_started_anew() -> None:
    container = container_of("parley-worker")
    assert container["livenessProbe"]["httpGet"] == {"path": "/health", "port": "metrics"}
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert variables["PARLEY_METRICS_HOST"] == "0.0.0.0"
    assert container["ports"] == [
        {"name": "metrics", "containerPort": int(variables["PARLEY_METRICS_PORT"])}
    ]


PROBES = ("startup", "readiness", "liveness")


def test_whatever_selects_pods_finds_them() -> None:
    labels = [pod_of(name)["metadata"]["labels"] for name in of_kind("plain", *PODS)]
    deployments = of_kind("plain", "Deployment").values()
    selectors = [one["spec"]["selector"]["matchLabels"] for one in deployments]
    selectors += [one["spec"]["selector"] for one in of_kind("plain", "Service").values()]
    budgets = of_kind("plain", "PodDisruptionBudget").values()
    selectors += [one["spec"]["selector"]["matchLabels"] for one in budgets]
    policies = of_kind("plain", "NetworkPolicy").values()
    selectors += [one["spec"]["podSelector"]["matchLabels"] for one in policies]
    assert len(selectors) == 8
    assert all(any(wanted.items() <= of.items() for of in labels) for wanted in selectors)


def test_nobody_reaches_a_worker_but_who_collects_its_figures() -> None:
    policies = {name: one["spec"] for name, one in of_kind("plain", "NetworkPolicy").items()}
    assert policies.keys() == of_kind("plain", *PODS).keys()
    assert all(one["policyTypes"] == ["Ingress", "Egress"] for one in policies.values())
    (worker,) = policies["parley-worker"]["ingress"]
    assert worker["ports"] == [{"port": "metrics"}]
    assert "ingress" not in policies["parley-migrate"]


def test_who_scales_is_not_set_back_by_an_apply() -> None:
    assert all(one["spec"]["replicas"] == 2 for one in of_kind("plain", "Deployment").values())
    full = of_kind("full", "Deployment")
    assert not [name for name, one in full.items() if "replicas" in one["spec"]]
    scalers = of_kind("full", "HorizontalPodAutoscaler", "ScaledObject").values()
    assert {one["spec"]["scaleTargetRef"]["name"] for one in scalers} == full.keys()


def test_figures_are_not_shown_to_the_outside() -> None:
    (ingress,) = of_kind("full", "Ingress").values()
    (rule,) = ingress["spec"]["rules"]
    backends = {one["path"]: one["backend"]["service"]["name"] for one in rule["http"]["paths"]}
    assert backends == {"/": "parley-api", "/metrics": "parley-nothing"}
    assert "selector" not in of_kind("full", "Service")["parley-nothing"]["spec"]

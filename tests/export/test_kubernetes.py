"""Objects for Kubernetes: valid by its schemas and the operator's, and right together."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from dashboards.boards.registry import BOARDS
from export.files import MADE_BY
from export.kubernetes import versions
from service.db.connection_limit import BESIDE_POOL
from service.settings import Settings
from stack.install import debian_suites
from tests.export.test_export import BOARD, IDENTITY, ROOT, export, run

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
KUBERNETES = json.loads((HERE / "kubernetes.schema.json").read_text())
OPERATOR = json.loads((HERE / "operator.schema.json").read_text())
BASES = ("", "api", "pair", "plain")
WORKLOADS = {"Deployment", "StatefulSet"}
BY_DEFAULT = 97
"""Connections that PostgreSQL allows to others than superusers."""

Object = dict[str, Any]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an export."""
    folder = tmp_path_factory.mktemp("kubernetes")
    export("kubernetes", folder, *IDENTITY, "--object-label", "release=prometheus")
    return folder


def read(path: Path) -> Object:
    """One file."""
    found: Object = yaml.load(path.read_text(), yaml.CSafeLoader)
    return found


def base(folder: Path) -> list[Object]:
    """The objects that a folder's kustomization lists, those of its bases included."""
    found: list[Object] = []
    for name in read(folder / "kustomization.yaml")["resources"]:
        path = folder / name
        found += base(path) if path.is_dir() else [read(path)]
    return found


def validate(found: Object) -> None:
    """Refuse an object that its API would refuse, or fields that it would ignore."""
    if found["apiVersion"].startswith("monitoring.coreos.com/"):
        jsonschema.Draft7Validator(OPERATOR[found["kind"]]).validate(found)
    else:
        schema = KUBERNETES[found["kind"]] | {"$defs": KUBERNETES["$defs"]}
        jsonschema.Draft7Validator(schema).validate(found)


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """The objects of some kinds."""
    return [each for each in objects if each["kind"] in kinds]


def pods(objects: list[Object]) -> list[Object]:
    """The pods of all workloads."""
    return [each["spec"]["template"] for each in of_kind(objects, *WORKLOADS)]


def test_all_objects_are_valid_and_in_a_base(exported: Path) -> None:
    files = {
        path.relative_to(exported): read(path)
        for path in exported.rglob("*.yaml")
        if path.name not in {"kustomization.yaml", "adapter-values.yaml"}
    }
    for path, found in files.items():
        validate(found)
        assert found["metadata"]["labels"]["release"] == "prometheus", path
        assert found["metadata"]["annotations"]["vitals/made-by"] == MADE_BY, path
        assert len((exported / path).read_bytes()) < 1_000_000, "etcd refuses more"
        if found["metadata"]["labels"].get("grafana_dashboard"):
            [text] = found["data"].values()
            BOARD.validate(json.loads(text))
    kinds = Counter(found["kind"] for found in files.values())
    assert kinds["PrometheusRule"] == len({*Path(ROOT / "prometheus/rules").glob("*.yml")})
    assert kinds["AlertmanagerConfig"] == kinds["HorizontalPodAutoscaler"] == 1

    listed = [found for name in BASES for found in base(exported / name)]
    # It is applied where the service is.
    listed.append(read(exported / "servicemonitor.yaml"))
    for found in files.values():
        assert found in listed, found["metadata"]["name"]
    for name in BASES:
        named = [(each["kind"], each["metadata"]["name"]) for each in base(exported / name)]
        assert len(named) == len({*named})
    boards = [each for each in base(exported / "plain") if "grafana_dashboard" in str(each)]
    assert len(boards) == len(BOARDS)


@pytest.mark.parametrize(
    ("found", "misspelled"),
    [
        (
            {
                "apiVersion": "monitoring.coreos.com/v1",
                "kind": "PrometheusRule",
                "metadata": {"name": "a"},
                "spec": {"groups": [{"name": "a", "rules": [{"alert": "A", "forr": "5m"}]}]},
            },
            "forr",
        ),
        (
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": {"name": "a"},
                "spec": {"maxUnavailabel": 1},
            },
            "maxUnavailabel",
        ),
    ],
)
def test_the_schemas_refuse_what_they_do_not_know(found: Object, misspelled: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match=misspelled):
        validate(found)


@pytest.mark.parametrize("name", ["api", "plain"])
def test_pods_are_confined_probed_and_bounded(exported: Path, name: str) -> None:
    found = pods(base(exported / name))
    assert found
    for pod in found:
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            confined = container["securityContext"]
            assert confined["readOnlyRootFilesystem"]
            assert not confined["allowPrivilegeEscalation"]
            assert confined["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            own = {port["name"] for port in container["ports"]}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                assert container[probe]["httpGet"]["port"] in own
            volumes = {each["name"] for each in spec.get("volumes", ())} | {"data"}
            assert {each["name"] for each in container["volumeMounts"]} <= volumes


@pytest.mark.parametrize("name", ["api", "plain"])
def test_objects_name_each_other(exported: Path, name: str) -> None:
    objects = base(exported / name)
    labels: list[dict[str, str]] = [pod["metadata"]["labels"] for pod in pods(objects)]

    def selects_one(selector: dict[str, str]) -> bool:
        return sum(selector.items() <= each.items() for each in labels) == 1

    for found in of_kind(objects, "Service"):
        assert selects_one(found["spec"]["selector"])
    for found in of_kind(objects, "PodDisruptionBudget", *WORKLOADS):
        assert selects_one(found["spec"]["selector"]["matchLabels"])
    policies = of_kind(objects, "NetworkPolicy")
    assert len(policies) == len(labels), "each has one"
    for found in policies:
        assert selects_one(found["spec"]["podSelector"]["matchLabels"])
    for found in of_kind(objects, "HorizontalPodAutoscaler"):
        target = found["spec"]["scaleTargetRef"]
        [scaled] = of_kind(objects, target["kind"])
        assert target["name"] == scaled["metadata"]["name"]
        assert "replicas" not in scaled["spec"], "each apply would reset it"

    made = {each["metadata"]["name"] for each in of_kind(objects, "ConfigMap")}
    guide = (exported / "README.md").read_text()
    accounts = {each["metadata"]["name"] for each in of_kind(objects, "ServiceAccount")}
    for pod in pods(objects):
        assert pod["spec"].get("serviceAccountName", "prometheus") in accounts
        for kind, reference in _references(pod):
            if kind == "configMap":
                assert reference in made
            else:
                assert f"generic {reference} " in guide, "the guide says how to make it"


def _references(node: Any, kind: str = "") -> list[tuple[str, str]]:
    """The ConfigMaps and Secrets that a pod names."""
    if isinstance(node, list):
        return [found for each in node for found in _references(each, kind)]
    if not isinstance(node, dict):
        return []
    found = []
    for key, value in node.items():
        if key in {"configMap", "configMapRef", "secret"}:
            name = value.get("name") or value["secretName"]
            found.append(("secret" if key == "secret" else "configMap", name))
        found += _references(value)
    return found


def test_the_apis_settings_are_valid_and_fit_postgresql(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = base(exported / "api")
    [given] = of_kind(objects, "ConfigMap")
    for name, text in given["data"].items():
        if name.endswith("_FILE"):
            file = tmp_path / name
            file.write_text("only-for-this-test-0123456789-abcdefghijkl")
            text = str(file)  # noqa: PLW2901 - the pod mounts it elsewhere
        monkeypatch.setenv(name, text)
    settings = Settings()
    [scaling] = of_kind(objects, "HorizontalPodAutoscaler")
    [deployment] = of_kind(objects, "Deployment")
    surge = deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    assert settings.instances == scaling["spec"]["maxReplicas"] + surge
    of_process = settings.pool_size + settings.pool_overflow + BESIDE_POOL
    assert settings.instances * settings.workers * of_process <= BY_DEFAULT

    spec = deployment["spec"]["template"]["spec"]
    [container] = spec["containers"]
    waits = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    waits += settings.shutdown_delay + settings.shutdown_timeout
    assert waits < spec["terminationGracePeriodSeconds"]
    [projected] = [each["projected"] for each in spec["volumes"] if "projected" in each]
    files = {item["path"] for each in projected["sources"] for item in each["secret"]["items"]}
    [mount] = [each for each in container["volumeMounts"] if each["name"] == "secrets"]
    named = {text for name, text in given["data"].items() if name.endswith("_FILE")}
    assert named == {f"{mount['mountPath']}/{file}" for file in files}


def test_the_autoscaler_reads_what_the_adapter_offers(exported: Path) -> None:
    [scaling] = of_kind(base(exported / "api"), "HorizontalPodAutoscaler")
    [metric] = scaling["spec"]["metrics"]
    [rule] = read(exported / "adapter-values.yaml")["rules"]["custom"]
    assert rule["name"]["as"] == metric["pods"]["metric"]["name"]


def test_prometheus_and_alertmanager_read_the_configuration_without_the_operator(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = debian_suites.fetch(debian_suites.NEWER[-1])
    monkeypatch.setenv("PATH", str(newest), prepend=":")
    objects = base(exported / "plain")
    for found in of_kind(objects, "ConfigMap"):
        for name, text in found["data"].items():
            rules = found["metadata"]["name"].startswith("vitals-rules-")
            place = tmp_path / "rules" / name if rules else tmp_path / name
            place.parent.mkdir(exist_ok=True)
            place.write_text(text.replace("/etc/vitals", str(tmp_path)))
    (tmp_path / "token").mkdir()
    (tmp_path / "token" / "token").write_text("made-up")
    said = run("promtool", "check", "config", tmp_path / "prometheus.yml")
    files = len({*(ROOT / "prometheus/rules").glob("*.yml")})
    assert f"SUCCESS: {files} rule files found" in said
    run("amtool", "check-config", tmp_path / "alertmanager.yml")

    config = read(tmp_path / "prometheus.yml")
    # What tells the two apart is in no alert, and each sends to both.
    [replica] = {*config["global"]["external_labels"]} - {"cluster"}
    [dropped] = config["alerting"]["alert_relabel_configs"]
    assert (dropped["action"], dropped["regex"]) == ("labeldrop", replica)
    [peers] = config["alerting"]["alertmanagers"]
    [both] = peers["static_configs"]
    names = [f"alertmanager-{number}.alertmanager" for number in range(2)]
    assert both["targets"] == [f"{name}:9093" for name in names]
    [pod] = [pod for pod in pods(objects) if "alertmanager" in pod["metadata"]["labels"].values()]
    for name in names:
        assert f"--cluster.peer={name}:9094" in pod["spec"]["containers"][0]["args"]


def test_versions_are_those_of_compose() -> None:
    compose = (ROOT / "compose.yaml").read_text()
    assert f"image: prom/prometheus:{versions.PROMETHEUS}\n" in compose
    assert f"image: prom/alertmanager:{versions.ALERTMANAGER}\n" in compose

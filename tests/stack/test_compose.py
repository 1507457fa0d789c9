"""compose.yaml: images pinned, ports private, resources limited, no secrets."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack import secret_distribution
from stack.door.settings import VARIABLES, DoorSettingsError
from stack.install import debian_suites, images
from stack.installation.paths import CHECKOUT
from stack.installation.secrets import NAMES
from tests import servers

COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PUBLISHED = {
    *("api", "door", "gate", "gate-2", "grafana", "inbox", "issues"),
    *("prometheus", "prometheus-2", "prometheus-watch"),
}


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SERVICES[str(request.param)] | {"name": request.param}


def test_images_are_pinned(service: dict[str, Any]) -> None:
    image, _, digest = service["image"].partition("@")
    assert re.search(r":v?\d+\.\d+(\.\d+)?(-bookworm)?$|^postgres:18-bookworm$", image)
    assert re.fullmatch(r"(sha256:[0-9a-f]{64})?", digest)


def test_every_third_party_image_can_be_pinned_by_digest() -> None:
    requested: list[str] = []

    def digest_of(image: str) -> str:
        requested.append(image)
        return f"sha256:{len(requested):064x}"

    for name in images.FILES:
        text = (CHECKOUT / name).read_text()
        once = images.pin(text, digest_of)
        assert once.count("@sha256:") == len(requested)
        assert re.sub("@sha256:[0-9a-f]{64}", "", once) == re.sub("@sha256:[0-9a-f]{64}", "", text)
        before = len(requested)
        assert images.pin(once, lambda _: f"sha256:{0:064x}").count("@sha256:") == before
        requested.clear()
    for line in ("    image: vitals-api:0.1.0\n", "FROM base AS tools\n"):
        assert images.pin(line, digest_of) == line
    with pytest.raises(images.UnknownImageError, match="not a digest"):
        images.pin("FROM python:3.13-slim AS base", lambda _: "latest")


def test_without_docker_nothing_is_pinned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    before = [(CHECKOUT / name).read_text() for name in images.FILES]
    assert images.main() == 1
    assert "Docker cannot be run" in capsys.readouterr().err
    assert [(CHECKOUT / name).read_text() for name in images.FILES] == before


def test_containers_have_minimal_privileges(service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert "privileged" not in service
    assert not any("docker.sock" in volume for volume in service.get("volumes", []))


def test_only_the_secret_distribution_runs_as_root(service: dict[str, Any]) -> None:
    uid = service["user"].partition(":")[0]
    if service["name"] == "setup":
        assert service["network_mode"] == "none"
        assert set(service["cap_add"]) == {"CHOWN", "FOWNER", "DAC_OVERRIDE"}
    else:
        assert int(uid) > 0
        # Caddy's image gives it to the program, which does not start where no program may have it.
        assert service.get("cap_add", []) == ["NET_BIND_SERVICE"] * (service["name"] == "door")


def test_each_container_has_resource_limits(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["cpus"] <= 2
    assert service["logging"]["options"]["max-size"]


def test_ports_are_published_on_loopback_and_not_for_databases(service: dict[str, Any]) -> None:
    ports = service.get("ports", [])
    if service["name"] != "door":
        assert all(port.startswith("127.0.0.1:") for port in ports)
    assert bool(ports) == (service["name"] in PUBLISHED)


def test_each_service_has_a_health_check_that_dependents_wait_for(service: dict[str, Any]) -> None:
    check = service["healthcheck"]
    assert check.get("test") or check == {"disable": True}
    for needed, how in service.get("depends_on", {}).items():
        unhealthy = SERVICES[needed]["healthcheck"].get("disable", False)
        once = SERVICES[needed].get("restart") is None
        assert how["condition"] == (
            "service_completed_successfully"
            if once
            else "service_started"
            if unhealthy
            else "service_healthy"
        )


def test_there_are_no_literal_secrets(service: dict[str, Any]) -> None:
    for name, value in service.get("environment", {}).items():
        if re.search(r"PASSWORD|SECRET|KEY|TOKEN", name):
            assert str(value).startswith("/run/secrets/"), name
    assert not re.search(r"://[^/@\s]+:[^/@\s]+@", yaml.safe_dump(service))


def test_each_container_sees_only_its_own_secrets() -> None:
    for name, service in SERVICES.items():
        seen = {volume.split(":")[0] for volume in service.get("volumes", []) if "for-" in volume}
        assert name == "setup" or len(seen) <= 1
        assert name == "setup" or not any(
            "secrets:" in v for v in service.get("volumes", []) if "for-" not in v
        )


def test_grafana_requires_a_login() -> None:
    settings = SERVICES["grafana"]["environment"]
    assert settings["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert settings["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert settings["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana-password"


def test_every_volume_is_declared_and_secrets_match_the_uid() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source.startswith("./") or source in COMPOSE["volumes"]
            if source.startswith("for-") and name != "setup":
                user = int(service["user"].partition(":")[0])
                assert secret_distribution.USERS[source.removeprefix("for-")] == user


def test_mounted_files_exist() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert (CHECKOUT / volume.split(":")[0]).exists(), volume


def test_the_image_contains_no_data_and_runs_without_root() -> None:
    recipe = (CHECKOUT / "Dockerfile").read_text()
    final = recipe.rpartition("\nFROM ")[2]
    assert "USER 10001:10001" in final
    assert "HEALTHCHECK" in final
    assert re.search(r'^CMD \["python"', final, re.MULTILINE)
    assert (CHECKOUT / ".dockerignore").read_text().splitlines()[1] == "*"
    assert all(":latest" not in line for line in recipe.splitlines())
    assert not any(name in recipe for name in NAMES)


def test_a_pair_differs_from_one_in_its_replica_and_in_whom_it_reaches() -> None:
    one, two = (
        yaml.safe_load((CHECKOUT / "prometheus" / name).read_text())
        for name in ("prometheus.yml", "prometheus-pair.yml")
    )
    assert two["global"].pop("external_labels") == {"replica": "${REPLICA}"}
    reached = {"alertmanager": 9093, "gate": 9093, "prometheus": 9090}
    for peers in (*two["alerting"]["alertmanagers"], *two["scrape_configs"]):
        for group in peers.get("static_configs", ()):
            host, _, port = group["targets"][0].partition(":")
            if host in reached:
                assert group["targets"] == [f"{host}:{port}", f"{host}-2:{port}"]
                group["targets"] = [f"{'localhost' if host == 'prometheus' else host}:{port}"]
    assert one == two
    replicas = [SERVICES[name]["environment"]["REPLICA"] for name in ("prometheus", "prometheus-2")]
    assert replicas == ["a", "b"]
    for name in ("prometheus", "alertmanager"):
        second = SERVICES[f"{name}-2"]
        assert second["profiles"] == ["pair"]
        assert second["command"] == SERVICES[name]["command"]
        assert {*second["volumes"]} - {*SERVICES[name]["volumes"]} == {
            f"{name}-2:/{'prometheus' if name == 'prometheus' else 'alertmanager'}"
        }


def _of(*profiles: str) -> set[str]:
    """Names of the services that profiles start."""
    return {
        name
        for name, service in SERVICES.items()
        if not service.get("profiles") or {*profiles} & {*service["profiles"]}
    }


@pytest.mark.parametrize(
    "profiles", [("api",), ("demo",), ("pair",), ("watch",), ("watch", "door"), ("pair", "door")]
)
def test_a_profile_has_all_that_its_services_need(profiles: tuple[str, ...]) -> None:
    started = _of(*profiles)
    for name in started:
        assert {*SERVICES[name].get("depends_on", ())} <= started, name
    of_api = {"api", "postgres", "postgres-reader", "redis", "redis-reader"}
    assert started & of_api == (set() if profiles[0] == "watch" else of_api)
    assert ("prometheus-watch" in started) == (profiles[0] == "watch")
    assert len({"prometheus", "prometheus-watch"} & started) == 1


@pytest.mark.slow
@pytest.mark.parametrize("profiles", [(), ("pair", "door"), ("watch", "door")])
def test_docker_compose_starts_the_same(profiles: tuple[str, ...]) -> None:
    """Without a profile it is the API's."""
    chosen = [word for name in profiles for word in ("--profile", name)]
    done = subprocess.run(
        [debian_suites.fetch_docker_compose(), *chosen, "config", "--format", "json"],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], "PUBLIC_URL": "https://watch.example.com", "HA": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    assert {*services} == _of(*(profiles or ("api",)))
    if "door" in profiles:
        assert services["setup"]["environment"]["PUBLIC_URL"] == "https://watch.example.com"
        (port,) = services["door"]["ports"]
        assert (port["published"], port["target"]) == ("443", 8443)
    if "pair" in profiles:
        assert (
            "--config.file=/etc/prometheus/prometheus-pair.yml"
            in (services["prometheus-2"]["command"])
        )


def test_the_watch_alone_differs_in_its_configuration_and_its_name() -> None:
    with_api, alone = SERVICES["prometheus"], SERVICES["prometheus-watch"]
    assert alone["command"][1:] == with_api["command"][1:]
    assert alone["networks"]["watch"]["aliases"] == ["prometheus"]
    one, two = (
        yaml.safe_load((CHECKOUT / "prometheus" / name).read_text())
        for name in ("prometheus.yml", "prometheus-watch.yml")
    )
    of_api = {"api", "postgres", "redis"}
    jobs = [job for job in one["scrape_configs"] if job["job_name"] not in of_api]
    assert two == {**one, "scrape_configs": jobs}


@pytest.fixture
def handout() -> Iterator[Path]:
    """The folder in which `setup` has its volumes."""
    folder = servers.temporary_folder()
    yield folder
    shutil.rmtree(folder)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="setup gives files to other users")


@needs_root
@pytest.mark.parametrize("pair", ["", "1"])
def test_messages_lead_through_the_door_which_caddy_takes(handout: Path, pair: str) -> None:
    public = {"PUBLIC_URL": "https://watch.example.com", "HA": pair}
    secret_distribution.distribute(handout, public)
    config = (handout / "alertmanager" / "alertmanager.yml").read_text()
    assert "url: http://gate:9093/notified" in config
    assert ("gate-2:9093" in config) == bool(pair)
    templates = "".join(p.read_text() for p in (handout / "alertmanager").rglob("*.tmpl"))
    assert "https://watch.example.com/runbooks" in templates
    assert "https://watch.example.com/silences/new/" in templates
    assert "127.0.0.1" not in templates
    caddyfile = handout / "door" / "Caddyfile"
    text = caddyfile.read_text()
    assert "https://watch.example.com:8443 {" in text
    assert ("reverse_proxy prometheus:9090 prometheus-2:9090 {" in text) == bool(pair)
    password = (handout / "all" / "door-password").read_text().strip()
    assert password not in text
    assert (caddyfile.stat().st_uid, caddyfile.stat().st_mode & 0o777) == (10001, 0o400)
    assert (handout / "door-data").stat().st_uid == secret_distribution.USERS["door"]
    if shutil.which("caddy"):
        command: list[str | Path] = [
            "caddy",
            "adapt",
            "--config",
            caddyfile,
            "--adapter",
            "caddyfile",
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@needs_root
def test_without_a_door_messages_lead_to_grafana(handout: Path) -> None:
    secret_distribution.distribute(handout, {"HA": ""})
    templates = "".join(p.read_text() for p in (handout / "alertmanager").rglob("*.tmpl"))
    assert "http://127.0.0.1:3000" in templates
    assert not (handout / "door" / "Caddyfile").exists()


@needs_root
def test_a_wrong_setting_of_the_door_stops_the_setup(handout: Path) -> None:
    with pytest.raises(DoorSettingsError, match="the login would be readable"):
        secret_distribution.distribute(
            handout, {"PUBLIC_URL": "https://watch.example.com", "PUBLIC_TLS": "off"}
        )


def test_the_setup_gets_what_the_door_reads() -> None:
    given = {*SERVICES["setup"]["environment"]}
    without_files = {name for name in VARIABLES if not name.endswith("_FILE")}
    assert without_files <= given

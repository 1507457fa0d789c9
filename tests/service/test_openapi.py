"""The service conforms to its OpenAPI document, checked by schemathesis over HTTP."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from service import health, openapi
from service.users.tables import Role
from tests.service.process import ROOT, environment, serving
from tests.service.running import Service, running, settings_for

pytestmark = pytest.mark.anyio

COMMITTED = ROOT / "docs" / "openapi.json"
REFUSED = {
    "cursor": ("400",),  # made up, in the right form
    "idempotency-key": ("409", "422"),  # the same with another body
    "if-match": ("404", "412", "428"),  # a version that was right once
}
"""How an operation may refuse a valid value of such a parameter, besides the usual statuses."""
# These revoke rights, at some point those of the test's own user; other tests cover them.
ENDS_RIGHTS = r"/(role|deactivate)$"


def configuration(document: Any) -> str:
    """Schemathesis' settings of the operations that have a parameter of ``REFUSED``."""
    lines = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            names = {parameter["name"].lower() for parameter in operation.get("parameters", ())}
            if refused := [status for name in names & REFUSED.keys() for status in REFUSED[name]]:
                lines += [
                    "[[operations]]",
                    f"include-name = {json.dumps(f'{method.upper()} {path}')}",
                    "[operations.checks.positive_data_acceptance]",
                    f"expected-statuses = {json.dumps(['2xx', '401', '403', *refused])}",
                ]
    return "\n".join(lines)


def examine(
    url: str, folder: Path, seconds: int, *options: str
) -> subprocess.CompletedProcess[str]:
    """Run schemathesis with all its checks against a service."""
    program = Path(sys.executable).with_name("schemathesis")
    limits = ["--max-examples", "8", "--max-time", str(seconds), "--seed", "7", "--no-color"]
    document = f"{url}/openapi.json"
    config = folder / "schemathesis.toml"
    config.write_text(configuration(json.loads(COMMITTED.read_text())))
    return subprocess.run(
        [program, f"--config-file={config}", "run", document, *limits, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=pytest.mark.long)])
@pytest.mark.parametrize("role", [None, Role.ADMIN])
@pytest.mark.servers
async def test_schemathesis_finds_no_defect(
    tmp_path: Path, role: Role | None, seconds: int
) -> None:
    # It exceeds the login throttle; other tests cover that.
    settings = settings_for(tmp_path, account_attempts=100_000, address_attempts=100_000)
    options = []
    async with running(settings) as prepared:
        for _ in range(3):
            await prepared.product(stock=1_000_000)
        if role is not None:
            _, headers = await prepared.user(role)
            authorization = f"Authorization: {headers['Authorization']}"
            options = ["-H", authorization, "--exclude-path-regex", ENDS_RIGHTS]
    with serving(settings) as service:
        result = examine(service.url, tmp_path, seconds, *options)
        said = service.end()
    assert result.returncode == 0, result.stdout
    assert "passed" in result.stdout
    assert "Traceback" not in said, said


async def test_the_committed_document_is_current(light: Service) -> None:
    current = openapi.render(light.app)
    assert COMMITTED.read_text() == current, "docs/openapi.json is stale: run `make render`"


@pytest.mark.slow
def test_the_command_writes_the_document_and_nothing_else(tmp_path: Path) -> None:
    variables = environment(settings_for(tmp_path, allowed_hosts="a.example", body_limit=2048))
    command = [sys.executable, "-m", "service", "openapi"]
    for options in ([], ["--output", str(tmp_path / "openapi.json")]):
        done = subprocess.run(
            [*command, *options],
            cwd=ROOT,
            env=variables,
            capture_output=True,
            text=True,
            check=True,
        )
        written = (tmp_path / "openapi.json").read_text() if options else done.stdout
        assert written == COMMITTED.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["openapi.json"]


async def test_operations_are_called_what_their_functions_are(light: Service) -> None:
    document = (await light.client.get("/openapi.json")).json()
    named = [
        (operation["operationId"], f"{method} {path}")
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    modules = [
        import_module(f"service.{path.parent.name}.endpoints")
        for path in (ROOT / "service").glob("*/endpoints.py")
    ]
    served = [
        (route.endpoint.__name__, f"{method.lower()} {prefix}{route.path}")
        for prefix, router in (("", health.router), *(("/api", each.router) for each in modules))
        for route in router.routes
        for method in route.methods
    ]
    assert sorted(named) == sorted(served)
    assert len(dict(named)) == len(named) > 0


async def test_every_operation_documents_its_errors(light: Service) -> None:
    document = (await light.client.get("/openapi.json")).json()
    responses = document["components"]["responses"]
    problems = {"$ref": "#/components/schemas/Problem"}
    assert document["components"]["schemas"]["Problem"]["required"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            errors = {
                status: responses[response["$ref"].removeprefix("#/components/responses/")]
                for status, response in operation["responses"].items()
                if status >= "4"
            }
            assert "400" in errors, where
            assert "503" in errors, where
            assert ("415" in errors) == ("requestBody" in operation), where
            assert ("401" in errors) == bool(operation["security"] or path.endswith("/login")), (
                where
            )
            for status, error in errors.items():
                content: dict[str, Any] = error["content"]["application/problem+json"]
                assert content["schema"] == problems, where
                assert content["example"]["status"] == int(status), where


async def test_every_field_has_examples(light: Service) -> None:
    document = (await light.client.get("/openapi.json")).json()
    for name, schema in document["components"]["schemas"].items():
        for field, of_field in schema.get("properties", {}).items():
            refers = "$ref" in of_field or "$ref" in of_field.get("items", {})  # to what has them
            assert of_field.get("examples") or refers, f"{name}.{field}: give it Field(examples=)"

"""The service conforms to its OpenAPI document, checked by schemathesis over HTTP."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.users.tables import Role
from tests.service.process import serving
from tests.service.running import Service, running, settings_for

pytestmark = pytest.mark.anyio

CONFIG = Path(__file__).with_name("schemathesis.toml")
# These revoke rights, at some point those of the test's own user; other tests cover them.
ENDS_RIGHTS = r"/(role|deactivate)$"


def examine(url: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run schemathesis with all its checks against a service."""
    program = Path(sys.executable).with_name("schemathesis")
    limits = ["--max-examples", "8", "--max-time", "15", "--seed", "7", "--no-color"]
    document = f"{url}/openapi.json"
    return subprocess.run(
        [program, f"--config-file={CONFIG}", "run", document, *limits, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("role", [None, Role.ADMIN])
async def test_schemathesis_finds_no_defect(tmp_path: Path, role: Role | None) -> None:
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
        result = examine(service.url, tmp_path, *options)
        said = service.end()
    assert result.returncode == 0, result.stdout
    assert "passed" in result.stdout
    assert "Traceback" not in said, said


async def test_every_operation_documents_its_errors(light: Service) -> None:
    document = (await light.client.get("/openapi.json")).json()
    problems = {"$ref": "#/components/schemas/Problem"}
    assert document["components"]["schemas"]["Problem"]["required"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            errors = {s: r for s, r in operation["responses"].items() if s >= "4"}
            assert "503" in errors, where
            assert ("415" in errors) == ("requestBody" in operation), where
            assert ("401" in errors) == ("security" in operation or path.endswith("/login")), where
            for error in errors.values():
                content: dict[str, Any] = error["content"]["application/problem+json"]
                assert content["schema"] == problems, where
                assert content["example"]["status"], where


async def test_request_bodies_have_examples(light: Service) -> None:
    document = (await light.client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    for name in ("Registration", "Login", "ProductIn", "ItemIn", "RoleChange"):
        for field, schema in schemas[name]["properties"].items():
            assert schema.get("examples"), f"{name}.{field}"

"""Public services that the kit is installed into: how to start them, and what to ask."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_KEY = "sk-0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Request:
    """A request, and how it is counted.

    Attributes:
        route: The route template; the path if empty.
        status: The status that the service responds without the kit too.
    """

    method: str
    path: str
    route: str = ""
    status: int = 200
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ForeignService:
    """A service as its package index has it.

    Attributes:
        requirement: What is installed.
        module: Source of a module with the application as ``app``.
        requests: What is asked.
        files: Further files in the working directory, by name.
        environment: Environment variables.
        database: Whether the requests send statements through SQLAlchemy.
    """

    name: str
    requirement: str
    module: str
    requests: tuple[Request, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    database: bool = False


_FLOW = {"name": "nightly"}
PREFECT = ForeignService(
    name="prefect",
    requirement="prefect==3.9.1",
    module="from prefect.server.api.server import create_app\napp = create_app()\n",
    environment={"PREFECT_HOME": "prefect", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
    requests=(
        Request("GET", "/api/version"),
        Request("POST", "/api/flows/", status=201, json=_FLOW),
        Request("POST", "/api/flows/", json=_FLOW),
        Request("POST", "/api/flows/filter", json={}),
        Request("POST", "/api/flows/filter", status=422, json={"limit": "many"}),
        Request(
            "GET",
            "/api/flows/00000000-0000-0000-0000-000000000000",
            "/api/flows/{id}",
            status=404,
        ),
    ),
    database=True,
)
LITELLM = ForeignService(
    name="litellm",
    requirement="litellm[proxy]==1.108.7",
    module="from litellm.proxy.proxy_server import app\n",
    files={
        "litellm.yaml": "model_list:\n"
        "  - model_name: echo\n"
        "    litellm_params: {model: openai/echo, api_key: none, mock_response: hello}\n"
        f"general_settings: {{master_key: {_KEY}}}\n"
    },
    environment={
        "CONFIG_FILE_PATH": "litellm.yaml",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
    },
    requests=(
        Request("GET", "/v1/models", headers={"authorization": f"Bearer {_KEY}"}),
        # A key that the proxy would look up in its database, which it has not.
        Request("GET", "/v1/models", status=500),
        Request(
            "POST",
            "/v1/chat/completions",
            headers={"authorization": f"Bearer {_KEY}"},
            json={"model": "echo", "messages": [{"role": "user", "content": "hi"}]},
        ),
    ),
)
CHAINLIT = ForeignService(
    name="chainlit",
    requirement="chainlit==2.12.0",
    module="from chainlit.utils import mount_chainlit\n"
    "from fastapi import FastAPI\n"
    "app = FastAPI()\n"
    "mount_chainlit(app, target='chat.py', path='/chat')\n",
    files={
        "chat.py": "import chainlit\n\n"
        "@chainlit.on_message\n"
        "async def reply(message):\n"
        "    await chainlit.Message('hello').send()\n"
    },
    requests=(
        Request("GET", "/chat/auth/config"),
        Request("GET", "/chat/project/translations?language=en-US", "/chat/project/translations"),
        Request("GET", "/chat/project/settings"),
    ),
)
SERVICES = {service.name: service for service in (PREFECT, LITELLM, CHAINLIT)}

"""Boards for a Grafana that is there already: as files, for its API, and as resources."""

import re

from dashboards.boards.registry import BOARDS
from dashboards.grafana import Json
from dashboards.identity import identify
from export.dashboard_resource import resource
from export.files import MADE_BY, as_json, as_yaml, guide
from export.options import Options


def boards(options: Options) -> dict[str, Json]:
    """The boards by uid, in the classic model."""
    drawn = {board.uid: identify(board.draw(), options.identity) for board in BOARDS}
    for board in drawn.values():
        for variable in board["templating"]["list"]:
            if variable["type"] == "datasource":
                uid = options.datasource
                variable["current"] = {"text": uid, "value": uid}
    return drawn


def folder_uid(options: Options) -> str:
    """The uid of the folder, from its title."""
    return re.sub(r"[^a-z0-9]+", "-", options.folder.lower()).strip("-") or "vitals"


def files(options: Options) -> dict[str, str]:
    """Contents by file name."""
    uid = folder_uid(options)
    provider = {
        "apiVersion": 1,
        "providers": [
            {
                "name": uid,
                "folder": options.folder,
                "folderUid": uid,
                "type": "file",
                "allowUiUpdates": False,
                "options": {"path": f"/etc/grafana/dashboards/{uid}"},
            }
        ],
    }
    found = {
        "README.md": guide("grafana", DATASOURCE=options.datasource, FOLDER=uid),
        f"provisioning/dashboards/{uid}.yaml": as_yaml(provider),
        "api/folder.json": as_json({"uid": uid, "title": options.folder}),
    }
    for name, board in boards(options).items():
        body = {"dashboard": board, "folderUid": uid, "overwrite": True, "message": MADE_BY}
        found[f"dashboards/{name}.json"] = as_json(board)
        found[f"api/{name}.json"] = as_json(body)
        found[f"resources/{name}.json"] = as_json(resource(board, uid))
    return found

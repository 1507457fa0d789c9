"""Objects for Kubernetes: the API, what watches it with the Prometheus operator and without."""

from export.files import guide
from export.kubernetes import api, monitoring, pair, plain
from export.kubernetes.objects import Objects
from export.options import Options


def files(
    options: Options, page: str, ticket: str, object_labels: dict[str, str]
) -> dict[str, str]:
    """Contents by file name.

    Args:
        options: Of the export.
        page: The receiver of pages, in the AlertmanagerConfig.
        ticket: The receiver of tickets.
        object_labels: Labels of each object.
    """
    objects = Objects(object_labels)
    return {
        "README.md": guide("kubernetes", NAMESPACE=options.namespace),
        **monitoring.files(objects, options, page, ticket),
        **api.files(objects, options),
        **pair.files(objects, options),
        **plain.files(objects, options),
    }

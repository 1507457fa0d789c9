"""The service that the tests of HTTP clients call."""

from tests.vitals.http_client.dependency import cut, dependency, dependency_session

__all__ = ["cut", "dependency", "dependency_session"]

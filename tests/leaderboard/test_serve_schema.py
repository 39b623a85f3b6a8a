"""The API keeps its own OpenAPI schema: schemathesis makes requests from it, good and bad, and checks each answer."""

import itertools
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance

from leaderboard.audit import happenings
from leaderboard.serve import make_app
from leaderboard.serving import Served

OPERATIONS = {
    "GET /",
    "GET /api/tracks",
    "GET /api/tracks/{track}/board",
    "GET /api/tracks/{track}/entries",
    "GET /api/tracks/{track}/entries/{name}",
    "GET /api/tracks/{track}/entries/{name}/file",
    "PUT /api/tracks/{track}/entries/{name}",
}


def test_every_answer_is_of_the_schema(
    served: Served, teams: tuple[Any, Any], official: Callable[[int], bytes]
) -> None:
    app, team = make_app(served), teams[0]
    with TestClient(app) as client:
        assert client.put("/api/tracks/mtl/entries/a", content=official(0), auth=team.auth).status_code == 201
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {operation.label for operation in operations} == OPERATIONS
    headers = {"Authorization": "Basic " + b64encode(f"{team.name}:{team.token}".encode()).decode()}
    statuses: dict[str, set[int]] = {operation.label: set() for operation in operations}
    for operation, mode in itertools.product(operations, GenerationMode):

        @settings(max_examples=4, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: schemathesis.Case) -> None:
            # No schema can say what a valid submission is, so a good request may be refused all the same.
            answer = case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance], timeout=120)
            statuses[case.operation.label].add(answer.status_code)

        check()
    assert all(status < 500 for found in statuses.values() for status in found)
    assert {one.outcome for one in happenings(served.engine)} >= {"done", "wrong-token"}

import asyncio
from pathlib import Path
from typing import Any

import jwt
import pytest
from httpx import Response
from sqlalchemy import select

from service.auth import ALGORITHM, AccessTokens
from service.secret_files import SecretError
from service.settings import Settings
from service.users.passwords import Passwords
from service.users.repository import NEWEST
from service.users.tables import Role, User
from tests.service.running import PASSWORD, Service, problem, running, settings_for

pytestmark = pytest.mark.anyio

ADA = {"email": "Ada@Example.com", "name": "Ada", "password": PASSWORD}


async def log_in(service: Service, email: str = "ada@example.com", **more: str) -> Response:
    wanted = {"email": email, "password": PASSWORD, **more}
    return await service.client.post("/api/users/login", json=wanted)


async def test_register_log_in_and_show_profile(service: Service) -> None:
    registered = await service.client.post("/api/users", json=ADA)
    assert registered.status_code == 201
    assert registered.json()["email"] == "ada@example.com"
    assert registered.json()["role"] == "user"
    assert "password" not in registered.text

    token = await log_in(service, email="ADA@example.com")
    assert token.headers["cache-control"] == "no-store"
    headers = {"Authorization": f"Bearer {token.json()['access_token']}"}
    me = await service.client.get("/api/users/me", headers=headers)
    assert me.json() == registered.json()


async def test_email_is_unique_regardless_of_case(service: Service) -> None:
    answers = await asyncio.gather(
        *(
            service.client.post("/api/users", json=ADA | {"email": e})
            for e in ("ada@example.com", "ADA@example.com", "Ada@Example.com")
        )
    )
    assert sorted(a.status_code for a in answers) == [201, 409, 409]
    problem(await service.client.post("/api/users", json=ADA), 409, "/email")


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"email": "nobody"}, "/email"),
        ({"email": "x" * 250 + "@example.com"}, "/email"),
        ({"name": ""}, "/name"),
        ({"name": "a\x00b"}, "/name"),
        ({"name": 7}, "/name"),
        ({"password": "short"}, "/password"),
        ({"password": "x" * 129}, "/password"),
        ({"role": "admin"}, "/role"),
    ],
)
async def test_invalid_registration_names_the_field(
    light: Service, wrong: dict[str, Any], where: str
) -> None:
    answer = await light.client.post("/api/users", json=ADA | wrong)
    problem(answer, 422, where)


async def test_errors_do_not_contain_the_password(light: Service) -> None:
    answer = await light.client.post("/api/users", json=ADA | {"password": "hunter2"})
    assert "hunter2" not in answer.text


async def test_lone_surrogates_are_refused(light: Service) -> None:
    headers = {"Content-Type": "application/json"}
    for body in (
        b'{"email": "ada@example.com", "name": "\\ud800", "password": "long enough"}',
        b'{"\\ud800": 1, "email": "ada@example.com", "name": "x", "password": "long enough"}',
    ):
        answer = await light.client.post("/api/users", content=body, headers=headers)
        problem(answer, 400, "")


async def test_wrong_password_unknown_and_deactivated_user_get_same_error(
    service: Service,
) -> None:
    user, _ = await service.user()
    gone, _ = await service.user()
    async with service.database.writing() as session:
        (await session.get_one(User, gone.id)).active = False
    answers = [
        await log_in(service, user.email, password="wrong one"),
        await log_in(service, "stranger@example.com"),
        await log_in(service, gone.email),
    ]
    assert all(a.headers["www-authenticate"] for a in answers)
    assert problem(answers[0], 401) == problem(answers[1], 401) == problem(answers[2], 401)


async def test_login_of_unknown_user_hashes_too(
    light: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str] = []
    verify = Passwords._verify

    def counted(self: Passwords, stored: str, password: str) -> bool:
        verified.append(stored)
        return verify(self, stored, password)

    monkeypatch.setattr(Passwords, "_verify", counted)
    await log_in(light, "stranger@example.com")
    user, _ = await light.user()
    await log_in(light, user.email, password="wrong one")
    assert len(verified) == 2
    # Same algorithm, same parameters: $argon2id$v=19$m=..,t=..,p=..
    assert verified[0].split("$")[:4] == verified[1].split("$")[:4]


async def test_login_rehashes_with_current_parameters(service: Service, settings: Settings) -> None:
    user, _ = await service.user()
    async with running(settings.model_copy(update={"hash_passes": 2})) as stronger:
        assert (await log_in(stronger, user.email)).status_code == 200
        async with stronger.database.reading() as session:
            stored = await session.scalar(select(User.password_hash).where(User.id == user.id))
        assert stored is not None
        assert ",t=2," in stored
        assert ",t=1," in user.password_hash
        assert (await log_in(stronger, user.email)).status_code == 200
        problem(await log_in(stronger, user.email, password="wrong one"), 401)


async def test_a_flood_of_logins_is_refused_instead_of_queued(tmp_path: Any) -> None:
    settings = settings_for(tmp_path, hash_queue=2, hash_threads=1, account_attempts=100)
    async with running(settings) as service:
        user, headers = await service.user()
        answers = await asyncio.gather(*(log_in(service, user.email) for _ in range(12)))
        assert {a.status_code for a in answers} == {200, 503}
        busy = next(a for a in answers if a.status_code == 503)
        problem(busy, 503)
        assert int(busy.headers["retry-after"]) >= 1
        assert (await log_in(service, user.email)).status_code == 200
        assert (await service.client.get("/api/users/me", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer x", "Basic YTpi", "Bearer a.b.c", "Bearer " + "x" * 5000, "bearer é"],
)
async def test_bad_tokens_are_401(light: Service, header: str) -> None:
    raw = header.encode("latin-1")
    answer = await light.client.get("/api/users/me", headers={b"Authorization": raw})
    problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "change",
    [
        {"exp": 1},
        {"iss": "somebody"},
        {"ver": 2},
        {"ver": "x"},
        {"sub": "999999"},
        {"sub": "-1"},
        {"sub": str(2**70)},
        {"sub": "me"},
        {"jti": None},
    ],
)
async def test_changed_claims_are_401(light: Service, change: dict[str, Any]) -> None:
    user, _ = await light.user()
    key = light.app.state.settings.jwt_keys()[0]
    token = light.app.state.tokens.issue(user)
    claims = jwt.decode(token, key, algorithms=[ALGORITHM]) | change
    if claims["jti"] is None:
        del claims["jti"]
    forged = jwt.encode(claims, key, algorithm=ALGORITHM)
    headers = {"Authorization": f"Bearer {forged}"}
    problem(await light.client.get("/api/users/me", headers=headers), 401)


async def test_unsigned_tokens_and_foreign_keys_are_401(light: Service) -> None:
    user, _ = await light.user()
    key = light.app.state.settings.jwt_keys()[0]
    claims = jwt.decode(light.app.state.tokens.issue(user), key, algorithms=[ALGORITHM])
    for forged in (
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims, "another key that is long enough for it", algorithm=ALGORITHM),
    ):
        headers = {"Authorization": f"Bearer {forged}"}
        problem(await light.client.get("/api/users/me", headers=headers), 401)


async def test_tokens_of_previous_key_stay_valid(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path)) as before:
        _, old = await before.user()
        cursor = before.app.state.cursors.encode("here", [1])
    (tmp_path / "jwt-key").rename(tmp_path / "previous")
    both = settings_for(tmp_path, jwt_previous_key_file=tmp_path / "previous")
    async with running(both) as service:
        _, new = await service.user()
        for headers in (old, new):
            assert (await service.client.get("/api/users/me", headers=headers)).status_code == 200
        assert service.app.state.cursors.decode(cursor, "here", NEWEST) == [1]
        token = new["Authorization"].removeprefix("Bearer ")
        current = jwt.get_unverified_header(token)["kid"]
        # Signed with a key that is valid, but not with the one that it names.
        claims = jwt.decode(token, options={"verify_signature": False})
        previous = both.jwt_keys()[1]
        forged = jwt.encode(claims, previous, algorithm=ALGORITHM, headers={"kid": current})
        headers = {"Authorization": f"Bearer {forged}"}
        problem(await service.client.get("/api/users/me", headers=headers), 401)
    async with running(settings_for(tmp_path)) as after:
        assert (await after.client.get("/api/users/me", headers=new)).status_code == 200
        problem(await after.client.get("/api/users/me", headers=old), 401)


def test_public_key_as_signing_key_is_refused() -> None:
    certificate = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkq\n-----END PUBLIC KEY-----"
    with pytest.raises(SecretError, match="JWT key"):
        AccessTokens(["a key that is long enough for it", certificate], 60)


@pytest.mark.parametrize(("ahead", "status"), [(0, 200), (30, 200), (600, 401), ("x", 401)])
async def test_token_issued_within_clock_skew_is_valid(
    light: Service, ahead: Any, status: int
) -> None:
    user, _ = await light.user()
    key = light.app.state.settings.jwt_keys()[0]
    claims = jwt.decode(light.app.state.tokens.issue(user), key, algorithms=[ALGORITHM])
    claims["iat"] = claims["iat"] + ahead if isinstance(ahead, int) else ahead
    token = jwt.encode(claims, key, algorithm=ALGORITHM)
    headers = {"Authorization": f"Bearer {token}"}
    assert (await light.client.get("/api/users/me", headers=headers)).status_code == status


async def test_token_without_kid_is_valid(light: Service) -> None:
    user, headers = await light.user()
    key = light.app.state.settings.jwt_keys()[0]
    token = headers["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, key, algorithms=[ALGORITHM], issuer="service")
    nameless = jwt.encode(claims, key, algorithm=ALGORITHM)
    headers = {"Authorization": f"Bearer {nameless}"}
    assert (await light.client.get("/api/users/me", headers=headers)).json()["id"] == user.id


async def test_admins_page_through_all_users(service: Service) -> None:
    _, admin = await service.user(Role.ADMIN)
    for _ in range(4):
        await service.user()
    seen: list[int] = []
    url = "/api/users?limit=2"
    while url:
        answer = await service.client.get(url, headers=admin)
        assert answer.status_code == 200
        seen += [user["id"] for user in answer.json()["items"]]
        url = answer.links["next"]["url"] if "next" in answer.links else ""
        assert ("next" in answer.links) == (answer.json()["next"] is not None)
    assert len(seen) == 5
    assert seen == sorted(seen, reverse=True)


async def test_only_admins_manage(light: Service) -> None:
    user, headers = await light.user()
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/api/users", {}),
        ("PUT", f"/api/users/{user.id}/role", {"json": {"role": "admin"}}),
        ("POST", f"/api/users/{user.id}/deactivate", {}),
    ]
    for method, url, body in calls:
        problem(await light.client.request(method, url, **body), 401)
        problem(await light.client.request(method, url, headers=headers, **body), 403)


async def test_role_change_applies_to_next_request(service: Service) -> None:
    _, admin = await service.user(Role.ADMIN)
    user, headers = await service.user()
    url = f"/api/users/{user.id}/role"
    changed = await service.client.put(url, json={"role": "admin"}, headers=admin)
    assert changed.json()["role"] == "admin"
    assert (await service.client.get("/api/users", headers=headers)).status_code == 200
    problem(await service.client.put(url, json={"role": "king"}, headers=admin), 422, "/role")
    missing = await service.client.put(
        "/api/users/424242/role", json={"role": "user"}, headers=admin
    )
    problem(missing, 404)


async def test_deactivated_user_is_locked_out_at_once(service: Service) -> None:
    _, admin = await service.user(Role.ADMIN)
    user, headers = await service.user()
    assert (await service.client.get("/api/users/me", headers=headers)).status_code == 200
    for _ in range(2):
        answer = await service.client.post(f"/api/users/{user.id}/deactivate", headers=admin)
        assert answer.json()["active"] is False
    problem(await service.client.get("/api/users/me", headers=headers), 401)


async def test_user_deactivated_in_database_is_locked_out(light: Service) -> None:
    user, headers = await light.user()
    async with light.database.writing() as session:
        (await session.get_one(User, user.id)).active = False
    problem(await light.client.get("/api/users/me", headers=headers), 401)


async def test_last_admin_cannot_be_demoted(service: Service) -> None:
    admin, headers = await service.user(Role.ADMIN)
    await service.user()
    url = f"/api/users/{admin.id}/role"
    problem(await service.client.put(url, json={"role": "user"}, headers=headers), 409)
    answer = await service.client.post(f"/api/users/{admin.id}/deactivate", headers=headers)
    problem(answer, 409)
    assert (await service.client.get("/api/users/me", headers=headers)).json()["role"] == "admin"


async def test_concurrent_demotions_leave_one_admin(service: Service) -> None:
    for _ in range(5):
        (one, as_one), (two, as_two) = [await service.user(Role.ADMIN) for _ in range(2)]
        async with service.database.writing() as session:
            for user in await session.scalars(select(User).where(User.id < one.id)):
                user.role = Role.USER
        demotion = {"role": "user"}
        answers = await asyncio.gather(
            service.client.put(f"/api/users/{two.id}/role", json=demotion, headers=as_one),
            service.client.put(f"/api/users/{one.id}/role", json=demotion, headers=as_two),
        )
        statuses = sorted(answer.status_code for answer in answers)
        # The second is the last admin, or no admin any more.
        assert statuses in ([200, 409], [200, 403])

"""Request and response bodies of users."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from service.param_types import LINE, RequestBody
from service.users.tables import Role

# What browsers accept as an e-mail address (WHATWG), with a dot in the domain.
_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
EMAIL = rf"^[a-zA-Z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_LABEL}(?:\.{_LABEL})+$"
Email = Annotated[
    str,
    Field(max_length=254, pattern=EMAIL, examples=["ada@example.com"]),
    AfterValidator(str.lower),
]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=LINE, examples=["Ada"])]
# The upper limit bounds the work of hashing.
NewPassword = Annotated[
    str,
    Field(min_length=8, max_length=128, examples=["correct horse battery staple"]),
]


class Registration(RequestBody):
    """A new user account."""

    email: Email
    name: Name
    password: NewPassword


class Login(RequestBody):
    """Credentials for a token."""

    email: Email
    password: Annotated[str, Field(max_length=128, examples=["correct horse battery staple"])]


class Token(BaseModel):
    """An access token: send it as ``Authorization: Bearer <access_token>``."""

    access_token: Annotated[str, Field(examples=["eyJhbGciOiJIUzI1NiJ9.e30.c2ln"])]
    token_type: Annotated[Literal["bearer"], Field(examples=["bearer"])] = "bearer"  # noqa: S105
    expires_in: Annotated[int, Field(description="seconds", examples=[3600])]


class UserOut(BaseModel):
    """A user, without secrets."""

    model_config = ConfigDict(from_attributes=True)

    id: Annotated[int, Field(examples=[1])]
    email: Annotated[str, Field(examples=["ada@example.com"])]
    name: Annotated[str, Field(examples=["Ada"])]
    role: Role
    active: Annotated[bool, Field(examples=[True])]
    created_at: Annotated[datetime, Field(examples=["2026-03-14T09:26:53.589793Z"])]


class RoleChange(RequestBody):
    """The new role of a user."""

    # Strict mode would demand a Python enum; JSON has only its text.
    role: Annotated[Role, Field(strict=False, examples=["admin"])]

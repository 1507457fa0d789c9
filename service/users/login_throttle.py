"""Login throttle: limits logins and registrations, which cost a hash and may be guesses."""

import hmac
from hashlib import blake2s, sha256
from ipaddress import IPv6Address
from typing import Annotated

from fastapi import Depends, Request

from service.errors import TooManyRequestsError
from service.rate_limit import Attempt, Policy, RateLimiter

IPV6_NETWORK = 64  # prefix length that one customer has


class LoginThrottle:
    """Limits attempts by IP address and by account.

    Args:
        limits: The rate limiter.
        secret: Keys the digests of names, so that Redis holds no e-mail addresses.
        per_account: Logins to one account a minute, successful or not, whether it exists or not.
        per_address: Logins and registrations from one address a minute.
    """

    def __init__(
        self, limits: RateLimiter, secret: str, *, per_account: int, per_address: int
    ) -> None:
        self._limits = limits
        self._key = hmac.digest(secret.encode(), b"attempts", sha256)
        self._account = Policy("account", per_account)
        self._address = Policy("address", per_address)

    async def register(self, request: Request) -> dict[str, str]:
        """Count a registration; return the response's headers of the limit.

        Raises:
            TooManyRequestsError: There were too many from this address.
        """
        return await self._take((self._address, _address(request)))

    async def log_in(self, request: Request, email: str) -> dict[str, str]:
        """Count a login likewise; if the address is over its limit, the account's is not counted.

        Raises:
            TooManyRequestsError: There were too many from this address, or to this account.
        """
        return await self._take((self._address, _address(request)), (self._account, email))

    async def _take(self, *attempts: Attempt) -> dict[str, str]:
        state = await self._limits.take(*((by, self._digest(who)) for by, who in attempts))
        if state.wait:
            error = TooManyRequestsError()
            error.headers = state.headers
            raise error
        return state.headers

    def _digest(self, who: str) -> str:
        # After a password hash has evicted the CPU caches, this takes a quarter of HMAC's time.
        return blake2s(who.encode(), key=self._key, digest_size=16).hexdigest()


def _address(request: Request) -> str:
    host = request.client.host if request.client else ""  # a Unix socket has none
    if ":" not in host:
        return host
    try:
        address = IPv6Address(host)
    except ValueError:  # a trusted proxy may send something else
        return host
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(int(address) >> (128 - IPV6_NETWORK))


async def _of(request: Request) -> LoginThrottle:
    throttle: LoginThrottle = request.app.state.login_throttle
    return throttle


LoginThrottleOf = Annotated[LoginThrottle, Depends(_of)]
"""The login throttle of the app that handles the request."""

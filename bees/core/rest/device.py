"""The device flow: a person logs in elsewhere, and the bee gets a refresh token."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bees.core.errors import GiveUp
from bees.core.rest.login import ADVICE, LIFE, posted, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bees.core.http import HttpClient


def device_login(
    client: HttpClient,
    urls: tuple[str, str],
    fields: Mapping[str, str],
    tell: Callable[[str, str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """The device flow (RFC 8628): a person logs in elsewhere; gives the refresh token.

    urls    where device codes and where tokens are given; the client may dial both
    fields  client_id, and scope, client_secret and the like
    tell    gets the address to open, and the code to type there

    Raises GiveUp when the person refuses or takes too long.
    """
    begun = posted(client, urls[0], fields, "device_url")
    code, address, user_code = begun.get("device_code"), begun.get("verification_uri"), begun.get("user_code")
    if not (isinstance(code, str) and isinstance(address, str) and isinstance(user_code, str)):
        raise GiveUp("the answer is none of the device flow", code="denied", where="device_url", advice=ADVICE)
    tell(address, user_code)
    wait, left = seconds(begun.get("interval"), 5.0), seconds(begun.get("expires_in"), LIFE)
    ask = {**fields, "grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": code}
    while left > 0:
        sleep(wait)
        left -= wait
        told = posted(client, urls[1], ask, "token_url", also=(400,))
        if isinstance(told.get("refresh_token"), str):
            return str(told["refresh_token"])
        error = told.get("error")
        if error == "slow_down":
            wait += 5.0
        elif error != "authorization_pending":
            advice = "ask for a scope that gives one, often offline_access" if error is None else "begin again"
            raise GiveUp("the server gives no refresh token", code="denied", where="token_url", advice=advice)
    raise GiveUp("nobody logged in in time", code="denied", where="token_url", advice="begin again")

"""Why a command failed, as programs learn it: exit codes, and the errors that carry them."""

from collections.abc import Mapping
from enum import IntEnum
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import click

from cli.terminal import one_line


class Exit(IntEnum):
    """The exit codes of all commands that speak to the service (docs/reference/commands.md)."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    UNAUTHENTICATED = 3
    DENIED = 4
    NOT_FOUND = 5
    CONFLICT = 6
    UNAVAILABLE = 7


_OF_CODE: Mapping[str, Exit] = MappingProxyType(
    {
        "denied": Exit.DENIED,
        "unauthenticated": Exit.UNAUTHENTICATED,
        "not_found": Exit.NOT_FOUND,
        "conflict": Exit.CONFLICT,
        "rate_limited": Exit.UNAVAILABLE,
        "sealed": Exit.UNAVAILABLE,
        "unavailable": Exit.UNAVAILABLE,
        "misconfigured": Exit.UNAVAILABLE,
        "too_slow": Exit.UNAVAILABLE,
    }
)
"""Of the word `code` in an answer, which tells more than its status: that API's clients know no 409."""
_OF_STATUS: Mapping[int, Exit] = MappingProxyType(
    {
        HTTPStatus.FORBIDDEN: Exit.DENIED,
        HTTPStatus.NOT_FOUND: Exit.NOT_FOUND,
        HTTPStatus.CONFLICT: Exit.CONFLICT,
        HTTPStatus.TOO_MANY_REQUESTS: Exit.UNAVAILABLE,
        HTTPStatus.BAD_GATEWAY: Exit.UNAVAILABLE,
        HTTPStatus.SERVICE_UNAVAILABLE: Exit.UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT: Exit.UNAVAILABLE,
    }
)


class ApiError(click.ClickException):
    """The service refused, or does not answer; `exit_code` says which kind of failure it is."""

    def __init__(self, message: str, exit_code: Exit) -> None:
        super().__init__(one_line(message))
        self.exit_code = int(exit_code)  # type: ignore[misc] # click declares it of the class, and reads it of the error


class NotFoundError(ApiError):
    """404; `is_empty` tells what is not there from a path that is not served, `data` is what was answered with it."""

    def __init__(self, message: str, *, is_empty: bool = False, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, Exit.NOT_FOUND)
        self.is_empty = is_empty
        self.data = data or {}


def refusal(status: int, document: Mapping[str, Any], *, has_token: bool) -> ApiError:
    """Return the error that tells of an answer with the status 4xx or 5xx; `document` is its JSON."""
    told = document.get("errors") or []
    errors = [str(item) for item in (told if isinstance(told, list) else [told])]
    code, advice = document.get("code"), document.get("advice")
    message = "; ".join(errors) or f"the service answered {status}"
    message += f" ({advice})" if advice else ""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and document.get("request_id"):
        message += f", request id {document['request_id']}"
    if status == HTTPStatus.NOT_FOUND:
        data = document.get("data")
        return NotFoundError(
            message if errors else "there is nothing at that path",
            is_empty=not errors,
            data=data if isinstance(data, Mapping) else None,
        )
    if status == HTTPStatus.FORBIDDEN and (not has_token or code == "unauthenticated"):
        what = (
            f"{'; '.join(errors) or 'refused'}: the token is no longer good" if has_token else "you are not logged in"
        )
        return ApiError(f"{what}; run `sealward login`", Exit.UNAUTHENTICATED)
    return ApiError(message, _OF_CODE.get(str(code)) or _OF_STATUS.get(status, Exit.FAILURE))

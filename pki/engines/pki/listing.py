"""Which certificates a list shows: filters and pages, from the query."""

from collections.abc import Mapping
from datetime import datetime

from pki.engines.pki.answers import serial_of
from pki.errors import Malformed
from pki.ledger.entries import Selection
from pki.operations.wire import Span

SERIALS_LIMIT = 10_000
DETAILED_LIMIT = 1_000
_DETAILED_DEFAULT = 100
STATES = ("reserved", "issued", "revoked", "abandoned")
_KINDS = ("leaf", "server", "ca", "root")
_PAGING = frozenset({"list", "help", "after", "limit"})
_FILTERS = frozenset({"state", "kind", "role", "requester", "name", "expires_within"})


def serials(namespace_id: str, query: Mapping[str, str]) -> Selection:
    """Return the selection of a plain list: all certificates that exist, the newest first.

    Raises:
        Malformed: the query.
    """
    limit = _limit(query, SERIALS_LIMIT, SERIALS_LIMIT)
    return Selection(namespace_id=namespace_id, states=("issued", "revoked"), after=_after(query), limit=limit)


def detailed(namespace_id: str, query: Mapping[str, str], now: datetime) -> Selection:
    """Return the selection of a detailed list.

    The filters are `state` and `kind`, each with commas, `role`, `requester`, `name`, and `expires_within`, a span of
    time from now; `limit` and `after`, a serial number, make pages. A misspelt filter would list everything, so it is
    refused.

    Raises:
        Malformed: the query.
    """
    unknown = sorted(query.keys() - _FILTERS - _PAGING)
    if unknown:
        raise Malformed(f"there is no filter {unknown[0][:64]!a}", advice=f"there are {', '.join(sorted(_FILTERS))}")
    within = query.get("expires_within")
    return Selection(
        namespace_id=namespace_id,
        states=_several(query, "state", STATES),
        kinds=_several(query, "kind", _KINDS),
        profile=query.get("role"),
        requester=query.get("requester"),
        name=query.get("name"),
        expires_after=None if within is None else now,
        expires_before=None if within is None else now + _span(within),
        after=_after(query),
        limit=_limit(query, _DETAILED_DEFAULT, DETAILED_LIMIT),
    )


def _several(query: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> tuple[str, ...] | None:
    given = query.get(name)
    if given is None:
        return None
    wanted = tuple(item.strip() for item in given.split(","))
    if set(wanted) - set(allowed):
        raise Malformed(f"there is no such {name}", advice=f"it is one of {', '.join(allowed)}")
    return wanted


def _span(text: str) -> Span:
    try:
        return Span.parse(text)
    except ValueError as error:
        raise Malformed(f"expires_within: {error}", advice="write 72h or 7d") from None


def _after(query: Mapping[str, str]) -> str | None:
    after = query.get("after", "")
    return serial_of(after) if after else None


def _limit(query: Mapping[str, str], usual: int, most: int) -> int:
    given = query.get("limit", "")
    if not given:
        return usual
    if not (given.isascii() and given.removeprefix("-").isdigit()) or len(given) > len("-1000000000"):
        raise Malformed("limit is no number", advice=f"give one from 1 to {most}")
    limit = int(given)
    return min(limit, most) if limit > 0 else usual

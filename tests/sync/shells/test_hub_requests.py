"""How long a site waits for its hub: what is lost with its link is asked for again soon."""

from __future__ import annotations

import pytest

from tidegate.schemas.following import MOST_DELTAS, DeltasRequest, HeadRequest
from tidegate.schemas.message import Message
from tidegate.schemas.replication import DocumentsRequest
from tidegate.sync.shells.hub_requests import SHORT_TIMEOUT_S, TIMEOUT_S, timeout_of


def deltas(count: int) -> DeltasRequest:
    return DeltasRequest(tenant="kiosk", collection="news", epoch=1, first=7, last=7 + count - 1)


@pytest.mark.parametrize(
    ("request_", "least_s", "most_s"),
    [
        (HeadRequest(tenant="kiosk", collection="news"), SHORT_TIMEOUT_S, SHORT_TIMEOUT_S),
        (deltas(1), SHORT_TIMEOUT_S, 1.1 * SHORT_TIMEOUT_S),
        (deltas(MOST_DELTAS // 2), 1.1 * SHORT_TIMEOUT_S, 0.9 * TIMEOUT_S),
        (deltas(MOST_DELTAS), TIMEOUT_S, TIMEOUT_S),
        (deltas(10 * MOST_DELTAS), TIMEOUT_S, TIMEOUT_S),
        (DocumentsRequest(tenant="kiosk", collection="news", document_ids=("a",)), TIMEOUT_S, TIMEOUT_S),
    ],
)
def test_a_short_reply_is_waited_for_shortly(request_: Message, least_s: float, most_s: float) -> None:
    assert least_s <= timeout_of(request_) <= most_s

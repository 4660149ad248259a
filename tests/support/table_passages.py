"""A table in a document, as it is stored and as it is shown, and passages that are offered as related."""

from __future__ import annotations

from tidegate.schemas import Suggestion

TABLE_HEADER = "| Who | Fee | Note |"
TABLE_ROWS = (r"| Business customers | 2.5% \| net |  |", "| Children | free | up to 18 |")
TABLE_TEXT = "Business customers – Fee: 2.5% | net\nChildren – Fee: free; Note: up to 18"

RELATED = (
    Suggestion(
        document_id="coins",
        document_version="v1",
        title="Coins",
        heading="Counter",
        start=0,
        end=48,
        quote="## At the counter\n\n- **Foreign coins** are not exchanged.",
        score=0.7,
    ),
    Suggestion(
        document_id="fees",
        document_version="v1",
        title="Fees",
        start=3,
        end=60,
        quote="\n".join(TABLE_ROWS),
        score=0.4,
        page=4,
        is_recognised=True,
    ),
)

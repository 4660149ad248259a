"""Answers: how each was shown, committed and taken back. Next: stream_conformance.py, which plays them."""

from __future__ import annotations

from loadtests.load.stream_site import Script

ANSWER = "The branch opens at nine. On Saturdays it opens at ten, and on Sundays it stays shut. "
MORE = "Überweisungen gehen immer — auch nachts."
DRAFT = "The branch opens at nine. On Saturdays it is closed all day, as far as is known. "
PLAIN = Script(ANSWER, steps=[("stands", 26), ("stands", 60)])
EDGE = Script(ANSWER, steps=None)
CONFIRMED = Script(ANSWER + MORE, ANSWER, [("shows", 26), ("stands", 26), ("shows", 86), ("stands", 86)])
RETRACTED = Script(ANSWER, DRAFT, [("shows", 26), ("shows", 70), ("stands", 26), ("stands", 70)])
PERSONAL = Script(
    "We write to {email} today, and to {email} tomorrow. Is that so?",
    "We write to {email} today, or to nobody.",
    [("shows", 45), ("stands", 20), ("shows", 80), ("stands", 50)],
)
JSON = Script('{"email": "{email}", "n": 1, "also": ["{email}"]}', steps=[("stands", 20), ("stands", 50)], is_json=True)
JSON_TAKEN_BACK = Script('{"email":"{email}","n":1}', '{"email":"{email}","n":2}', [("shows", 60)], is_json=True)
SIMPLE = Script(ANSWER, DRAFT, [("shows", 70), ("stands", 26)], can_retract=False)
SCRIPTS = {
    "plain": PLAIN,
    "edge": EDGE,
    "confirmed": CONFIRMED,
    "retracted": RETRACTED,
    "personal": PERSONAL,
    "json": JSON,
    "json taken back": JSON_TAKEN_BACK,
    "committed only": SIMPLE,
}

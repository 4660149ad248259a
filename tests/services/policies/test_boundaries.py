"""What a policy keeps answers within: languages, how far questions go, tools; and what it obliges to be shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.policy_files import HERE, judge_here, policy
from tidegate.schemas import Answer, Check, Citation, Question
from tidegate.services.policies.crossings import find_reason_to_stay
from tidegate.services.policies.language import load_versions
from tidegate.services.policies.node_reader import PolicyError
from tidegate.services.policies.policy import Policy
from tidegate.services.policies.versions import explain_versions

QUOTE = "A lost card is blocked at once."
QUESTION = Question(text="What if I lose my card?", language="en", intent="cards", intent_confidence=0.9)
CITED = Citation(document_id="cards", document_version="v", start=0, end=len(QUOTE), quote=QUOTE)
ANSWER = Answer(text=QUOTE, citations=(CITED,), checks=(Check("grounding", True, 1.0),), confidence=0.9)
CLOUD = replace(HERE, route="cloud")


def judged(
    *policies: Policy, language: str = "en", intent: str = "cards", here: object = HERE
) -> tuple[str, list[str]]:
    question = msgspec.structs.replace(QUESTION, language=language, intent=intent)
    found = judge_here(question, ANSWER, policies, here=here)  # type: ignore[arg-type]
    return found.refusal, [f"{each.rule} {each.verb}: {each.reason}" for each in found.decisions]


@pytest.mark.parametrize(("language", "refusal"), [("en", ""), ("de", ""), ("fr", "unsupported_language")])
def test_a_question_in_another_language_than_a_policy_lists_is_refused_as_such(
    tmp_path: Path, language: str, refusal: str
) -> None:
    rules = policy(tmp_path, "policy_id: p\nlanguages: [en, de]\n")
    assert judged(rules, language=language) == (refusal, ["p/languages block: fr, not de, en"] if refusal else [])


def test_what_is_blocked_for_more_than_its_language_is_blocked_by_policy(tmp_path: Path) -> None:
    rules = policy(tmp_path, "policy_id: p\nlanguages: [de]\nblock: [{name: own, when: 'citations == 1'}]\n")
    assert judged(rules)[0] == "policy_block"


@pytest.mark.parametrize(
    ("residency", "intent", "stays"),
    [
        ("site", "cards", True),
        ("hub", "cards", False),
        ("{cards: site}", "cards", True),
        ("{cards: site}", "fees", False),
        ("{default: site, cards: hub}", "cards", False),
        ("{default: site, cards: hub}", "fees", True),
        ("{assist: site, cards: hub}", "cards", False),
        ("{assist: site}", "cards", True),
    ],
)
def test_a_question_that_has_to_stay_is_kept_from_the_hub_and_what_the_hub_says_of_it_is_blocked(
    tmp_path: Path, residency: str, intent: str, stays: bool
) -> None:
    rules = policy(tmp_path, f"policy_id: p\nresidency: {residency}\n")
    question = msgspec.structs.replace(QUESTION, intent=intent)
    assert find_reason_to_stay(question, [rules]) == ("the policy p keeps such questions at the site" if stays else "")
    kept = ["p/residency allow: its question stayed at the site"]
    assert judged(rules, intent=intent) == ("", kept if stays else [])
    assert judged(rules, intent=intent, here=CLOUD)[0] == ("policy_block" if stays else "")


def test_no_tool_is_allowed_that_not_every_policy_that_speaks_of_tools_lists(tmp_path: Path) -> None:
    none, some, more = (
        policy(tmp_path, f"policy_id: {name}\nallow: [grounded_claims]\n{tools}")
        for name, tools in (("a", ""), ("b", "tools: [rates]\n"), ("c", "tools: [rates, calculator]\n"))
    )
    used = replace(HERE, tools=("calculator",))
    assert judged(none)[0] == judged(some)[0] == ""
    assert judged(none, here=used)[1] == ["no_policy/tools block: no policy allows any tool, and calculator was used"]
    assert judged(none, some, here=used)[1] == ["b/tools block: the tool calculator is not allowed"]
    assert judged(none, more, here=used)[0] == ""
    assert judged(some, more, here=used)[0] == "policy_block"
    empty = policy(tmp_path, "policy_id: d\ntools: []\n")
    assert judged(empty, more, here=used)[1] == ["d/tools block: the tool calculator is not allowed"]


NOTICES = """\
policy_id: p
obligations:
  - name: no_advice
    notice: {en: This is no advice., de: Das ist keine Beratung.}
    when: class == 'cards'
  - {name: unchecked, notice: {de: Ungeprüft.}, when: "checks['style'] < 0.5"}
"""


@pytest.mark.parametrize(("language", "text"), [("en", "This is no advice."), ("de", "Das ist keine Beratung.")])
def test_an_answer_that_passes_comes_with_the_notices_that_are_owed_in_its_language(
    tmp_path: Path, language: str, text: str
) -> None:
    question = msgspec.structs.replace(QUESTION, language=language)
    found = judge_here(question, ANSWER, [policy(tmp_path, NOTICES)])
    assert found.notices == (text, "Ungeprüft.")
    assert [(each.rule, each.verb) for each in found.decisions] == [
        ("p/no_advice", "oblige"),
        ("p/unchecked", "oblige"),
    ]
    assert "has failed" in found.decisions[1].reason
    others = judge_here(msgspec.structs.replace(question, intent="fees"), ANSWER, [policy(tmp_path, NOTICES)])
    assert others.notices == ("Ungeprüft.",)


def test_what_is_refused_owes_nothing(tmp_path: Path) -> None:
    rules = policy(tmp_path, NOTICES + "languages: [de]\n")
    assert judge_here(QUESTION, ANSWER, [rules]).notices == ()


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("languages: en", 2, "languages is a list"),
        ("languages: []", 2, "languages names none"),
        ("languages: [english]", 2, "'english' is not a language"),
        ("residency: cloud", 2, "cloud is nowhere that a question can stay"),
        ("residency: {cards: eu}", 2, "eu is nowhere"),
        ("residency: {}", 2, "residency names no class"),
        ("residency: [site]", 2, "residency is a mapping"),
        ("tools: [A tool]", 2, "'A tool' is not a tool"),
        ("obligations: notice", 2, "obligations is a list"),
        ("obligations: [{name: a}]", 2, "notice is missing"),
        ("obligations: [{notice: {en: x}}]", 2, "name is missing"),
        ("obligations: [{name: a, notice: {}}]", 2, "in no language"),
        ("obligations: [{name: a, notice: {English: x}}]", 2, "'English' is not a language"),
        ("obligations: [{name: a, notice: {en: x}, at: end}]", 2, "at is not a part of an obligation"),
        ("obligations: [{name: a, notice: {en: x}, when: 'maybe'}]", 2, "undeclared"),
        ("obligations:\n  - {name: a, notice: {en: x}}\n  - {name: a, notice: {en: y}}", 4, "a is there already"),
        ("obligations: [{name: a, notice: {en: " + "x" * 401 + "}}]", 2, "401 characters"),
        ("obligations: [" + "{name: a, notice: {en: x}}, " * 17 + "]", 2, "17 obligations"),
    ],
)
def test_a_fault_has_its_line(tmp_path: Path, text: str, line: int, reason: str) -> None:
    with pytest.raises(PolicyError) as bad:
        policy(tmp_path, f"policy_id: p\n{text}\n")
    assert (bad.value.line, reason in bad.value.fault) == (line, True)


def test_each_part_counts_for_the_version(tmp_path: Path) -> None:
    plain = "policy_id: p\nallow: [grounded_claims]\n"
    parts = ("", "languages: [en]\n", "residency: site\n", "tools: []\n", "tools: [a]\n", NOTICES[13:])
    assert len({policy(tmp_path, plain + text).version for text in parts}) == len(parts)
    assert policy(tmp_path, plain + "languages: [en, de]\n").version == (
        policy(tmp_path, plain + "languages: [de, en, de]\n").version
    )


@pytest.mark.parametrize(
    ("strict", "loose", "rule"),
    [
        ("languages: [en]", "allow: [grounded_claims]", "not languages/other"),
        ("languages: [en]", "languages: [en, de]", "not languages/de"),
        ("residency: site", "residency: {cards: site}", "residency/default"),
        ("residency: {cards: site}", "residency: {fees: site}", "residency/cards"),
        ("tools: []", "tools: [rates]", "not tools/rates"),
        ("block: [legal_advice]", "block: [{rule: legal_advice, when: 'is_fresh'}]", "block/legal_advice"),
        ("block: [{name: a, when: 'is_fresh'}]", "allow: [grounded_claims]", "block/a when is_fresh"),
        (
            "block: [{rule: legal_advice, when: 'is_fresh'}]",
            "block: [{rule: legal_advice, when: 'is_signed'}]",
            "block/legal_advice when is_fresh",
        ),
        (NOTICES[13:], "allow: [grounded_claims]", "oblige/no_advice when class == 'cards'"),
    ],
)
def test_of_versions_written_apart_the_stricter_is_named(tmp_path: Path, strict: str, loose: str, rule: str) -> None:
    for name, text in (("north", strict), ("south", loose)):
        (tmp_path / f"{name}.yaml").write_text(f"policy_id: p\n{text}\n")
    explained = explain_versions(load_versions(sorted(tmp_path.glob("*.yaml")), {}))["p"]
    assert f"{rule} by north" in explained
    assert f"{rule} by south" not in explained


PARTS = {
    "languages": st.sampled_from(["languages: [en]", "languages: [de]", "languages: [en, de]", ""]),
    "residency": st.sampled_from(["residency: site", "residency: {cards: site}", "residency: {default: hub}", ""]),
    "tools": st.sampled_from(["tools: []", "tools: [rates]", "tools: [rates, sums]", "tools: [sums]"]),
    "block": st.sampled_from(
        ["block: [{name: a, when: 'citations == 1'}]", "block: [{name: b, when: 'is_escalated'}]", ""]
    ),
    "allow": st.sampled_from(["allow: [{name: c, when: \"'x' in checks\"}]", "allow: [grounded_claims]", ""]),
}


@given(
    st.lists(st.fixed_dictionaries(PARTS), min_size=1, max_size=3),
    st.sampled_from(["en", "de", "fr"]),
    st.sampled_from(["cards", "fees"]),
    st.booleans(),
    st.sampled_from([(), ("rates",), ("sums", "rates")]),
)
def test_versions_together_refuse_whatever_any_one_of_them_refuses_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory,
    chosen: list[dict[str, str]],
    language: str,
    intent: str,
    is_cloud: bool,
    tools: tuple[str, ...],
) -> None:
    folder = tmp_path_factory.mktemp("versions")
    for number, parts in enumerate(chosen):
        (folder / f"v{number}.yaml").write_text("\n".join(["policy_id: p", *filter(None, parts.values()), ""]))
    policies = load_versions(sorted(folder.glob("*.yaml")), {})
    here = replace(CLOUD if is_cloud else HERE, tools=tools)

    def is_refused(*given_policies: Policy) -> bool:
        return bool(judged(*given_policies, language=language, intent=intent, here=here)[0])

    assert is_refused(*policies) is any(map(is_refused, policies))

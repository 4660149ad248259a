"""Personal data is found by kind and language, hard negatives are left alone, and no text takes long."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schwifty import IBAN
from schwifty.registry import get_countries

from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.privacy.dlp.finding import KINDS, PersonalSpan, merge_spans
from tidegate.services.privacy.dlp.numbers import find_ibans

DETECTOR = Detector(("GB", "DE", "FR", "ES", "US"))

FOUND: tuple[tuple[str, str, str], ...] = (
    ("EMAIL", "ann.smith@example.org", "Write to {}, please."),
    ("EMAIL", "o'neill+bank@mail.example.co.uk", "<{}>"),
    ("EMAIL", "jürgen@müller.de", "Meine Adresse: {}"),
    ("EMAIL", "a_b%c@sub-domain.example.museum", "e-mail {}."),
    ("PHONE", "+44 20 7946 0958", "Call {} tomorrow"),
    ("PHONE", "07911 123456", "my mobile is {}"),
    ("PHONE", "030 1234567", "Rufen Sie mich unter {} an"),
    ("PHONE", "+49 (0)151 23456789", "Handy {}"),
    ("PHONE", "0049 151 23456789", "Tel {}"),
    ("PHONE", "06 12 34 56 78", "Appelez le {}."),
    ("PHONE", "0612345678", "mon numéro {}"),
    ("PHONE", "612 34 56 78", "Llámame al {}"),
    ("PHONE", "(415) 555-2671", "ring {}"),
    ("PHONE", "415-555-2671", "ring {}!"),
    ("PHONE", "+39 06 6982 1234", "Rome: {}"),
    ("IBAN", "DE89370400440532013000", "Überweisen Sie auf {}"),
    ("IBAN", "DE89 3704 0044 0532 0130 00", "an {} bitte"),
    ("IBAN", "GB29 NWBK 6016 1331 9268 19", "to {} and then"),
    ("IBAN", "fr14 2004 1010 0505 0001 3m02 606", "vers {}"),
    ("IBAN", "ES91 2100 0418 4502 0005 1332", "cuenta {}."),
    ("IBAN", "NO93 8601 1117 947", "to {} today"),
    ("IBAN", "DE88370400440532013000", "my IBAN is {}"),
    ("CARD", "4111 1111 1111 1111", "card {} expires"),
    ("CARD", "4111111111111111", "{}"),
    ("CARD", "5500-0055-5555-5559", "pay with {}"),
    ("CARD", "3782 822463 10005", "pay with {}"),
    ("CARD", "6011.1111.1111.1117", "pay with {}"),
    ("CARD", "4988 4388 4388 4305", "it is {}"),
    ("CARD", "4111 1111 1111 1111", "number {} 12/27 is blocked"),
    ("CARD", "4970 1012 3456 7890", "ma carte bleue {}"),
    ("NATIONALID", "12 120380 M 123", "Sozialversicherungsnummer {}"),
    ("SSN", "536-22-1234", "my number {}"),
    ("SSN", "536 22 1234", "it's {}."),
    ("SSN", "536221234", "My SSN is {}"),
    ("NATIONALID", "12345678Z", "DNI {}"),
    ("NATIONALID", "X-1234567-L", "mi NIE {}"),
    ("NATIONALID", "1 84 12 76 451 089 46", "numéro {}"),
    ("NATIONALID", "AB 12 34 56 C", "my NI number: {}"),
    ("NATIONALID", "86 095 742 719", "Steuer-ID: {}"),
    ("IP", "192.168.17.4", "my address is {}"),
    ("IP", "2001:db8:85a3::8a2e:370:7334", "from {} today"),
    ("DOB", "12 March 1980", "I was born on {}"),
    ("DOB", "1980-03-12", "date of birth: {}"),
    ("DOB", "03/12/80", "DOB {}"),
    ("DOB", "12.03.1980", "Ich bin am {} geboren"),
    ("DOB", "12. März 1980", "geboren am {} in Ulm"),
    ("DOB", "12 mars 1980", "née le {}"),
    ("DOB", "12/03/1980", "date de naissance : {}"),
    ("DOB", "12 de marzo de 1980", "nací el {}"),
    ("DOB", "12-03-1980", "fecha de nacimiento {}"),
    ("PASSPORT", "C01X00T47", "Meine Reisepassnummer ist {}"),
    ("PASSPORT", "533401372", "passport number {}"),
    ("PASSPORT", "12AB34567", "numéro de passeport : {}"),
    ("PASSPORT", "PAA123456", "mi pasaporte es {}"),
    ("PASSPORT", "L01X00T471", "Personalausweis Nr. {}"),
    ("ACCOUNT", "12345678", "my account number is {}"),
    ("ACCOUNT", "0532013000", "Kontonummer: {}"),
    ("ACCOUNT", "0500 0130 26", "compte n° {}"),
    ("ACCOUNT", "0200051332", "el número de cuenta es {}"),
    ("CUSTOMER", "KD-4711-22", "Meine Kundennummer ist {}"),
    ("CUSTOMER", "1029384", "customer id: {}"),
    ("CUSTOMER", "C998877", "numéro client {}"),
    ("CUSTOMER", "88771", "mi número de cliente es {}"),
    ("CUSTOMER", "1234567", "MRN {}"),
    ("NAME", "John Smith", "My name is {} and I lost my card"),
    ("NAME", "john smith", "my name is {} and i lost my card"),
    ("NAME", "Ludwig van der Rohe", "Mein Name ist {}."),
    ("NAME", "Jürgen Groß", "ich heiße {}, was nun?"),
    ("NAME", "Anne-Marie d'Estaing", "je m'appelle {}"),
    ("NAME", "Anne", "Je m’appelle {} !"),
    ("NAME", "María José Núñez", "me llamo {} y quiero"),
    ("NAME", "Okafor", "Please ask Dr. {} about it"),
    ("NAME", "Müller", "Guten Tag Herr {}, danke"),
    ("NAME", "Dupont", "Mme {} a appelé"),
    ("NAME", "Jane Doe", "Hi, I am {}."),
    ("NAME", "Jane Doe", "I lost it.\nBest regards,\n{}"),
    ("NAME", "Karl", "Mit freundlichen Grüßen\n{}"),
    ("NAME", "J. R. Hartley", "Name: {}"),
    ("NAME", "Max Mustermann", "Mein Sohn heißt {}"),
    ("NAME", "Mary Poppins", "My mum's name is {}."),
    ("NAME", "Anna", "My wife {} has an account"),
    ("NAME", "Sabine", "LG {}"),
    ("SECRET", "geheim123", "pw: {}"),
    ("SECRET", "hunter2!", "my password is {}"),
    ("SECRET", "Tr0ub4dor&3", "Passwort: {}"),
    ("SECRET", "azerty99", "mon mot de passe est {}"),
    ("SECRET", "gato123", "mi contraseña es {}."),
    ("SECRET", "4711", "my PIN is {}"),
    ("SECRET", "0815", "Meine PIN lautet {}"),
    ("SECRET", "123", "CVV: {}"),
    ("SECRET", "sk-proj-abcdefghijklmnop1234", "use {} for it"),
    ("SECRET", "AKIAIOSFODNN7EXAMPLE", "key {}"),
    ("SECRET", "9f8e7d6c5b4a", "api_key={}"),
    ("SECRET", "correct", 'password: "{}"'),
)

LEFT_ALONE = (
    "Instant transfers cost 0.50 EUR, others 1,299.00 EUR or $1 250 000.",
    "Das kostet 1.299,00 € im Jahr, ab 20 000 000 Euro nichts.",
    "We are open Mon-Fri 9:00-17:30, Sat 10-14, ATMs 24/7.",
    "Geöffnet Mo–Fr 8.30–12.30 und 14.00–18.00 Uhr.",
    "Ouvert du lundi au vendredi de 8h30 à 12h15.",
    "Abierto de 8:30 a 14:15, los jueves hasta las 18:00.",
    "The report 2019-2024 was published on 12.05.2024 at 10:00.",
    "Invoice 2024-000123 of 03.04.2024, due 17.04.24, and 2024/05/06 10:30.",
    "If the account holder is told, the titular es la misma. The network is called Harbour.",
    "My son needs an account. Meine Frau ist Kundin. The file name is new.",
    "Since 1871; revised 2024-11-23, valid until 31/12/2026.",
    "Please order 100200 forms and 250 envelopes.",
    "ISO 20022 and PSD2 article 97, RFC 6962, form 1099.",
    "Version 10.2.14.3 of the app, build 1.2.3.4",
    "My name is not on the card. Mein Name ist falsch geschrieben.",
    "What is my PIN? I forgot my PIN and my password is not working.",
    "Mein Passwort ist abgelaufen, die PIN ist gesperrt.",
    "How do I change my password or get a new token?",
    "Is this account free? Which account is best for children born in 2020?",
    "A customer may open 24/7 and pay 2.5 % on 10000 francs.",
    "I am a German citizen. Ich bin Rentner. Je suis étudiant. Soy autónomo.",
    "I'm in Berlin; this is urgent. Thanks, that was helpful!",
    "@home at 5 pm: a@b, foo@localhost",
    "The passport office needs your passport and two photos.",
    "Call us at the branch. Dr. appointments are free.",
    "Rates: 3.75%, 4.125%, 0.5%; ratio 16:9; temperature -12.5",
    "1234 5678 9012 3456 is a sample that no issuer gives.",
    "std::vector<int> and a::b::c are not addresses, 12:30:45 neither.",
    "Interest for 900 000 000 is paid yearly.",
)


@pytest.mark.parametrize(("kind", "value", "frame"), FOUND, ids=[f"{kind}-{value}" for kind, value, _ in FOUND])
def test_it_is_found_whole_and_as_what_it_is(kind: str, value: str, frame: str) -> None:
    text = frame.format(value)
    assert [(found.kind, found.value) for found in DETECTOR.find(text)] == [(kind, value)]


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_is_not_personal_is_left_alone(text: str) -> None:
    assert DETECTOR.find(text) == []


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("card \uff14\uff11\uff11\uff11 1111 1111 1111", "CARD", "\uff14\uff11\uff11\uff11 1111 1111 1111"),
        ("4111\u00a01111\u202f1111\u20091111", "CARD", "4111\u00a01111\u202f1111\u20091111"),
        ("4111\u200b1111\u200b1111\u200b1111!", "CARD", "4111\u200b1111\u200b1111\u200b1111"),
        ("415\u2011555\u20132671", "PHONE", "415\u2011555\u20132671"),
        ("ann\uff20example.org", "EMAIL", "ann\uff20example.org"),
        ("٤١١١ ١١١١ ١١١١ ١١١١", "CARD", "٤١١١ ١١١١ ١١١١ ١١١١"),
    ],
)
def test_other_digits_spaces_and_invisible_characters_hide_nothing(text: str, kind: str, value: str) -> None:
    assert [(found.kind, found.value) for found in DETECTOR.find(text)] == [(kind, value)]


def test_several_kinds_in_one_text_come_in_order_and_apart() -> None:
    text = "I am Jane Doe, born 12 March 1980, jane@example.org, +44 20 7946 0958, card 4111 1111 1111 1111."
    assert [found.kind for found in DETECTOR.find(text)] == ["NAME", "DOB", "EMAIL", "PHONE", "CARD"]


def test_where_kinds_overlap_all_of_it_is_hidden_under_the_surest() -> None:
    [found] = DETECTOR.find("my account is DE89 3704 0044 0532 0130 00")
    assert (found.kind, found.value) == ("IBAN", "DE89 3704 0044 0532 0130 00")


@pytest.mark.parametrize("spans", [((0, 5), (3, 9)), ((0, 9), (3, 5)), ((3, 9), (0, 5)), ((0, 9), (0, 5))])
def test_overlapping_spans_become_their_union(spans: tuple[tuple[int, int], ...]) -> None:
    kinds = ("PHONE", "IBAN")
    found = merge_spans(PersonalSpan(kind, start, end) for kind, (start, end) in zip(kinds, spans, strict=True))
    assert found == [PersonalSpan("IBAN", 0, 9)]
    assert merge_spans([PersonalSpan("IP", 4, 6), PersonalSpan("IP", 0, 4)]) == [
        PersonalSpan("IP", 0, 4),
        PersonalSpan("IP", 4, 6),
    ]


def test_the_version_tells_of_other_regions_and_an_unknown_one_is_refused() -> None:
    assert DETECTOR.version == Detector(("GB", "DE", "FR", "ES", "US")).version
    assert DETECTOR.version != Detector(("GB",)).version
    assert Detector(("GB",)).find("ring (415) 555-2671") == []
    with pytest.raises(ValueError, match="XX"):
        Detector(("GB", "XX"))


def test_more_numbers_than_are_tried_are_hidden_all_the_same() -> None:
    numbers = [f"+44 20 7946 {number:04}" for number in range(900, 980)]
    text = "; ".join(numbers)
    assert "7946" not in redacted(text)


def redacted(text: str) -> str:
    kept, end = [], 0
    for found in DETECTOR.find(text):
        kept += [text[end : found.start], f"<{found.kind}>"]
        end = found.end
    return "".join([*kept, text[end:]])


COUNTRIES = st.sampled_from(get_countries())


@settings(max_examples=300, deadline=None, derandomize=True)
@given(country=COUNTRIES, seed=st.integers(0, 1 << 30), gap=st.sampled_from(["", " ", "-"]), lower=st.booleans())
def test_an_iban_of_every_country_is_found_however_it_is_grouped(
    country: str, seed: int, gap: str, lower: bool
) -> None:
    iban = str(IBAN.random(country, random=random.Random(seed), use_registry=False))
    written = gap.join(iban[start : start + 4] for start in range(0, len(iban), 4))
    written = written.lower() if lower else written
    [found] = find_ibans(f"an {written}, bitte")
    assert f"an {written}, bitte"[found.start : found.end] == written
    assert redacted(f"an {written}, bitte") == "an <IBAN>, bitte"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(country=COUNTRIES, seed=st.integers(0, 1 << 30), at=st.integers(4, 30), digit=st.integers(1, 9))
def test_what_fails_its_check_digits_is_an_iban_only_after_the_word(
    country: str, seed: int, at: int, digit: int
) -> None:
    iban = str(IBAN.random(country, random=random.Random(seed), use_registry=False))
    at = 4 + at % (len(iban) - 4)
    if not iban[at].isdecimal():
        return
    wrong = f"{iban[:at]}{(int(iban[at]) + digit) % 10}{iban[at + 1 :]}"
    assert list(find_ibans(f"an {wrong}, bitte")) == []
    assert list(find_ibans(f"my IBAN is {wrong}, please")) == [PersonalSpan("IBAN", 11, 11 + len(wrong))]


PIECES = st.sampled_from([frame.format(value) for _, value, frame in FOUND] + list(LEFT_ALONE))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(parts=st.lists(st.one_of(PIECES, st.text(max_size=30)), max_size=6), glue=st.sampled_from([" ", "\n", ". "]))
def test_findings_are_sorted_apart_and_verbatim_in_any_text(parts: list[str], glue: str) -> None:
    text = glue.join(parts)
    findings = DETECTOR.find(text)
    end = 0
    for found in findings:
        assert end <= found.start < found.end <= len(text)
        assert text[found.start : found.end] == found.value
        assert found.kind in KINDS
        end = found.end
    rebuilt, end = [], 0
    for found in findings:
        rebuilt += [text[end : found.start], found.value]
        end = found.end
    assert "".join([*rebuilt, text[end:]]) == text


@settings(max_examples=150, deadline=None, derandomize=True)
@given(first=st.sampled_from(FOUND), second=st.sampled_from(FOUND))
def test_no_value_is_left_once_its_text_is_redacted(first: tuple[str, str, str], second: tuple[str, str, str]) -> None:
    text = "\n".join(frame.format(value) for _, value, frame in (first, second))
    left = redacted(text)
    assert first[1] not in left
    assert second[1] not in left


ADVERSARIAL = {
    "digits": "1" * 3000,
    "digit groups": "1 " * 1500,
    "cards": "4111 1111 1111 1111 " * 150,
    "almost cards": "4111 1111 1111 1112 " * 150,
    "parentheses": "1 (1 (" * 500,
    "phones": "+44 20 7946 0958 " * 176,
    "dots": "1." * 1500,
    "ats": "@" * 3000,
    "local parts": "a." * 1480 + "@" + "b" * 39,
    "domains": "a@" + "b-." * 999,
    "one domain": "a@" + "b" * 2998,
    "iban starts": "DE89" * 750,
    "iban words": "iban DE89 " * 300,
    "colons": "a:" * 1500,
    "hex": ":" * 3000,
    "my name": "my name is " * 272,
    "names": "Mr. " * 750,
    "titles": "My name is " + "Ann " * 747,
    "births": "born 12.03.1980 " * 187,
    "links": "account " + "number is " * 299,
    "customers": "customer " * 333,
    "secrets": "password is " * 250,
    "equals": "password" + "=" * 2992,
    "jwt": "eyJ" * 1000,
    "private keys": "-----BEGIN PRIVATE KEY-----" * 111,
    "spaces": "Dr." + " " * 2997,
    "closings": "regards,\n" * 333,
    "invisible": "\u200b" * 3000,
    "quotes": "pin '" * 600,
}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_no_text_takes_pathological_work(name: str) -> None:
    """Backtracking costs thousands of times a clean text of the same length; a factor of 100 tells it from noise."""

    def spent_s(text: str) -> float:
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            DETECTOR.find(text)
            best = min(best, time.process_time() - started)
        return best

    clean = ("The branch in the old town opens at 9 and closes at 17:30, except on 24 December. " * 40)[:3000]
    assert spent_s(ADVERSARIAL[name][:3000]) < 100 * spent_s(clean)

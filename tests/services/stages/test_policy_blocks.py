"""What a block finds, and what it must not take for a promise or for advice."""

from __future__ import annotations

import pytest

from tidegate.schemas import Answer, Question
from tidegate.services.policies.content_rules import legal_advice, medical_advice, speculative_financial_promises

QUESTION = Question(text="?", language="en", intent="savings", intent_confidence=0.9)

PROMISES = [
    "We guarantee a return of 7%.",
    "This fund offers guaranteed returns.",
    "GUARANTEED 4.5% annual returns!",
    "Your profit is guaranteed.",
    "A risk-free investment with a sure-fire profit.",
    "It is a risk\u00adfree profit.",
    "The share price will definitely rise.",
    "Our shares are bound to go up.",
    "You cannot lose money with this bond.",
    "You can\u2019t lose.",
    "There is no risk of loss.",
    "This will double your savings.",
    "No doubt: guaranteed profits.",
    "No fees, guaranteed returns.",
    "Not only guaranteed returns but free coffee too.",
    "Undoubtedly will grow.",
    "Returns are not taxed. They are guaranteed profits.",
    "Wir garantieren Ihnen eine Rendite von 5,5 %.",
    "Ein sicherer Gewinn für Sie.",
    "Mit Gewinngarantie.",
    "Der Kurs wird mit Sicherheit steigen.",
    "Der Kurs steigt garantiert.",
    "Eine risikofreie Geldanlage.",
    "Sie können dabei nichts verlieren.",
    "Kein Verlustrisiko.",
    "Un rendement garanti de 6 %.",
    "Nous garantissons un bénéfice.",
    "L'action va certainement monter.",
    "Le cours augmentera à coup sûr.",
    "Vous ne pouvez pas perdre.",
    "Un placement sans aucun risque.",
    "Una rentabilidad garantizada del 6 %.",
    "Garantizamos un beneficio.",
    "Ganancias seguras para todos.",
    "Las acciones subirán con seguridad.",
    "Seguro que el precio subirá.",
    "Las acciones van a subir sin duda.",
    "No puede perder dinero.",
    "Una inversión sin riesgo.",
]
PLAIN = [
    "Returns are not guaranteed.",
    "We cannot guarantee any return.",
    "Past performance is no guarantee of future returns.",
    "There is no such thing as a guaranteed profit.",
    "Nobody can guarantee you a profit.",
    "The value may rise or fall, and you may lose money.",
    "Your deposit is guaranteed up to 85,000 pounds.",
    "The guaranteed rate is 4.1% for 12 months.",
    "We keep the deposit guarantee. Returns are paid in April.",
    "Certain fees reduce your gains.",
    "You will definitely receive a letter.",
    "You cannot lose your card number if you note it down.",
    "The scheme guarantees deposits, not returns.",
    "Eine Rendite ist nicht garantiert.",
    "Es gibt keine garantierte Rendite.",
    "Der Kurs kann steigen oder fallen.",
    "Ihr Geld wird sicher verwahrt.",
    "Die Einlagen sind bis 100.000 Euro garantiert.",
    "Les rendements ne sont pas garantis.",
    "Aucun rendement garanti n'est proposé.",
    "Les dépôts sont garantis jusqu'à 100 000 euros.",
    "La rentabilidad no está garantizada.",
    "Ofrecemos productos sin rentabilidad garantizada.",
    "Puede con seguridad aumentar su límite en la aplicación.",
    "",
]


@pytest.mark.parametrize("text", PROMISES)
def test_a_promise_of_gain_is_found(text: str) -> None:
    assert speculative_financial_promises(QUESTION, Answer(text=text))


@pytest.mark.parametrize("text", PLAIN)
def test_what_promises_no_gain_passes(text: str) -> None:
    assert not speculative_financial_promises(QUESTION, Answer(text=text))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Take two tablets of 200 mg every four hours.", True),
        ("You should stop taking your antibiotics.", True),
        ("You probably have diabetes.", True),
        ("Nehmen Sie zweimal täglich 400 mg.", True),
        ("Prenez 500 mg matin et soir.", True),
        ("Tome 500 mg cada ocho horas.", True),
        ("Usted padece diabetes.", True),
        ("You should not stop. Ask a doctor about the dose.", False),
        ("Never take more than 200 mg without asking a doctor.", False),
        ("A leaflet on diabetes is at the counter.", False),
        ("You have an account.", False),
    ],
)
def test_medical_advice_is_found_and_information_is_not(text: str, found: bool) -> None:
    assert bool(medical_advice(QUESTION, Answer(text=text))) is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("You should sue your landlord.", True),
        ("You will win your case.", True),
        ("Sie sollten Ihren Vermieter verklagen.", True),
        ("Sie werden den Prozess gewinnen.", True),
        ("Vous devriez porter plainte.", True),
        ("Debería presentar una demanda.", True),
        ("You should not sue anyone before you have seen a lawyer.", False),
        ("The period of notice is 14 days.", False),
        ("You should bring your passport.", False),
    ],
)
def test_legal_advice_is_found_and_information_is_not(text: str, found: bool) -> None:
    assert bool(legal_advice(QUESTION, Answer(text=text))) is found

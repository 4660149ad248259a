"""The sentence for a person who gets no answer: one per reason of `Withheld` and language.

Next: schemas/refusals.py, for clients whose request is not accepted."""

from __future__ import annotations

from collections.abc import Sequence

LANGUAGES = ("en", "de", "fr", "es")

REFUSAL_TEXTS: dict[str, tuple[str, str, str, str]] = {
    "unsupported_language": (
        "Sorry, I cannot help in this language yet. I speak: {languages}.",
        "Leider kann ich in dieser Sprache noch nicht helfen. Ich spreche: {languages}.",
        "Désolé, je ne peux pas encore aider dans cette langue. Je parle : {languages}.",
        "Lo siento, todavía no puedo ayudar en este idioma. Hablo: {languages}.",
    ),
    "unsafe": (
        "Sorry, I cannot help with this request.",
        "Bei dieser Anfrage kann ich leider nicht helfen.",
        "Désolé, je ne peux pas aider pour cette demande.",
        "Lo siento, no puedo ayudar con esta petición.",
    ),
    "unscreenable": (
        "Sorry, I cannot read this request. Please put it in other words.",
        "Diese Anfrage kann ich leider nicht lesen. Bitte formulieren Sie sie anders.",
        "Désolé, je ne peux pas lire cette demande. Veuillez la reformuler.",
        "Lo siento, no puedo leer esta petición. Formúlela de otra manera, por favor.",
    ),
    "forged_token": (
        "Sorry, this request holds a reference that is not yours. Please write the value itself.",
        "Diese Anfrage enthält leider einen Verweis, der nicht Ihnen gehört. Bitte schreiben Sie den Wert selbst.",
        "Désolé, cette demande contient une référence qui n'est pas la vôtre. Veuillez écrire la valeur elle-même.",
        "Lo siento, esta petición contiene una referencia que no es suya. Escriba el valor mismo, por favor.",
    ),
    "unclear": (
        "I am not sure what you mean. Could you ask that again in one full sentence?",
        "Ich bin nicht sicher, was Sie meinen. Können Sie das noch einmal in einem ganzen Satz fragen?",
        "Je ne suis pas sûr de comprendre. Pouvez-vous reposer la question en une phrase complète ?",
        "No estoy seguro de entenderle. ¿Puede repetir la pregunta en una frase completa?",
    ),
    "policy_block": (
        "Sorry, I may not give an answer to this. Please speak to a member of staff.",
        "Darauf darf ich leider keine Antwort geben. Bitte sprechen Sie mit jemandem vom Personal.",
        "Désolé, je n'ai pas le droit de répondre à cela. Veuillez vous adresser à un membre du personnel.",
        "Lo siento, no me está permitido responder a esto. Consulte, por favor, con un miembro del personal.",
    ),
    "abstained": (
        "Sorry, I have no answer to this that I can vouch for. Please speak to a member of staff.",
        "Darauf habe ich keine Antwort, für die ich einstehen kann. Bitte sprechen Sie mit jemandem vom Personal.",
        "Désolé, je n'ai pas de réponse dont je puisse répondre. Veuillez vous adresser à un membre du personnel.",
        "Lo siento, no tengo una respuesta que pueda garantizar. Consulte, por favor, con un miembro del personal.",
    ),
    "hub_refused": (
        "Sorry, I may not pass this question on, and cannot answer it by myself. Please speak to a member of staff.",
        "Diese Frage darf ich leider nicht weitergeben und kann sie allein nicht beantworten. Bitte sprechen Sie mit "
        "jemandem vom Personal.",
        "Désolé, je ne peux ni transmettre cette question ni y répondre seul. Veuillez vous adresser à un membre du "
        "personnel.",
        "Lo siento, no puedo transmitir esta pregunta ni responderla por mí mismo. Consulte, por favor, con un miembro "
        "del personal.",
    ),
    "cloud_unreachable": (
        "Sorry, what I would need to answer this cannot be reached now. Please try again later.",
        "Was ich für diese Antwort bräuchte, ist gerade leider nicht erreichbar. Bitte versuchen Sie es später noch "
        "einmal.",
        "Désolé, ce qu'il me faudrait pour répondre n'est pas joignable en ce moment. Veuillez réessayer plus tard.",
        "Lo siento, lo que necesitaría para responder no está disponible ahora. Inténtelo de nuevo más tarde.",
    ),
    "deadline": (
        "Sorry, I found no answer in the time that you gave me. Please try again.",
        "In der vorgegebenen Zeit habe ich leider keine Antwort gefunden. Bitte versuchen Sie es noch einmal.",
        "Désolé, je n'ai pas trouvé de réponse dans le temps imparti. Veuillez réessayer.",
        "Lo siento, no he encontrado una respuesta en el tiempo indicado. Inténtelo de nuevo.",
    ),
    "closed": (
        "Sorry, I cannot answer questions until I have been brought up to date. Please speak to a member of staff.",
        "Ich kann leider keine Fragen beantworten, bis ich wieder auf dem neuesten Stand bin. Bitte sprechen Sie mit "
        "jemandem vom Personal.",
        "Désolé, je ne peux pas répondre tant que je n'ai pas été mis à jour. Veuillez vous adresser à un membre du "
        "personnel.",
        "Lo siento, no puedo responder hasta que me actualicen. Consulte, por favor, con un miembro del personal.",
    ),
    "evidence_only": (
        "Sorry, I may only quote our documents at the moment, and none of them says this. Please speak to a member of "
        "staff.",
        "Ich darf im Moment nur aus unseren Unterlagen zitieren, und darin steht dazu leider nichts. Bitte sprechen "
        "Sie mit jemandem vom Personal.",
        "Désolé, je ne peux que citer nos documents en ce moment, et aucun ne répond à cela. Veuillez vous adresser à "
        "un membre du personnel.",
        "Lo siento, por ahora solo puedo citar nuestros documentos y ninguno responde a esto. Consulte, por favor, con "
        "un miembro del personal.",
    ),
}

SUGGESTIONS_TEXT = (
    "The passages below may be related, but I cannot vouch for them.",
    "Die folgenden Stellen könnten damit zu tun haben, ich kann aber nicht für sie einstehen.",
    "Les passages ci-dessous peuvent être en rapport, mais je ne peux pas m'en porter garant.",
    "Los pasajes siguientes pueden estar relacionados, pero no puedo responder por ellos.",
)


def suggestions_text(language: str) -> str:
    """The sentence that says what suggestions are, in English where `language` is none of ours."""
    return SUGGESTIONS_TEXT[LANGUAGES.index(language) if language in LANGUAGES else 0]


def refusal_text(reason: str, language: str, languages: Sequence[str] = LANGUAGES) -> str:
    """The sentence for a reason of `Withheld`, in English where `language` is none of ours. Raises `KeyError`.

    `languages` are those that the site answers in.
    """
    texts = REFUSAL_TEXTS[reason]
    text = texts[LANGUAGES.index(language)] if language in LANGUAGES else texts[0]
    return text.format(languages=", ".join(languages))

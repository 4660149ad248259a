"""A little of the same in German, French and Spanish: things with their articles, and what is said of them."""

from __future__ import annotations

from tidegate.infra.models.data.domains.words import listed

GERMAN = listed(
    """das Sparkonto, die Jahreskarte, der Parkplatz, die Führung, das Doppelzimmer, der Sprachkurs, die Fahrkarte,
der Lesesaal, die Sauna, das Schließfach, die Lieferung, der Mietwagen, die Werkstatt, das Museum, der Ausweis""",
    ",",
)
FRENCH = listed(
    """la carte, le compte, la visite guidée, le parking, la chambre double, le cours de langue, le billet,
 le musée,
la salle de lecture, le coffre, la livraison, la piscine, le bureau, le vestiaire, la consigne""",
    ",",
)
SPANISH = listed(
    """la tarjeta, la cuenta, la visita guiada, el aparcamiento, la habitación doble, el curso, el billete,
 el museo,
la sala de lectura, la caja fuerte, la entrega, la piscina, la oficina, el guardarropa, la consigna""",
    ",",
)

TEXT = """
@ german price money
S Der Preis für {e} beträgt {v}.
S {e} kostet {v}.
Q Wie viel kostet {e}?
Q Was ist der Preis für {e}?
@ german hours hours
S {e} ist von {v} geöffnet.
S Die Öffnungszeiten für {e} sind {v}.
Q Wann ist {e} geöffnet?
Q Was sind die Öffnungszeiten für {e}?
@ german contact person
S Für {e} ist {v} zuständig.
Q Wer ist für {e} zuständig?
Q An wen wende ich mich wegen {e}?
@ french price money
S Le prix de {e} est de {v}.
S {e} coûte {v}.
Q Combien coûte {e} ?
Q Quel est le prix de {e} ?
@ french hours hours
S {e} est ouvert de {v}.
S Les horaires de {e} sont {v}.
Q Quand {e} est-il ouvert ?
Q Quels sont les horaires de {e} ?
@ spanish price money
S El precio de {e} es de {v}.
S {e} cuesta {v}.
Q ¿Cuánto cuesta {e}?
Q ¿Cuál es el precio de {e}?
@ spanish hours hours
S {e} está abierto de {v}.
S El horario de {e} es {v}.
Q ¿Cuándo está abierto {e}?
Q ¿Cuál es el horario de {e}?
"""

"""Packs that are never trained on: their things, attributes and templates are their own."""

from __future__ import annotations

OBSERVATORY = (
    "main telescope, dome, spectrograph, stargazing evening, meteor camera, night assistant, radio dish, eclipse trip, "
    "darkroom, star atlas, solar filter, tracking motor",
    """
@ aperture size
S The {e} has an aperture of {v}.
S Light enters the {e} through an opening of {v}.
P Its aperture is {v}.
Q What aperture does the {e} have?
Q How wide is the aperture of the {e}?
@ exposure span
S One exposure with the {e} runs for {v}.
S Exposures of {v} are usual at the {e}.
P One exposure runs for {v}.
Q How long does an exposure with the {e} run?
Q Which exposures are usual at the {e}?
@ calibration steps
S Calibrating the {e} means to {v}.
S For the calibration of the {e} the observer has to {v}.
P For its calibration, {v}.
Q How is the {e} calibrated?
Q What does calibrating the {e} mean?
@ altitude number
S The {e} stands {v} metres above the sea.
S At {v} metres of altitude stands the {e}.
Q At which altitude does the {e} stand?
Q How many metres above the sea is the {e}?
@ sponsor person
S {v} sponsors the {e}.
S The {e} was donated by {v}.
P It was donated by {v}.
Q Who sponsors the {e}?
Q Which donor gave the {e}?
@ magnification number
S The {e} magnifies {v} times.
S A magnification of {v} is reached by the {e}.
P It magnifies {v} times.
Q How many times does the {e} magnify?
Q What magnification does the {e} reach?
""",
)
VINEYARD = (
    "hillside Riesling, cellar tour, harvest day, oak barrel, grape press, rosé, tasting flight, vine sponsorship, "
    "bottling line, sparkling wine, picnic basket, tractor ride",
    """
@ alcohol percent
S The {e} contains {v} alcohol.
S Alcohol in the {e} is {v}.
P It contains {v} alcohol.
Q How much alcohol does the {e} contain?
Q What is the alcohol in the {e}?
@ vintage date
S The {e} was first made in {v}.
S {v} was the first vintage of the {e}.
P It was first made in {v}.
Q When was the {e} first made?
Q What was the first vintage of the {e}?
@ ageing span
S The {e} ages for {v} before it is sold.
S Ageing the {e} needs {v}.
P It ages for {v}.
Q How long does the {e} age?
Q How much ageing does the {e} need?
@ tasting money
S Tasting the {e} costs {v} a head.
S Guests taste the {e} for {v}.
P Tasting costs {v} a head.
Q What does tasting the {e} cost?
Q For how much can guests taste the {e}?
@ winemaker person
S The winemaker behind the {e} is {v}.
S {v} makes the {e} as our winemaker.
P The winemaker is {v}.
Q Who is the winemaker behind the {e}?
Q Which winemaker makes the {e}?
@ serving heat
S Serve the {e} at {v}.
S {v} is right for serving the {e}.
P Serve it at {v}.
Q At how many degrees do you serve the {e}?
Q What is right for serving the {e}?
@ cleaning steps
S When cleaning the {e}, {v}.
S After the harvest the {e} is cleaned: {v}.
P When cleaning it, {v}.
Q How is the {e} cleaned?
Q What do I do when cleaning the {e}?
""",
)
SKI = (
    "north slope, chairlift, ski school, snow park, toboggan run, mountain hut, rental boots, avalanche course, "
    "gondola, half-day pass, ski depot, night slope",
    """
@ snow size
S Snow on the {e} is {v} deep.
S The {e} has a snow depth of {v}.
P The snow is {v} deep.
Q How deep is the snow on the {e}?
Q What snow depth does the {e} have?
@ length size
S From top to bottom the {e} is {v} long.
S The length of the {e} comes to {v}.
P It is {v} long.
Q How long is the {e} from top to bottom?
Q What length does the {e} come to?
@ last ride clock
S The last ride on the {e} is at {v}.
S At {v} the {e} runs for the last time.
P The last ride is at {v}.
Q When is the last ride on the {e}?
Q At what time does the {e} run for the last time?
@ rescue phone
S Rescue for the {e} answers {v}.
S After an accident on the {e} dial {v}.
P After an accident dial {v}.
Q What do I dial after an accident on the {e}?
Q Which number answers for rescue on the {e}?
@ instructor person
S The instructor for the {e} is {v}.
S {v} teaches at the {e}.
P {v} teaches there.
Q Who teaches at the {e}?
Q Who is the instructor for the {e}?
@ surcharge money
S At Christmas the surcharge for the {e} is {v}.
S The {e} carries a Christmas surcharge of {v}.
P The Christmas surcharge is {v}.
Q What surcharge is there for the {e} at Christmas?
Q How high is the Christmas surcharge of the {e}?
@ boarding steps
S Boarding the {e}, {v}.
S Before boarding the {e}, skiers {v}.
Q What do skiers do before boarding the {e}?
Q How do I board the {e}?
""",
)
LAUNDRY = (
    "wool programme, ironing service, dryer, wedding dress, duvet, stain removal, shirt bundle, pickup round, leather "
    "jacket, uniform contract, carpet cleaning, starch",
    """
@ spin number
S The {e} spins at {v} turns a minute.
S Spinning the {e} is done at {v} turns.
P It spins at {v} turns.
Q At how many turns does the {e} spin?
Q How fast is the {e} spun?
@ detergent thing
S Our detergent for the {e} is {v}.
S The {e} is washed with {v}.
P It is washed with {v}.
Q Which detergent is used for the {e}?
Q What is the {e} washed with?
@ turnaround span
S The {e} comes back clean after {v}.
S Turnaround for the {e} is {v}.
P It comes back clean after {v}.
Q What is the turnaround for the {e}?
Q After how long does the {e} come back clean?
@ complaint date
S Complaints about the {e} are heard until {v}.
S Until {v} we listen to complaints about the {e}.
P Complaints are heard until {v}.
Q Until when are complaints about the {e} heard?
Q How long do you listen to complaints about the {e}?
@ folding steps
S Folding the {e} works like this: {v}.
S To fold the {e} properly, {v}.
P To fold it properly, {v}.
Q How is the {e} folded properly?
Q How does folding the {e} work?
@ shrinkage percent
S The {e} shrinks by {v}.
S Shrinkage of the {e} stays under {v}.
P It shrinks by {v}.
Q By how much does the {e} shrink?
Q What shrinkage does the {e} have?
@ ironer person
S {v} irons the {e}.
S The {e} is ironed by {v}.
P It is ironed by {v}.
Q Who irons the {e}?
Q By whom is the {e} ironed?
""",
)
PACKS = {"observatory": OBSERVATORY, "vineyard": VINEYARD, "ski resort": SKI, "laundry": LAUNDRY}

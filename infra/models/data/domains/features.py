"""More that can be said of a thing, in the notation of `attributes.py`: what it is, where, by whom, how it is used."""

from __future__ import annotations

TEXT = """
@ since date
S The {e} has been in use since {v}.
S We introduced the {e} in {v}.
S Since {v} there has been the {e}.
P It has been in use since {v}.
Q Since when is the {e} in use?
Q When was the {e} introduced?
@ age age
S You must be at least {v} to use the {e}.
S The minimum age for the {e} is {v}.
S The {e} is for people from {v} on.
P The minimum age is {v}.
P You must be at least {v}.
Q How old must I be for the {e}?
Q What is the minimum age for the {e}?
Q From what age can children use the {e}?
@ documents papers
S To apply for the {e} you need {v}.
S Bring {v} for the {e}.
S The {e} requires {v}.
P You need {v}.
P Bring {v}.
Q Which documents do I need for the {e}?
Q What should I bring for the {e}?
Q What papers does the {e} require?
@ phone phone
S For help with the {e} call {v}.
S The {e} can be reached under {v}.
S The telephone number of the {e} is {v}.
P Call {v}.
P The number is {v}.
Q Which number do I call about the {e}?
Q What is the telephone number of the {e}?
Q How can I reach the {e} by phone?
@ mail mail
S Write to {v} about the {e}.
S Questions about the {e} go to {v}.
S The address for the {e} is {v}.
P Write to {v}.
Q What is the email address for the {e}?
Q Where do I write to about the {e}?
@ contact person
S {v} is responsible for the {e}.
S Ask {v} about the {e}.
S The {e} is looked after by {v}.
S The person in charge of the {e} is {v}.
P {v} is responsible for it.
P It is looked after by {v}.
Q Who is responsible for the {e}?
Q Who looks after the {e}?
Q Who can help me with the {e}?
Q Who is in charge of the {e}?
@ location location
S The {e} is at {v}.
S You find the {e} at {v}.
S Collect the {e} from {v}.
S The {e} can be found at {v}.
P You find it at {v}.
P It is at {v}.
Q Where is the {e}?
Q Where do I find the {e}?
Q At what place is the {e}?
@ capacity number
S The {e} holds {v} people.
S Up to {v} people can use the {e}.
S There is room for {v} people in the {e}.
P It holds {v} people.
P There is room for {v} people.
Q How many people fit in the {e}?
Q How many people can use the {e}?
Q What is the capacity of the {e}?
@ count number
S There are {v} units of the {e}.
S The {e} comes in packs of {v}.
S We have {v} of the {e} in stock.
P There are {v} of them.
P We have {v} in stock.
Q How many of the {e} are there?
Q How many units of the {e} do you have?
@ weight weight
S The {e} weighs {v}.
S The {e} may weigh at most {v}.
P It weighs {v}.
P The weight is {v}.
Q How heavy is the {e}?
Q What does the {e} weigh?
Q How heavy may the {e} be?
@ size size
S The {e} measures {v}.
S The size of the {e} is {v}.
P It measures {v}.
Q How big is the {e}?
Q What is the size of the {e}?
@ temperature heat
S The {e} is kept at {v}.
S Keep the {e} at {v}.
S The temperature of the {e} is {v}.
P It is kept at {v}.
Q At what temperature is the {e} kept?
Q How warm is the {e}?
@ code code
S The reference of the {e} is {v}.
S Quote {v} when you ask about the {e}.
S The {e} has the number {v}.
P The reference is {v}.
P It has the number {v}.
Q What is the reference of the {e}?
Q Which number does the {e} have?
Q What code do I quote for the {e}?
@ colour colour
S The {e} is {v}.
S The {e} is marked in {v}.
P The colour is {v}.
Q What colour is the {e}?
Q In which colour is the {e} marked?
@ language language
S The {e} is offered in {v}.
S The {e} is available in {v}.
P It is offered in {v}.
Q In which languages is the {e} offered?
Q What languages is there for the {e}?
@ named name
S The {e} is called {v}.
S The name of the {e} is {v}.
S {v} is the name of the {e}.
P It is called {v}.
Q What is the name of the {e}?
Q What is the {e} called?
@ maker name
S The {e} is made by {v}.
S {v} supplies the {e}.
P It is made by {v}.
Q Who makes the {e}?
Q Which company supplies the {e}?
@ includes thing
S The {e} includes {v}.
S Part of the {e} is {v}.
S {v} comes with the {e}.
P It includes {v}.
Q What does the {e} include?
Q What is part of the {e}?
Q What comes with the {e}?
@ excludes thing
S The {e} does not cover {v}.
S Not included in the {e} is {v}.
P It does not cover {v}.
Q What does the {e} not cover?
Q What is not included in the {e}?
@ cancel steps
S To cancel the {e}, {v}.
S Whoever wants to cancel the {e} must {v}.
S The {e} is cancelled if you {v}.
P To cancel it, {v}.
Q How do I cancel the {e}?
Q How can I stop the {e}?
Q I want to end my {e}, what must I do?
@ apply steps
S To apply for the {e}, {v}.
S If you want the {e}, {v}.
S You get the {e} when you {v}.
P To get it, {v}.
Q How do I apply for the {e}?
Q How can I get the {e}?
Q What must I do to get the {e}?
@ fault steps
S If the {e} does not work, {v}.
S When the {e} fails, {v}.
S In case of trouble with the {e}, {v}.
P If it fails, {v}.
P If something is wrong, {v}.
Q What do I do if the {e} does not work?
Q My {e} is broken, what now?
Q What should I do when the {e} fails?
@ use steps
S To use the {e}, {v}.
S Before you use the {e}, {v}.
S Use of the {e} is simple: {v}.
P Before use, {v}.
Q How do I use the {e}?
Q What must I do before I use the {e}?
@ lost steps
S If the {e} is lost or stolen, {v}.
S Whoever loses the {e} should {v}.
P If it is stolen, {v}.
Q My {e} was stolen, what should I do?
Q What do I do if I lose the {e}?
@ change steps
S To change the {e}, {v}.
S The {e} can be changed: {v}.
P To change it, {v}.
Q How do I change the {e}?
Q Can the {e} be changed?
@ permission thing
S With the {e} you may use {v}.
S The {e} gives access to {v}.
P It gives access to {v}.
Q What may I use with the {e}?
Q What does the {e} give access to?
@ reason action
S The {e} is there to {v}.
S We use the {e} to {v}.
P Its purpose is to {v}.
Q What is the {e} for?
Q Why is there the {e}?
@ prohibited action
S It is forbidden to {v} with the {e}.
S Nobody may {v} near the {e}.
P Nobody may {v} there.
Q What is forbidden with the {e}?
Q What is not allowed near the {e}?
"""

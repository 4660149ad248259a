"""What can be said of a thing in the training domains: how it is stated and how it is asked for.

`@` names an attribute and the maker of its value; `S` states it of {e}; `P` states it where the text has just named
{e}; `Q` asks. Every question of an attribute is answered by every statement of it.
"""

from __future__ import annotations

TEXT = """
@ price money
S The {e} costs {v}.
S You pay {v} for the {e}.
S The price of the {e} is {v}.
S We charge {v} for the {e}.
S {v} is what the {e} costs.
P It costs {v}.
P The price is {v}.
P We charge {v} for it.
Q How much does the {e} cost?
Q What is the price of the {e}?
Q What do I pay for the {e}?
Q What does the {e} cost?
Q How expensive is the {e}?
@ monthly fee money
S The monthly fee for the {e} is {v}.
S The {e} has a monthly fee of {v}.
S Every month we take {v} for the {e}.
S The {e} costs {v} a month.
P The monthly fee is {v}.
P It costs {v} a month.
Q What is the monthly fee for the {e}?
Q How much is the {e} per month?
Q What does the {e} cost each month?
Q Is there a monthly fee for the {e}?
@ deposit money
S A deposit of {v} is taken for the {e}.
S For the {e} we ask for a deposit of {v}.
S The deposit for the {e} is {v}.
P A deposit of {v} is taken.
P The deposit is {v} and is returned at the end.
Q How much is the deposit for the {e}?
Q What deposit do you take for the {e}?
Q Do I have to leave a deposit for the {e}?
@ late fee money
S Whoever returns the {e} late pays {v}.
S A late fee of {v} is due for the {e}.
S If the {e} comes back late, we charge {v}.
P Returned late, it costs {v} more.
P The late fee is {v}.
Q What happens if I return the {e} late?
Q How much is the late fee for the {e}?
Q What is the charge if the {e} is late?
@ replacement money
S Replacing the {e} costs {v}.
S A replacement for the {e} is {v}.
S A lost {e} is replaced for {v}.
P A replacement costs {v}.
P If it is lost, a new one costs {v}.
Q What does it cost to replace the {e}?
Q I lost my {e}, how much is a new one?
Q How much is a replacement {e}?
@ daily limit money
S The daily limit of the {e} is {v}.
S With the {e} you can spend up to {v} a day.
S The {e} is limited to {v} per day.
S No more than {v} a day can be used with the {e}.
P The daily limit is {v}.
P At most {v} a day is possible.
Q What is the daily limit of the {e}?
Q How much can I use the {e} for per day?
Q What is the most I can spend in a day with the {e}?
@ minimum money
S The {e} starts at a minimum of {v}.
S The minimum for the {e} is {v}.
S You need at least {v} for the {e}.
P The minimum is {v}.
P At least {v} is needed.
Q What is the minimum for the {e}?
Q How much do I need at least for the {e}?
Q From what amount can I get the {e}?
@ rate percent
S The {e} carries a rate of {v}.
S The interest rate on the {e} is {v}.
S A rate of {v} applies to the {e}.
P The rate is {v}.
P It pays {v} a year.
Q What is the rate of the {e}?
Q Which interest rate applies to the {e}?
Q How much interest does the {e} have?
@ discount percent
S Members get {v} off the {e}.
S A discount of {v} is given on the {e}.
S The {e} is {v} cheaper for students.
P Members get {v} off.
P There is a discount of {v}.
Q What discount is there on the {e}?
Q How much cheaper is the {e} for members?
Q Do students pay less for the {e}?
@ opening hours hours
S The {e} is open from {v}.
S The {e} is open {v}.
S Opening hours of the {e}: {v}.
S You can use the {e} from {v}.
P It is open from {v}.
P The opening hours are {v}.
Q When is the {e} open?
Q What are the opening hours of the {e}?
Q At what time can I use the {e}?
Q How long is the {e} open?
@ opening clock
S The {e} opens at {v}.
S From {v} on, the {e} is open.
S We open the {e} at {v}.
P It opens at {v}.
Q When does the {e} open?
Q At what time does the {e} open?
Q From when is the {e} open?
@ closing clock
S The {e} closes at {v}.
S The {e} shuts at {v}.
S Until {v} the {e} is open.
P It closes at {v}.
P It shuts at {v}.
Q When does the {e} close?
Q Until when is the {e} open?
Q At what time does the {e} shut?
@ start clock
S The {e} begins at {v}.
S The {e} starts at {v}.
P It begins at {v}.
P We start at {v}.
Q When does the {e} begin?
Q At what time does the {e} start?
Q What is the starting time of the {e}?
@ weekday day
S The {e} takes place on {v}.
S The {e} is available on {v}.
S On {v} we offer the {e}.
P It takes place on {v}.
Q On which day is the {e}?
Q Which days is the {e} available?
Q On what day can I get the {e}?
@ closed day
S The {e} is closed on {v}.
S There is no {e} on {v}.
P It is closed on {v}.
Q On which day is the {e} closed?
Q When is there no {e}?
@ duration span
S The {e} takes {v}.
S The {e} lasts {v}.
S Allow {v} for the {e}.
P It takes {v}.
P Allow {v}.
Q How long does the {e} take?
Q How long does the {e} last?
Q How much time do I need for the {e}?
@ processing span
S A request for the {e} is processed within {v}.
S The {e} is ready after {v}.
S You receive the {e} within {v}.
S It takes {v} until the {e} arrives.
P It is ready after {v}.
P You receive it within {v}.
Q When will my {e} be ready?
Q How long until I receive the {e}?
Q How long must I wait for the {e}?
Q What is the processing time of the {e}?
@ notice span
S The notice period of the {e} is {v}.
S The {e} can be ended with {v} notice.
S Notice of {v} must be given for the {e}.
P The notice period is {v}.
P Notice of {v} must be given.
Q What is the notice period of the {e}?
Q How much notice must I give for the {e}?
Q How long in advance do I have to end the {e}?
@ validity span
S The {e} is valid for {v}.
S The {e} expires after {v}.
S The {e} can be used for {v}.
P It is valid for {v}.
P It expires after {v}.
Q How long is the {e} valid?
Q When does the {e} expire?
Q For how long can I use the {e}?
@ warranty span
S The {e} comes with a warranty of {v}.
S The warranty on the {e} runs for {v}.
S We guarantee the {e} for {v}.
P The warranty is {v}.
Q How long is the warranty on the {e}?
Q What guarantee do I get with the {e}?
@ storage span
S Records of the {e} are kept for {v}.
S We keep the {e} for {v}.
S The {e} is deleted after {v}.
P It is kept for {v}.
P We delete it after {v}.
Q How long do you keep the {e}?
Q For how long is the {e} stored?
Q When is the {e} deleted?
@ return span
S The {e} may be returned within {v}.
S You have {v} to send the {e} back.
P It may be returned within {v}.
Q How long can I return the {e}?
Q Within what time may the {e} be sent back?
@ interval span
S The {e} is checked every {v}.
S Every {v} the {e} is inspected.
P It is inspected every {v}.
Q How often is the {e} checked?
Q How often is the {e} inspected?
@ deadline date
S Applications for the {e} close on {v}.
S The deadline for the {e} is {v}.
S Apply for the {e} by {v}.
P The deadline is {v}.
P Applications close on {v}.
Q What is the deadline for the {e}?
Q Until when can I apply for the {e}?
Q By what date must I apply for the {e}?
"""

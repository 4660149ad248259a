"""Fields to extract and how texts state them, for training and, with other names and phrases, held out.

One field a line: `name type: phrase; phrase`; a boolean's phrase is `stated when true/stated when false`.
"""

from __future__ import annotations

TRAINING = """
city string: in {v}; to {v}; from {v}; city: {v}; the city is {v}
customer string: for {v}; customer: {v}; the customer is {v}; on behalf of {v}
amount number: amount {v}; for {v}; amount: {v}; the amount is {v}; a total of {v}
price number: at {v} each; price: {v}; the price is {v}; costs {v}
quantity integer: {v} pieces; quantity: {v}; {v} units; {v} of them
guests integer: for {v} guests; {v} people; guests: {v}
nights integer: {v} nights; for {v} nights; nights: {v}
date date: on {v}; date: {v}; dated {v}; the date is {v}
due date: due on {v}; payable by {v}; due: {v}
arrival date: arriving on {v}; arrival: {v}; we arrive on {v}
departure date: leaving on {v}; departure: {v}; until {v}
reference string: reference {v}; ref. {v}; reference: {v}; our number is {v}
phone string: phone {v}; call {v}; telephone: {v}; reachable under {v}
email string: email {v}; write to {v}; mail: {v}
product string: one {v}; product: {v}; the product is {v}; we order {v}
colour string: in {v}; colour: {v}; the colour is {v}
urgent boolean: this is urgent/this is not urgent; urgent: yes/urgent: no; at once please/no hurry
paid boolean: already paid/not yet paid; paid: yes/paid: no; it has been paid/it is unpaid
breakfast boolean: with breakfast/without breakfast; breakfast: yes/breakfast: no; breakfast included/no breakfast
insured boolean: insured/not insured; with insurance/without insurance
size enum(small|medium|large): size {v}; a {v} one; size: {v}; in {v}
status enum(open|closed|pending): status {v}; it is {v}; status: {v}; marked as {v}
priority enum(low|normal|high): {v} priority; priority: {v}; the priority is {v}
room enum(single|double|suite): a {v} room; room: {v}; room type {v}
payment enum(cash|card|transfer): paid by {v}; payment: {v}; by {v}
weight number: weighing {v}; weight: {v}; the weight is {v}
age integer: aged {v}; {v} years old; age: {v}
name string: my name is {v}; name: {v}; I am {v}; signed {v}
street string: at {v}; street: {v}; the address is {v}
reason string: because of the {v}; reason: {v}; the reason is {v}
seats integer: {v} seats; seats: {v}; with {v} seats
invoice string: invoice {v}; invoice number {v}; invoice: {v}
"""
TRAINING_INTROS = (
    "Please note:", "We would like to order:", "Hello, I want to book", "The order is", "A request came in:", "Report:",
    "Dear team, please enter", "We have received", "New entry:", "I need", "For your records:", "Booking:",
)  # fmt: skip

HELD_OUT = """
vessel string: the vessel {v}; vessel: {v}; aboard the vessel {v}
captain string: captain {v}; captain: {v}; the captain is {v}
berth integer: berth {v}; at berth {v}; berth number {v}
cargo string: carrying cargo {v}; cargo: {v}; the cargo is {v}
tonnage number: tonnage {v}; tonnage: {v}; with a tonnage of {v}
sailing date: sailing {v}; sailing on {v}; sailing: {v}
refrigerated boolean: refrigerated: yes/refrigerated: no; refrigerated/not refrigerated
hazard enum(none|mild|severe): hazard {v}; hazard: {v}; the hazard is {v}
orchard string: orchard {v}; orchard: {v}; from the orchard {v}
variety string: variety {v}; variety: {v}; the variety is {v}
crates integer: {v} crates; crates: {v}; crates counted: {v}
sugar number: sugar {v}; sugar: {v}; a sugar level of {v}
harvested date: harvested {v}; harvested on {v}; harvested: {v}
organic boolean: organic: yes/organic: no; organic/not organic
ripeness enum(green|firm|soft): ripeness {v}; ripeness: {v}; the ripeness is {v}
tenant string: tenant {v}; tenant: {v}; the tenant is {v}
flat integer: flat {v}; flat: {v}; in flat {v}
rent number: rent {v}; rent: {v}; the rent is {v}
moving date: moving {v}; moving on {v}; moving: {v}
furnished boolean: furnished: yes/furnished: no; furnished/not furnished
heating enum(gas|electric|oil): heating {v}; heating: {v}; {v} heating
"""
HELD_OUT_INTROS = (
    "Harbour log:", "Entered today:", "According to the sheet:", "From the field:", "The file says", "Kindly register",
)  # fmt: skip

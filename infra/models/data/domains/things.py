"""The training domains: what each one talks about. Thirty domains; none of them is a held-out pack's."""

from __future__ import annotations

TEXT = """
bank: savings account, current account, student account, joint account, debit card, credit card, home loan, car loan,
 safe deposit box, standing order, direct debit, overdraft, wire transfer, night deposit, cash machine, counter, branch
shop: gift card, loyalty card, gift wrapping, home delivery, click and collect, changing room, refund, returns desk,
 price match, summer sale, shopping bag, till, parcel locker, warranty card, trolley
clinic: blood test, vaccination, eye test, x-ray, prescription, referral, waiting room, emergency ward, dental check,
 health card, physiotherapy, flu shot, consultation, medical record, day surgery
hotel: double room, single room, suite, breakfast, minibar, sauna, late check-out, airport shuttle, parking space, safe,
 laundry service, conference room, extra bed, room key, swimming pool
library: reading room, library card, inter-library loan, audiobook, reservation, study desk, scanner, children's corner,
 book drop, magazine, overdue book, archive, map collection, e-book, newspaper
factory: conveyor belt, milling machine, safety helmet, night shift, cooling water, paint line, spare part, forklift,
 tool store, shift handover, compressor, quality check, packing station, loading bay, press
railway: day ticket, season ticket, sleeping car, seat reservation, bicycle ticket, dining car, lost property office,
 ticket machine, night train, platform lift, railcard, group ticket, waiting hall, luggage locker, ticket inspector
museum: guided tour, audio guide, cloakroom, special exhibition, family ticket, museum shop, photo permit, coin room,
 school visit, lecture, gallery, sculpture garden, annual pass, café, planetarium
university: lecture hall, student card, exam registration, dormitory, language course, scholarship, semester fee,
 canteen,
 computer room, thesis, career office, laboratory, summer school, sports centre, enrolment
gym: yoga class, personal trainer, locker, towel, climbing wall, trial week, membership, squash court, steam bath,
 weight room, spinning class, guest pass, sports drink, boxing course, massage
airport: hand luggage, fast lane, lounge, check-in desk, car park, boarding pass, oversize baggage, prayer room,
 security check, shuttle bus, baggage trolley, transfer desk, tax refund, taxi rank, left luggage
city hall: residence permit, birth certificate, parking permit, dog licence, building permit, wedding room, passport,
 lost and found, street party, bulky waste, polling card, business licence, identity card, council meeting, market stall
insurance: travel insurance, car insurance, claim form, home contents policy, excess, liability cover, life insurance,
 damage report, green card, no-claims bonus, pet insurance, legal cover, bicycle cover, premium, surveyor
telecoms: data plan, prepaid card, roaming pack, landline, router, number transfer, voicemail, eSIM, fibre connection,
 paper bill, family plan, second SIM, hotline, mobile contract, repeater
theatre: balcony seat, matinee, dress rehearsal, box office, programme, student ticket, opera glasses, subscription,
 stage door, premiere, intermission, coat check, backstage tour, puppet show, choir
zoo: penguin feeding, petting farm, aquarium, night walk, elephant house, keeper talk, pony ride, insect house,
 day pass,
 picnic area, monkey rock, birthday tour, pushchair, reptile hall, playground
restaurant: lunch menu, tasting menu, wine list, terrace, table reservation, children's menu, private dining room,
 soup of the day, takeaway, cooking class, corkage, vegan platter, brunch, cheese board, cake
farm shop: apple juice, goat cheese, vegetable box, pumpkin, honey, eggs, cider, lamb, hayride, strawberry field,
 potato sack, milk machine, sheepskin, jam, farm tour
car rental: compact car, minibus, child seat, second driver, roof rack, snow chains, fuel card, full cover, navigation
 system, one-way rental, convertible, trailer, young driver, toll tag, mileage
post office: registered letter, parcel, stamp, post box, mail forwarding, customs form, express letter, postcard,
 money order, packing paper, poste restante, redelivery, tracking, letter scale, bulk mail
school: homework club, lunch card, school bus, parents' evening, swimming lesson, chess club, music room, class trip,
 exam week, uniform, lost jacket box, nurse, holiday camp, library pass, sports day
port: ferry ticket, car deck, berth, pilot boat, crane, container, fishing licence, harbour tour, cabin, fuel dock,
 bonded store, lighthouse, tugboat, cruise terminal, slipway
hospital: visiting room, private ward, patient file, blood donation, television, pharmacy, maternity ward, wheelchair,
 physician on call, kitchen, operating room, cardiology, chapel, ambulance, discharge letter
warehouse: pallet, cold room, barcode scanner, dispatch, goods receipt, stocktaking, packing tape, shelf, rack, gate,
 hand truck, order picking, shrink film, container yard, hazardous store
cinema: popcorn, loge, 3D glasses, midnight show, film club, matinee ticket, gift voucher, love seat, snack bar,
 preview,
 projector, senior screening, foyer, online booking, drive-in
pharmacy: cough syrup, night service, blood pressure check, sun cream, repeat prescription, ointment, first aid kit,
 thermometer, home delivery, vitamin pack, travel advice, inhaler, baby scale, eye drops, plaster
energy: electricity meter, gas contract, solar panel, green tariff, meter reading, charging station, night tariff, heat
 pump, final bill, boiler service, smart meter, power cut, instalment, tariff change, grid connection
campsite: tent pitch, caravan pitch, cabin, washing machine, bicycle hire, canoe, barbecue area, electric hook-up,
 kiosk,
 dog fee, bread service, mini golf, playroom, quiet hours, late arrival
workshop: oil change, tyre change, brake check, courtesy car, windscreen, car wash, battery, paint repair, exhaust,
 inspection, clutch, tow service, spare key, air conditioning, engine
water works: water meter, filter, pipe repair, hardness test, reading card, leak report, fire hydrant, well, pump house,
 sewage fee, pressure valve, house connection, drinking fountain, reservoir tour, chlorine store
software house: support ticket, licence key, backup, update, user account, database, web form, password reset, trial
 version, invoice module, data export, test server, mobile client, audit log, plug-in
employer: holiday request, sick note, canteen card, company car, pay slip, working time account, home office, parking
 badge, training course, travel expenses, parental leave, pension plan, suggestion scheme, staff discount, safety shoes
"""

"""Plain words for made-up sentences, and the parts that made-up names are put together from."""

from __future__ import annotations


def listed(text: str, between: str | None = None) -> list[str]:
    """Words written one after another, as that is easier to read than a column of them."""
    return text.split(between)


NOUNS = listed("""
account advice agreement alarm apple archive arrival article assistant balcony bag basket battery bell belt bench
bicycle bill blanket boat book boot bottle bowl box branch bread brick bridge brush bucket building bus button cabinet
cable cake camera candle car card carpet cart case ceiling chair charge chart chest child choice class clerk clock
cloth coat coffee coin collection colour column company contract copy corner council counter country course court
cover crate cup cupboard curtain customer cutter damage day dealer decision delivery deposit desk detail device dinner
director discount document door drawer driver drum edge employee engine engineer entrance envelope error evening event
exhibition exit family farm fee fence field file film filter fire floor flower folder form frame fridge friend garage
garden gate gift glass glove group guard guest guide hall hammer handle harbour hat heater helmet holiday hook hose
hour house idea inspection instrument invoice item jacket jar journey key kitchen knife label ladder lamp land
language lawyer leaf lecture leg lesson letter level lever licence lid lift light line list lobby lock log lorry lunch
machine magazine manager map market mask material meal measure medicine meeting member menu message meter mill mirror
money month morning motor nail needle neighbour newspaper night note notice number nurse nut office officer oil order
oven owner package page paint panel paper parcel park part partner passage passenger password path patient payment pen
pencil permit person phone photograph picture piece pilot pipe place plan plant plate platform player pocket policy
pool post powder present price prize problem product programme project proof pump queue question railway ramp reader
reason receipt record refund region repair report request reserve resident result return ring river road roof room
rope route rule salt sample scale school screen screw sea seat secretary section sensor service shelf ship shirt shoe
shop shower sign signature site size sleeve soap sofa spare spring stair stamp station statement step stone stop store
storm street student subject sugar suit summer supplier surface switch system table tank tap teacher team telephone
tent terminal test ticket tile timber time title tool tower town track trailer train tray tree trolley truck tunnel
tyre umbrella uniform unit valve van vehicle village visitor voucher waiter wall wallet warehouse washer water week
weight wheel window winter wire witness wood worker workshop yard year zone
""")

ADJECTIVES = listed("""
active additional annual available big black blue bright broken brown busy central cheap clean clear closed cold
common complete correct covered damaged dark deep digital direct double dry early eastern electric empty expired
express extra fast final first flat fragile free fresh front full general genuine golden green grey hard heavy high
hot important indoor inner large late left light local long loose lost low lower main major manual medium minor
missing mobile modern monthly narrow national new next northern official old open optional orange original outdoor
outer own paper partial permanent personal plain portable premium printed private public purple quick quiet rare ready
rear red regional regular reserved right round rural safe second sealed secure separate shared sharp short silent
silver simple single slow small soft solid southern spare special standard steel stolen strong temporary thick thin
third tall top upper urgent used valid warm weekly western wet white whole wide wooden yellow young
""")

VERBS = listed("""
accept add admit advise allow answer apply approve arrange ask assess attach bring build buy call cancel carry change
charge check clean clear close collect complete confirm contact copy correct count cover deliver deny destroy display
divide drive empty enter examine exchange explain fill find finish fix follow give guard guide handle help hide hire
hold improve inform inspect install insure invite issue join keep label lead leave lend lift limit list load lock
lower maintain mark measure mend mix move need note number offer open operate order pack paint park pass pay pick
place plan post prepare present print produce protect prove publish pull push raise read receive recommend record
reduce refuse refund register release remove renew rent repair replace report request require reserve return review
save seal search select sell send separate serve show sign sort start stop store supply support switch take test trace
train transfer treat turn update use visit wait warn wash watch weigh withdraw write
""")

PLACES = listed(
    "in the basement|on the ground floor|on the second floor|behind the stairs|next to the entrance|in the main hall"
    "|at the counter|near the lift|opposite the canteen|in building C|at the reception|in the courtyard"
    "|by the north gate|in the waiting room|at the back of the yard|beside the car park|across the street"
    "|under the roof|at the far end|in the east wing|on the website|in the app",
    "|",
)

TIMES = listed(
    "every Monday|on working days|at weekends|in winter|during the summer|before noon|after the inspection"
    "|within a week|at the end of the month|once a year|twice a month|every morning|on public holidays"
    "|since last autumn|by the first of April|after closing time|as soon as possible|without delay|for one hour"
    "|until further notice|in the evening|from May to September|at night",
    "|",
)

REASONS = listed(
    "because the law demands it|so that nothing is lost|if the weather allows it|unless otherwise agreed"
    "|when the light is green|although it is rarely needed|to avoid a queue|in case of fire|as the contract states"
    "|provided that the form is signed|if nobody objects|for reasons of safety|even if it has been used"
    "|while stocks last|without giving a reason|if a deposit was paid|for people who live nearby",
    "|",
)

FUNCTION = listed("""
the of and to a in is you that it he was for on are with as his they be at one have this from or had by not but what
some we can out other were all there when up use your how said an each she which their if will way about many then
them would like so these her long make thing see him two has look more could go come did my sound no most over know
than who may down side been now any where after back little only round man came show every good me give our under name
very through just form much great think say help low before turn cause same mean differ move old too does tell set
three want air well also play end put home read hand large spell add even must such because here why ask went men kind
need off again still between never last let start city while both few until always without once together during within
above against anything someone everybody yourself themselves already enough rather instead except whether however
therefore according usually possible important different between another against nothing something nobody somebody
""")

ONSETS = listed("b br c ch d dr f fl g gl gr h j k kl l m n p pl qu r s sh sk st t tr v w z")
VOWELS = listed("a e i o u ai ea ee ia oa ou y")
CODAS = listed("n r l s t m nd rk lt sk st ng x th ll")
FIRST_NAMES = listed("""
Anna Ben Clara David Elena Farid Greta Henry Ines Jonas Karin Leo Maya Nils Olga Pavel Rosa Samir Tessa Umar Vera Wim
Yara Zoe Amir Bruno Celia Dora Emil Freya Gustav Hanna Igor Julia Kofi Lucia Marta Noor Oskar Petra Rafael Sofia Tomas
Ulla Victor Wanda Aisha Boris Carmen Diego
""")
STREETS = listed("Street Road Lane Square Avenue Hill Row Yard Court Gardens Quay Bridge Parade Walk Way")
DAYS = listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = listed("January February March April May June July August September October November December")
NUMBERS = listed("two three four five six seven eight nine ten eleven twelve fifteen twenty thirty")
SMALL = listed("at for from in of on to with by per")

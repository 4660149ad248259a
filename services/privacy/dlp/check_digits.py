"""The check digits of national numbers, as their issuers define them. Pure: digits or letters in, a verdict out.

Every function takes the number without separators, of the right length, letters as capitals. Next: national_ids.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle

DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
PESEL_WEIGHTS = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
AUSTRIAN_WEIGHTS = (3, 7, 9, 5, 8, 4, 2, 1, 6)
CHINESE_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
PENSION_WEIGHTS = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)
ODD_VALUES = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
"""Of the Italian code's characters at odd places: the letters, and the digits as the first ten of them."""
VERHOEFF = "0123456789123406789523401789563401289567401239567859876043216598710432765982104387659321049876543210"
"""The multiplication table of the dihedral group D5, row by row (J. Verhoeff, 1969)."""
VERHOEFF_STEP = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def is_date(day: str, month: str) -> bool:
    """Whether a day can be of a month; centuries that are coded in either are taken off before."""
    return 1 <= int(day) <= 31 and 1 <= int(month) <= 12


def weighted(digits: str, weights: Iterable[int]) -> int:
    """The sum of the digits by their weights; what is beyond the shorter of both does not count."""
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def digit_sums(digits: str, weights: Iterable[int]) -> int:
    """As `weighted`, but of each product the sum of its digits."""
    return sum(sum(divmod(int(digit) * weight, 10)) for digit, weight in zip(digits, weights, strict=False))


def is_luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    return digit_sums(digits[::-1], cycle((1, 2))) % 10 == 0


def is_german_tax_id(digits: str) -> bool:
    """IdNr: ISO 7064 MOD 11,10; of the first ten digits exactly one comes more than once, and at most three times."""
    repeated = [digits[:10].count(digit) for digit in set(digits[:10]) if digits[:10].count(digit) > 1]
    if digits[0] == "0" or len(repeated) != 1 or repeated[0] > 3:
        return False
    product = 10
    for digit in digits[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def is_german_pension_number(number: str) -> bool:
    """Versicherungsnummer, two digits of the office, the birth date, a letter, two digits and the check digit."""
    digits = number[:8] + f"{ord(number[8]) - 64:02}" + number[9:]
    return is_date(number[2:4], number[4:6]) and digit_sums(digits[:12], PENSION_WEIGHTS) % 10 == int(number[11])


def is_german_health_number(number: str) -> bool:
    """Krankenversichertennummer: a letter and nine digits, the last of which checks the others."""
    digits = f"{ord(number[0]) - 64:02}" + number[1:]
    return digit_sums(digits[:10], cycle((1, 2))) % 10 == int(number[9])


def is_austrian(digits: str) -> bool:
    """Sozialversicherungsnummer: three digits, the check digit, the birth date."""
    check = weighted(digits[:3] + digits[4:], AUSTRIAN_WEIGHTS) % 11
    month = int(digits[6:8])
    return digits[0] != "0" and check == int(digits[3]) and 1 <= int(digits[4:6]) <= 31 and 1 <= month <= 15


def is_swiss(digits: str) -> bool:
    """AHV number: 756, nine digits, and the check digit of EAN-13."""
    return digits.startswith("756") and weighted(digits, cycle((1, 3))) % 10 == 0


def is_french(number: str) -> bool:
    """NIR: 13 digits, 2A and 2B among them for Corsica, and the key modulo 97."""
    digits = number.replace("2A", "19").replace("2B", "18")
    return 97 - int(digits[:13]) % 97 == int(digits[13:])


def is_french_tax_number(digits: str) -> bool:
    """Numéro fiscal (SPI): ten digits and their remainder modulo 511."""
    return digits[0] in "0123" and int(digits[:10]) % 511 == int(digits[10:]) and int(digits[:10]) > 0


def is_spanish(number: str) -> bool:
    """DNI and NIE: eight digits, or X, Y or Z and seven, and the letter of their remainder modulo 23."""
    digits = {"X": "0", "Y": "1", "Z": "2"}.get(number[0], number[0]) + number[1:-1]
    return DNI_LETTERS[int(digits) % 23] == number[-1]


def is_italian(number: str) -> bool:
    """Codice fiscale: 15 characters and the letter of their values' sum modulo 26."""
    values = [int(each) if each.isdecimal() else ord(each) - 65 for each in number[:15]]
    total = sum(ODD_VALUES[value] if index % 2 == 0 else value for index, value in enumerate(values))
    return total % 26 == ord(number[15]) - 65


def is_polish(digits: str) -> bool:
    """PESEL: the birth date, its century coded in the month, four digits and the check digit."""
    return is_date(digits[4:6], str(int(digits[2:4]) % 20)) and weighted(digits, PESEL_WEIGHTS) % 10 == 0


def is_brazilian(digits: str) -> bool:
    """CPF: nine digits and two check digits, not all alike."""
    if len(set(digits)) == 1:
        return False
    checks = (weighted(digits, range(length + 1, 1, -1)) * 10 % 11 % 10 for length in (9, 10))
    return tuple(checks) == (int(digits[9]), int(digits[10]))


def is_swedish(digits: str) -> bool:
    """Personnummer or samordningsnummer, ten digits or twelve with the century: a date and the check digit of Luhn."""
    short = digits[-10:]
    is_whole = len(digits) == 10 or digits[:2] in ("18", "19", "20")
    return is_whole and is_date(str(int(short[4:6]) % 60), short[2:4]) and is_luhn(short)


def is_belgian(digits: str) -> bool:
    """National number: the birth date, three digits, and 97 less the remainder modulo 97; born from 2000 on with a 2
    before it."""
    is_dated = int(digits[2:4]) % 20 <= 12 and int(digits[2:4]) <= 52 and int(digits[4:6]) <= 31
    check = int(digits[9:])
    return is_dated and check in (97 - int(digits[:9]) % 97, 97 - int(f"2{digits[:9]}") % 97)


def is_chinese(number: str) -> bool:
    """Resident identity number, GB 11643: a region, the birth date, three digits; ISO 7064 MOD 11-2."""
    is_dated = number[6:8] in ("18", "19", "20") and is_date(number[12:14], number[10:12])
    return is_dated and "10X98765432"[weighted(number, CHINESE_WEIGHTS) % 11] == number[17]


def is_indian(digits: str) -> bool:
    """Aadhaar: twelve digits from 2 on, the last by Verhoeff's scheme."""
    return digits[0] in "23456789" and _verhoeff(digits[::-1]) == 0


def _verhoeff(reversed_digits: Sequence[str]) -> int:
    check = 0
    for index, digit in enumerate(reversed_digits):
        value = int(digit)
        for _ in range(index % 8):
            value = VERHOEFF_STEP[value]
        check = int(VERHOEFF[check * 10 + value])
    return check


def is_nhs_number(digits: str) -> bool:
    """The number of the National Health Service, modulo 11."""
    check = 11 - weighted(digits, range(10, 1, -1)) % 11
    return check % 11 == int(digits[9]) and check != 10

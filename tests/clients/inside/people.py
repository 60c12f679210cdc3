"""Who lives in the towns of the clients: the same people in every run. Needs no package."""

import random

FIRST = [
    "Ann",
    "Anna",
    "Ben",
    "Chloe",
    "Dmitri",
    "Elena",
    "Farid",
    "Grace",
    "Hiro",
    "Ines",
    "Jonas",
    "Kavya",
    "Liam",
    "Mina",
    "Noor",
    "Oskar",
    "Priya",
    "Quentin",
    "Rosa",
    "Sven",
    "Tara",
    "Umar",
    "Vera",
    "Wen",
    "Ximena",
]
LAST = [
    "Ash",
    "Berg",
    "Cruz",
    "Diaz",
    "Eco",
    "Falk",
    "Gray",
    "Hill",
    "Ito",
    "Jones",
    "Khan",
    "Lang",
    "Mora",
    "Nagy",
    "Ott",
    "Park",
    "Quist",
    "Rao",
    "Silva",
    "Tran",
    "Ueda",
    "Vogt",
    "Wolf",
]
TRADES = ("nurse", "baker", "teacher", "plumber", "engineer", "farmer", "painter", "lawyer", "driver")
PLACES = ("Lisbon", "Osaka", "Lagos", "Lima", "Oslo", "Pune", "Boston", "Cairo", "Hanoi", "Turin")
TEMPERS = ("curious", "blunt", "shy", "cheerful", "stubborn", "patient", "anxious", "ironic", "generous")
TYPES = ("INTJ", "ENFP", "ISTJ", "ESFJ", "INFP", "ENTP", "ISFP", "ESTJ")
SUBJECTS = ("football", "housing", "trains", "gardens", "elections")


def people(count, seed=7):
    one = random.Random(seed)
    return [_person(one, number) for number in range(count)]


def _person(one, number):
    person = {
        "name": f"{FIRST[number % len(FIRST)]} {LAST[(number * 7 + number // len(FIRST)) % len(LAST)]}",
        "age": one.randint(19, 77),
        "trade": one.choice(TRADES),
        "place": one.choice(PLACES),
        "temper": one.choice(TEMPERS),
        "type": one.choice(TYPES),
        "gender": one.choice(("male", "female")),
    }
    person["text"] = (
        f"{person['name']} is a {person['age']}-year-old {person['trade']} from {person['place']}, {person['temper']} and known"
        f" for it; likes long walks, keeps a notebook and argues about {one.choice(SUBJECTS)}."
    )
    return person

"""Small dumps in the layouts of public data sets, with every known quirk of theirs as one line each.

A quirk is the line as it stands in the file and the row that it must become. The lists are the documentation: whoever
meets a new quirk adds a line. Texts are made up; what is odd about them is what is odd in the real files.
"""

import gzip
import json
import zipfile
from pathlib import Path
from typing import NamedTuple

LONG = "x" * 1_000


class Quirk(NamedTuple):
    why: str
    line: str
    row: tuple


def review(**changes) -> str:
    """One review of 2014; a change to None leaves the field out."""
    fields = {
        "reviewerID": "A1",
        "asin": "B1",
        "reviewerName": "Ann",
        "helpful": [0, 1],
        "reviewText": "Nice.",
        "overall": 5.0,
        "summary": "ok",
        "unixReviewTime": 1_400_000_000,
        "reviewTime": "05 13, 2014",
    }
    return json.dumps({key: value for key, value in (fields | changes).items() if value is not None})


def review_2023(**changes) -> str:
    fields = {
        "rating": 5.0,
        "title": "Nice",
        "text": "I like it.",
        "images": [],
        "asin": "B1-red",
        "parent_asin": "B1",
        "user_id": "A1",
        "timestamp": 1_588_687_728_923,
        "helpful_vote": 0,
        "verified_purchase": True,
    }
    return json.dumps({key: value for key, value in (fields | changes).items() if value is not None})


# user, item, timestamp, rating; None stands for what is missing, "nan" for a rating that cannot be read
REVIEWS_2014 = [
    Quirk("a plain review", review(), ("A1", "B1", 1_400_000_000, 5.0)),
    Quirk("no name of the reviewer", review(reviewerName=None), ("A1", "B1", 1_400_000_000, 5.0)),
    Quirk("an id with leading zeros", review(asin="0000013714"), ("A1", "0000013714", 1_400_000_000, 5.0)),
    Quirk("an id that looks like a number", review(asin="1e5"), ("A1", "1e5", 1_400_000_000, 5.0)),
    Quirk("an id that is called None", review(reviewerID="None"), ("None", "B1", 1_400_000_000, 5.0)),
    Quirk("an id that is called nan", review(reviewerID="nan"), ("nan", "B1", 1_400_000_000, 5.0)),
    Quirk("an id of emoji", review(reviewerID="🛒💄"), ("🛒💄", "B1", 1_400_000_000, 5.0)),
    Quirk("an id of 1,000 characters", review(asin=LONG), ("A1", LONG, 1_400_000_000, 5.0)),
    Quirk("escapes in the text", review(reviewText='"50%"\n\\ é \u2028 {not: json}'), ("A1", "B1", 1_400_000_000, 5.0)),
    Quirk("a rating in quotes", review(overall="4.0"), ("A1", "B1", 1_400_000_000, 4.0)),
    Quirk("no rating", review(overall=None), ("A1", "B1", 1_400_000_000, "nan")),
    Quirk("a rating that is a word", review(overall="five"), ("A1", "B1", 1_400_000_000, "nan")),
    Quirk("no time", review(unixReviewTime=None), ("A1", "B1", None, 5.0)),
    Quirk("no reviewer", review(reviewerID=None), (None, "B1", 1_400_000_000, 5.0)),
    Quirk("a cut line", review()[:60], (None, None, None, "nan")),
    Quirk("a line of no object", "[1, 2]", (None, None, None, "nan")),
    Quirk("a Python literal", str(json.loads(review(reviewerID="A2"))), ("A2", "B1", 1_400_000_000, 5.0)),
    Quirk(
        "code where a literal should be, which must not run",
        "__import__('pathlib').Path('ran').touch() or " + str(json.loads(review())),
        (None, None, None, "nan"),
    ),
]

REVIEWS_2018 = [
    Quirk(
        "votes with a comma, a style, pictures",
        review(verified=True, vote="1,234", style={"Color:": " Red"}, image=["https://x/1.jpg"], helpful=None),
        ("A1", "B1", 1_400_000_000, 5.0),
    ),
    Quirk("the same again", review(verified=True), ("A1", "B1", 1_400_000_000, 5.0)),
    Quirk("no text", review(verified=False, reviewText=None), ("A1", "B1", 1_400_000_000, 5.0)),
]

REVIEWS_2023 = [
    Quirk("milliseconds, rounded down", review_2023(), ("A1", "B1", 1_588_687_728, 5.0)),
    Quirk("another colour of one product", review_2023(asin="B1-blue"), ("A1", "B1", 1_588_687_728, 5.0)),
    Quirk("before 2001, with fewer digits", review_2023(timestamp=946_684_799_999), ("A1", "B1", 946_684_799, 5.0)),
    Quirk("no product", review_2023(parent_asin=None), ("A1", None, 1_588_687_728, 5.0)),
]

# item, title, genres, description, image
META_2014 = [
    Quirk(
        "a Python literal with nested categories",
        "{'asin': '0001', 'salesRank': {'Beauty': 5}, 'imUrl': 'http://ecx.images-amazon.com/images/I/51.jpg', "
        "'categories': [['Beauty', 'Skin Care'], ['Beauty', 'Bath']], 'title': 'Soap', 'price': 2.5, 'sold': True}",
        ("0001", "Soap", ["Beauty", "Skin Care", "Bath"], None, "http://ecx.images-amazon.com/images/I/51.jpg"),
    ),
    Quirk(
        "an apostrophe, an escape and an entity",
        """{'asin': 'B2', 'title': "Crème d\\'été Women's &amp; Men\\xe9", 'description': 'a &lt;b&gt;', 'also': {}}""",
        ("B2", "Crème d'été Women's & Mené", None, "a <b>", None),
    ),
    Quirk(
        "an apostrophe, quotes and a word of Python inside texts",
        str({"asin": "B7", "title": "Women's", "description": 'say "hi": True', "sold": False}),
        ("B7", "Women's", None, 'say "hi": True', None),
    ),
    Quirk("no title", "{'asin': 'B3', 'brand': None}", ("B3", None, None, None, None)),
    Quirk("an empty title", "{'asin': 'B4', 'title': '  '}", ("B4", None, None, None, None)),
    Quirk("a line of strict JSON", '{"asin": "B5", "title": null, "sold": true}', ("B5", None, None, None, None)),
    Quirk("a cut line", "{'asin': 'B6', 'title': 'Lip", (None, None, None, None, None)),
    Quirk("code, which must not run", "__import__('pathlib').Path('ran').touch()", (None, None, None, None, None)),
    Quirk("brackets without end", "[" * 5_000, (None, None, None, None, None)),
]

META_2018 = [
    Quirk(
        "lists of descriptions, categories and pictures",
        json.dumps(
            {
                "asin": "B1",
                "title": "Soap &amp; Water",
                "description": ["Cleans.", "", "Smells."],
                "category": ["Beauty", "Soap", "</span></span></span>"],
                "imageURL": ["https://i/small.jpg"],
                "imageURLHighRes": ["https://i/large.jpg", "https://i/2.jpg"],
                "price": ".a-box-inner{background-color:#fff}",
            }
        ),
        ("B1", "Soap & Water", ["Beauty", "Soap"], "Cleans. Smells.", "https://i/large.jpg"),
    ),
    Quirk(
        "a title that is a script of the page",
        json.dumps({"asin": "B2", "title": "var aPageStart = (new Date()).getTime();", "category": []}),
        ("B2", None, None, None, None),
    ),
    Quirk(
        "a title that is HTML",
        json.dumps({"asin": "B3", "title": '\n <span id="productTitle">', "description": []}),
        ("B3", None, None, None, None),
    ),
    Quirk("an item described twice", json.dumps({"asin": "B1", "title": "Twice"}), ("B1", "Twice", None, None, None)),
]

META_2023 = [
    Quirk(
        "lists of sizes, and a large size that is missing",
        json.dumps(
            {
                "parent_asin": "B1",
                "title": "Soap",
                "main_category": "All Beauty",
                "categories": ["Soap"],
                "description": ["Cleans."],
                "images": [
                    {"thumb": "https://i/t.jpg", "large": None, "hi_res": None, "variant": "PT01"},
                    {"thumb": "https://i/t2.jpg", "large": "https://i/l2.jpg", "hi_res": None, "variant": "MAIN"},
                ],
                "details": {"Brand": "x"},
                "price": None,
            }
        ),
        ("B1", "Soap", ["Soap"], "Cleans.", "https://i/l2.jpg"),
    ),
    Quirk(
        "one list per size, and no categories but the main one",
        json.dumps(
            {
                "parent_asin": "B2",
                "title": None,
                "main_category": "All Beauty",
                "categories": [],
                "description": [],
                "images": {"hi_res": [None], "large": ["https://i/l.jpg"], "thumb": ["https://i/t.jpg"]},
            }
        ),
        ("B2", None, ["All Beauty"], None, "https://i/l.jpg"),
    ),
]


def amazon(folder: Path, reviews: str, meta: str, lines: list[Quirk], items: list[Quirk]) -> Path:
    """Writes the two files of one category into ``folder``; blank lines stand in between, and no end at the end."""
    folder.mkdir(exist_ok=True)
    for name, quirks in ((reviews, lines), (meta, items)):
        text = "\n\n".join(quirk.line for quirk in quirks).encode()
        (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return folder


# user, item, rating; None for a rating stands for 0, "implicit"
BX_RATINGS = [
    Quirk("a rating", '"276725";"034545104X";"7"', ("276725", "034545104X", 7.0)),
    Quirk("0, which means implicit", '"276726";"0155061224";"0"', ("276726", "0155061224", None)),
    Quirk("the best rating", '"276727";"0446520802";"10"', ("276727", "0446520802", 10.0)),
    Quirk("leading zeros", '"007";"000104687X";"6"', ("007", "000104687X", 6.0)),
    Quirk("an ISBN in quotes of its own", '"130499";"\\"0432534220\\"";"6"', ("130499", '"0432534220"', 6.0)),
    Quirk("an ISBN with a backslash at its end", '"1";"0330299891\\"";"5"', ("1", '0330299891"', 5.0)),
    Quirk("an ISBN with spaces around", '"2";" 0330299891 ";"5"', ("2", "0330299891", 5.0)),
    Quirk("an ISBN with a semicolon", '"3";"0-330;2";"5"', ("3", "0-330;2", 5.0)),
    Quirk("an ISBN that is none", '"4";"Ô½crosoft";"7"', ("4", "Ô½crosoft", 7.0)),
    Quirk("an ISBN in small letters is another text", '"5";"034545104x";"7"', ("5", "034545104x", 7.0)),
    Quirk("no ISBN", '"6";"";"7"', ("6", None, 7.0)),
    Quirk("NULL for a rating", '"7";"0155061224";NULL', ("7", "0155061224", "nan")),
    Quirk("a rating that is no number", '"8";"0155061224";"x"', ("8", "0155061224", "nan")),
    Quirk("a rating out of range", '"9";"0155061224";"11"', ("9", "0155061224", 11.0)),
    Quirk("a cut line", '"10";"01550', ("10", None, "nan")),
]

_URLS = ";".join(
    f'"http://images.amazon.com/images/P/1.01.{size}.jpg"' for size in ("THUMBZZZ", "MZZZZZZZ", "LZZZZZZZ")
)
_LARGE = "http://images.amazon.com/images/P/1.01.LZZZZZZZ.jpg"

# item, title, year, description, image
BX_BOOKS = [
    Quirk(
        "a book",
        f'"0195153448";"Classical Mythology";"Mark P. O. Morford";"2002";"Oxford University Press";{_URLS}',
        ("0195153448", "Classical Mythology", 2002, "Mark P. O. Morford (Oxford University Press)", _LARGE),
    ),
    Quirk(
        "escaped quotes",
        f'"0440225701";"The Real \\"J. Peterman\\"";"J";"2000";"P";{_URLS}',
        ("0440225701", 'The Real "J. Peterman"', 2000, "J (P)", _LARGE),
    ),
    Quirk(
        "bare quotes",
        f'"1";"The "Real" One";"J";"2000";"P";{_URLS}',
        ("1", 'The "Real" One', 2000, "J (P)", _LARGE),
    ),
    Quirk(
        "semicolons and entities in a title and a publisher",
        f'"2";"Rock &amp; Roll; a story";"J";"1999";"Simon &amp; Schuster";{_URLS}',
        ("2", "Rock & Roll; a story", 1999, "J (Simon & Schuster)", _LARGE),
    ),
    Quirk(
        "a title that ends with a backslash and swallows the author",
        f'"078946697X";"DK Readers: Creating the X-Men (Level 4)\\";Michael Teitelbaum";"2000";"DK Pub";{_URLS}',
        (
            "078946697X",
            "DK Readers: Creating the X-Men (Level 4)",
            2000,
            "Michael Teitelbaum (DK Pub)",
            _LARGE,
        ),
    ),
    Quirk(
        "a title that holds the separator",
        f'"3";"One";"Two";"J";"2001";"P";{_URLS}',
        ("3", "One;Two", 2001, "J (P)", _LARGE),
    ),
    Quirk("no author", f'"4";"Guide";NULL;"1995";"Edinburgh";{_URLS}', ("4", "Guide", 1995, None, _LARGE)),
    Quirk(
        "no publisher", f'"5";"Tyrant Moon";"Elaine";"2002";NULL;{_URLS}', ("5", "Tyrant Moon", 2002, "Elaine", _LARGE)
    ),
    Quirk("no year", f'"6";"Book";"J";"0";"P";{_URLS}', ("6", "Book", None, "J (P)", _LARGE)),
    Quirk("a year to come", f'"7";"Book";"J";"2037";"P";{_URLS}', ("7", "Book", None, "J (P)", _LARGE)),
    Quirk("a year of another calendar", f'"8";"Book";"J";"1376";"P";{_URLS}', ("8", "Book", None, "J (P)", _LARGE)),
    Quirk("ISO-8859-1", f'"9";"Les Misérables";"É";"1999";"P";{_URLS}', ("9", "Les Misérables", 1999, "É (P)", _LARGE)),
    Quirk(
        "UTF-8 that was written as ISO-8859-1 stays as it is",
        f'"10";"ClÃ?Â©zio";"J";"2003";"P";{_URLS}',
        ("10", "ClÃ?Â©zio", 2003, "J (P)", _LARGE),
    ),
    Quirk("a cut line", '"11";"Half a bo', ("11", "Half a bo", None, None, None)),
    Quirk(
        "a book described twice",
        f'"0195153448";"Again";"J";"2002";"P";{_URLS}',
        ("0195153448", "Again", 2002, "J (P)", _LARGE),
    ),
]


def book_crossing(
    path: Path, end: str = "\r\n", ratings: list[Quirk] = BX_RATINGS, books: list[Quirk] = BX_BOOKS
) -> Path:
    """Writes the dump as a zip, or into a folder where ``path`` has no ending."""
    headers = (
        '"User-ID";"ISBN";"Book-Rating"',
        '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";"Image-URL-S";"Image-URL-M";"Image-URL-L"',
        '"User-ID";"Location";"Age"',
    )
    names = ("BX-Book-Ratings.csv", "BX-Books.csv", "BX-Users.csv")
    bodies = ([each.line for each in ratings], [each.line for each in books], ['"1";"nyc, usa";NULL'])
    files = {
        name: end.join([header, *body, ""]).encode("iso-8859-1")
        for name, header, body in zip(names, headers, bodies, strict=True)
    }
    if path.suffix:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        path.mkdir()
        for name, content in files.items():
            (path / name).write_bytes(content)
    return path

"""Independent readers of what the service wrote: DuckDB (through the SQL of docs/reading-r2.md) and Python's sqlite3.

Reads a JSON list of jobs from standard input, answers a JSON list of tables. A table is
{"rows": [[text or null, ...], ...], "deleted": [[...], ...], "synced": [...]}: rows that are live, rows marked deleted,
and the _fivetran_synced of every live row in microseconds. Every value is a text that differs when the values differ;
see values.mjs.
"""

import hashlib
import json
import pathlib
import re
import sqlite3
import struct
import sys
from decimal import Decimal

MICROS_OF_DAY = 86_400_000_000


def days_from_civil(year, month, day):
    """Days since 1970-01-01 in the proleptic Gregorian calendar; datetime ends at the years 1 and 9999."""
    year -= month <= 2
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


def infinite(number, largest):
    return {largest: "infinity", -largest: "-infinity"}.get(number, str(number))


LONG = 1000


def text(value):
    """Long texts are compared by their hash; values.mjs knows the same number."""
    return value if len(value) <= LONG else hashlib.md5(value.encode()).hexdigest()


# What SQLite holds.

DATE = r"([+-]?\d{4,7})-(\d\d)-(\d\d)"
CLOCK = r"(\d\d):(\d\d):(\d\d)\.(\d{6})"


def days(text):
    return days_from_civil(*map(int, re.fullmatch(DATE, text).groups()))


def clock(text):
    hours, minutes, seconds, micros = map(int, re.fullmatch(CLOCK, text).groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros


def instant(text):
    if text in ("infinity", "-infinity"):
        return text
    date, time = text.removesuffix("Z").split("T")
    return str(days(date) * MICROS_OF_DAY + clock(time))


def trimmed(decimal):
    text = format(decimal, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def real(width):
    def convert(value):
        return struct.pack(width, float(value)).hex()

    return convert


def sqlite_decimal(value):
    return trimmed(Decimal(repr(value) if isinstance(value, float) else value))


def strictly(kind, convert):
    """SQLite stores any value in any column, so the storage class is part of what is compared."""

    def checked(value):
        if not isinstance(value, kind):
            raise TypeError(f"{value!r} is a {type(value).__name__}")
        return convert(value)

    return checked


SQLITE = {
    "bool": strictly(int, lambda value: ["false", "true"][value]),
    "int": strictly(int, str),
    "decimal": strictly((int, float, str), sqlite_decimal),
    "float4": strictly((int, float, str), real(">f")),
    "float8": strictly((int, float, str), real(">d")),
    "date": strictly(str, lambda value: value if "infinity" in value else str(days(value))),
    "time": strictly(str, lambda value: str(clock(value))),
    "timestamp": strictly(str, instant),
    "bytes": strictly(bytes, bytes.hex),
    "text": strictly(str, text),
}


def table_in(state, wanted):
    """The database under `state` that has the table. An ambiguous name ends in `__` and a hash."""
    for file in sorted(pathlib.Path(state).rglob("*.sqlite")):
        database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
            if name == wanted or re.fullmatch(re.escape(wanted) + "__[0-9a-f]{8}", name):
                return database, name.replace('"', '""')
    raise LookupError(f"no D1 file under {state} has a table {wanted}")


def read_d1(job):
    database, table = table_in(job["state"], job["table"])
    columns = job["columns"]
    names = ", ".join('"' + column["name"].replace('"', '""') + '"' for column in columns)
    rows, deleted, synced = [], [], []
    for *values, is_deleted, at in database.execute(f'SELECT {names}, _fivetran_deleted, _fivetran_synced FROM "{table}"'):
        row = [None if value is None else SQLITE[column["kind"]](value) for value, column in zip(values, columns)]
        (deleted if is_deleted else rows).append(row)
        if not is_deleted:
            synced.append(instant(at))
    return {"rows": rows, "deleted": deleted, "synced": synced}


# What DuckDB reads from Parquet, as Arrow. Arrow's own Python objects end at the years 1 and 9999, so dates and times
# are taken as the integers they are.

DAY_INFINITY, MICRO_INFINITY = 2**31 - 1, 2**63 - 1


def arrow_values(column, kind):
    import pyarrow as pa

    if kind == "date":
        assert column.type == pa.date32(), column.type
        return [None if day is None else infinite(day, DAY_INFINITY) for day in column.cast(pa.int32()).to_pylist()]
    if kind in ("time", "timestamp"):
        micros = column.cast(pa.int64()).to_pylist()
        return [None if micro is None else infinite(micro, MICRO_INFINITY) for micro in micros]
    convert = {
        "bool": lambda value: ["false", "true"][value],
        "int": str,
        "decimal": trimmed,
        "float4": real(">f"),
        "float8": real(">d"),
        "bytes": bytes.hex,
        "text": text,
    }[kind]
    return [None if value is None else convert(value) for value in column.to_pylist()]


ARROW_TYPES = {
    "bool": "^bool$",
    "int": "^int(16|32|64)$",
    "decimal": "^decimal128",
    "float4": "^float$",
    "float8": "^double$",
    "date": "^date32",
    "time": r"^time64\[us\]$",
    "timestamp": r"^timestamp\[us",
    "bytes": "^(large_)?binary$",
    "text": "^(large_)?string|json",
}


def read_r2(job):
    import duckdb

    if not job["sql"]:
        return {"rows": [], "deleted": [], "synced": []}
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    *setup, query = [statement for statement in job["sql"].split(";") if statement.strip()]
    for statement in setup:
        connection.execute(statement)
    table = connection.sql(query).to_arrow_table()
    columns = []
    for column in job["columns"]:
        found = table.column(column["name"])
        if not re.search(ARROW_TYPES[column["kind"]], str(found.type)):
            raise TypeError(f"{job['name']}.{column['name']} is {found.type} for a {column['kind']}")
        columns.append(arrow_values(found, column["kind"]))
    is_deleted = table.column("_fivetran_deleted").to_pylist()
    at = arrow_values(table.column("_fivetran_synced"), "timestamp")
    rows = [list(row) for row in zip(*columns)]
    return {
        "rows": [row for row, gone in zip(rows, is_deleted) if not gone],
        "deleted": [row for row, gone in zip(rows, is_deleted) if gone],
        "synced": [micros for micros, gone in zip(at, is_deleted) if not gone],
    }


def read_versions(job):
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for statement in connection.extract_statements(job["sql"]):
        rows = connection.execute(statement)
    return {"rows": rows.fetchall()}


def main():
    readers = {"d1": read_d1, "r2": read_r2, "versions": read_versions}
    json.dump([readers[job["reader"]](job) for job in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT
"""libpq's PQexecParams, by ctypes: a statement of sql/statement as the programs send it, types and all."""

import ctypes
import os
import re

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
OIDS = {
    "text": 25, "bool": 16, "int8": 20, "int4": 23, "jsonb": 3802,
    "text[]": 1009, "bool[]": 1000, "int4[]": 1007, "int8[]": 1016,
}  # fmt: skip
COMMAND_OK, TUPLES_OK = 1, 2
POINTER, TEXT, INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
FUNCTIONS = {
    "PQconnectdb": (POINTER, TEXT),
    "PQfinish": (None, POINTER),
    "PQbackendPID": (INT, POINTER),
    "PQexecParams": (POINTER, POINTER, TEXT, INT, POINTER, POINTER, POINTER, POINTER, INT),
    "PQresultStatus": (INT, POINTER),
    "PQresultErrorMessage": (TEXT, POINTER),
    "PQntuples": (INT, POINTER),
    "PQnfields": (INT, POINTER),
    "PQfname": (TEXT, POINTER, INT),
    "PQgetvalue": (TEXT, POINTER, INT, INT),
    "PQclear": (None, POINTER),
}
pq = ctypes.CDLL("libpq.so.5")
for _name, (_result, *_arguments) in FUNCTIONS.items():
    getattr(pq, _name).restype, getattr(pq, _name).argtypes = _result, _arguments


class Statement:
    """The text and the parameters' types of sql/statement/NAME.sql."""

    def __init__(self, name):
        with open(os.path.join(TOP, "sql", "statement", name + ".sql"), encoding="utf-8") as file:
            text = file.read()
        types = re.search(r"^-- params: (.*)$", text, re.M).group(1)
        # each may be followed by what it is called
        self.oids = [OIDS[each.split()[0]] for each in types.split(", ") if each != "none"]
        self.text = "\n".join(line for line in text.splitlines() if not line.startswith("--"))


def literal(value):
    if value is None:
        return None
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, (list, tuple)):
        return b"{" + b",".join(map(element, value)) + b"}"
    return str(value).encode()


def element(value):
    if value is None:
        return b"NULL"
    if isinstance(value, str):
        return b'"' + value.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
    return literal(value)


class Connection:
    def __init__(self, conninfo):
        self.conn = pq.PQconnectdb(conninfo.encode())
        self.pid = pq.PQbackendPID(self.conn)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pq.PQfinish(self.conn)

    def call(self, statement, *values):
        """The rows, as dicts of text."""
        count = len(values)
        if count != len(statement.oids):
            raise ValueError(f"{len(statement.oids)} parameters are wanted, not {count}: {statement.text}")
        result = pq.PQexecParams(
            self.conn, statement.text.encode(), count, (ctypes.c_uint * count)(*statement.oids),
            (TEXT * count)(*map(literal, values)), None, None, 0,
        )  # fmt: skip
        try:
            if pq.PQresultStatus(result) not in (COMMAND_OK, TUPLES_OK):
                raise RuntimeError(pq.PQresultErrorMessage(result).decode())
            names = [pq.PQfname(result, field).decode() for field in range(pq.PQnfields(result))]
            return [
                {name: pq.PQgetvalue(result, row, field).decode() for field, name in enumerate(names)}
                for row in range(pq.PQntuples(result))
            ]
        finally:
            pq.PQclear(result)

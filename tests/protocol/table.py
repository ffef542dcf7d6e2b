"""TF Serving's REST, rule by rule: predictions and what is wrong with their bodies; `ROWS` is the whole table."""

from __future__ import annotations

from tests.protocol.rows import (
    BOTH,
    NAN,
    ONE,
    PAIR_OUT,
    PAIR_ROW,
    TENSORINFO,
    TWO,
    Y1,
    Y2,
    N,
    Row,
    X,
    bad,
    columns,
    element,
    rows,
    wrong_type,
)
from tests.protocol.table_paths import OWN_ERRORS, PATHS, STATUS

ANSWERS = [
    Row("row form, one row", "/tiny:predict", rows([ONE]), want={"predictions": [Y1]}),
    Row("row form, two rows", "/tiny:predict", rows([ONE, TWO]), want={"predictions": [Y1, Y2]}),
    Row(
        "row form, objects for one input",
        "/tiny:predict",
        rows([{"x": ONE}, {"x": TWO}]),
        want={"predictions": [Y1, Y2]},
    ),
    Row("row form, several inputs", "/pair:predict", rows([PAIR_ROW]), want={"predictions": [PAIR_OUT]}),
    Row(
        "row form, keys in another order",
        "/pair:predict",
        rows([{"n": -1, "a": [0, 0]}, PAIR_ROW]),
        want={"predictions": [{"total": -1.0, "half": [0.0, 0.0], "positive": False}, PAIR_OUT]},
    ),
    Row("column form, bare value", "/tiny:predict", columns([ONE]), want={"outputs": [Y1]}),
    Row("column form, object for one input", "/tiny:predict", columns({"x": [ONE, TWO]}), want={"outputs": [Y1, Y2]}),
    Row(
        "column form, several inputs",
        "/pair:predict",
        columns({"a": [[1, 2]], "n": [3]}),
        want={"outputs": {"total": [6.0], "half": [[0.5, 1.0]], "positive": [True]}},
    ),
    Row(
        "signature by name",
        "/tiny:predict",
        {"signature_name": "serving_default", **rows([ONE])},
        want={"predictions": [Y1]},
    ),
    Row("empty signature name", "/tiny:predict", {"signature_name": "", **rows([ONE])}, want={"predictions": [Y1]}),
    Row("version", "/tiny/versions/1:predict", rows([ONE]), want={"predictions": [Y1]}),
    Row("label", "/tiny/labels/stable:predict", rows([ONE]), want={"predictions": [Y1]}),
    Row("path in other case", "/tiny:PREDICT", rows([ONE]), want={"predictions": [Y1]}),
    Row("name with an escape", "/%74iny:predict", rows([ONE]), want={"predictions": [Y1]}),
    Row("unknown keys are ignored", "/tiny:predict", {"foo": 1, **rows([ONE])}, want={"predictions": [Y1]}),
    Row("white space", "/tiny:predict", ' \n{"instances" :\t[[1, 2,3,4]] }\r\n', want={"predictions": [Y1]}),
    Row("exponents", "/tiny:predict", '{"instances":[[1e0,0.2e1,3E0,40e-1]]}', want={"predictions": [Y1]}),
    Row("NaN in, NaN out", "/tiny:predict", '{"instances":[[NaN,0,0,0]]}', want={"predictions": [[NAN, NAN, NAN]]}),
    Row(
        "Infinity in and out",
        "/pair:predict",
        '{"instances":[{"a":[Infinity,1],"n":0}]}',
        want={"predictions": [{"total": float("inf"), "half": [float("inf"), 0.5], "positive": False}]},
    ),
    Row(
        "minus Infinity in column form",
        "/pair:predict",
        '{"inputs":{"a":[[-Infinity,1]],"n":[0]}}',
        want={"outputs": {"total": [float("-inf")], "half": [[float("-inf"), 0.5]], "positive": [False]}},
    ),
    Row(
        "largest whole number in a float",
        "/tiny:predict",
        rows([[16777215, 0, 0, 0]]),
        want={"predictions": [[16777215.0, 33554430.0, 0.0]]},
    ),
    Row(
        "large whole numbers",
        "/pair:predict",
        rows([{"a": [0, 0], "n": 2**62}]),
        want={"predictions": [{"total": 4.611686e18, "half": [0.0, 0.0], "positive": True}]},
    ),
    Row(
        "smallest int64",
        "/pair:predict",
        rows([{"a": [0, 0], "n": -(2**63)}]),
        want={"predictions": [{"total": -9.223372e18, "half": [0.0, 0.0], "positive": False}]},
    ),
    Row("many rows", "/tiny:predict", rows([ONE] * 100), want={"predictions": [Y1] * 100}),
    Row(
        "floats keep their digits",
        "/pair:predict",
        rows([{"a": [0.2, 0], "n": 0}]),
        want={"predictions": [{"total": 0.2, "half": [0.1, 0.0], "positive": False}]},
    ),
    Row("no rows in column form", "/tiny:predict", columns({"x": [ONE]}), want={"outputs": [Y1]}),
    Row("content type does not matter", "/tiny:predict", '{"instances":[[1,2,3,4]]}', want={"predictions": [Y1]}),
]
DOCUMENTS = [
    bad("empty body", "", "JSON Parse error: The document is empty"),
    bad(
        "both keys",
        {"instances": [1], "inputs": [1]},
        BOTH + "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
    ),
    bad("no key", {}, "Missing 'inputs' or 'instances' key"),
    bad("no key but a signature", {"signature_name": "serving_default"}, "Missing 'inputs' or 'instances' key"),
    bad("empty list", rows([]), "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
    bad(
        "instances is an object",
        rows({}),
        "JSON Value: {\n    \"instances\": {}\n} Excepting 'instances' to be an list/array",
    ),
    bad(
        "instances is a number",
        rows(1),
        "JSON Value: {\n    \"instances\": 1\n} Excepting 'instances' to be an list/array",
    ),
    bad(
        "instances is null",
        rows(None),
        "JSON Value: {\n    \"instances\": null\n} Excepting 'instances' to be an list/array",
    ),
    bad("a list", "[]", "JSON Value: [] Is not object"),
    bad("a number", "1", "JSON Value: 1 Is not object"),
    bad("a string", '"a"', 'JSON Value: "a" Is not object'),
    bad("null", "null", "JSON Value: null Is not object"),
    bad("true", "true", "JSON Value: true Is not object"),
    bad(
        "signature is a number",
        {"signature_name": 1, "instances": [1]},
        'JSON Value: {\n    "signature_name": 1,\n    "instances": [\n        1\n    ]\n} not formatted '
        "correctly. 'signature_name' key must be a string value.",
    ),
    bad(
        "unknown signature",
        {"signature_name": "s", **rows([ONE])},
        'Serving signature name: "s" not found in signature def',
    ),
    bad(
        "unknown signature, broken tensor",
        {"signature_name": "s", **rows(["a"])},
        'Serving signature name: "s" not found in signature def',
    ),
]
TYPES = [
    bad("text for a float", rows([[1, 2, 3, "4"]]), element(0, wrong_type('"4"', "String", "float")), X),
    bad("true for a float", rows([[1, 2, 3, True]]), element(0, wrong_type("true", "True", "float")), X),
    bad("false for a float", rows([ONE, [False, 2, 3, 4]]), element(1, wrong_type("false", "False", "float")), X),
    bad("null for a float", rows([[1, 2, 3, None]]), element(0, wrong_type("null", "Null", "float")), X),
    bad("an object for a float", rows([[1, 2, 3, {}]]), element(0, wrong_type("{}", "Object", "float")), X),
    bad(
        "base64 for a float",
        rows([[1, 2, 3, {"b64": "AA=="}]]),
        element(0, wrong_type('{\n    "b64": "AA=="\n}', "Object", "float")),
        X,
    ),
    bad(
        "too large a whole number for a float",
        rows([[16777216, 0, 0, 0]]),
        element(0, "Cannot convert JSON value: 16777216 to float without loss of precision."),
        X,
    ),
    bad(
        "too large a number for a float",
        '{"instances":[[1e39,0,0,0]]}',
        element(0, "Cannot convert JSON value: 1e+39 to float without loss of precision."),
        X,
    ),
    bad(
        "a decimal for an int",
        rows([{"a": [1, 2], "n": 1.5}]),
        element(0, wrong_type("1.5", "Number", "int64"), "n"),
        N,
        path="/pair:predict",
    ),
    bad(
        "1.0 for an int",
        rows([{"a": [1, 2], "n": 1.0}]),
        element(0, wrong_type("1.0", "Number", "int64"), "n"),
        N,
        path="/pair:predict",
    ),
    bad(
        "true for an int",
        rows([{"a": [1, 2], "n": True}]),
        element(0, wrong_type("true", "True", "int64"), "n"),
        N,
        path="/pair:predict",
    ),
    bad(
        "text for an int",
        rows([PAIR_ROW, {"a": [1, 2], "n": "3"}]),
        element(1, wrong_type('"3"', "String", "int64"), "n"),
        N,
        path="/pair:predict",
    ),
    bad(
        "too large an int",
        '{"instances":[{"a":[1,2],"n":9223372036854775808}]}',
        element(0, wrong_type("9223372036854775808", "Number", "int64"), "n"),
        N,
        path="/pair:predict",
    ),
    bad("text in column form", columns([["a", 2, 3, 4]]), wrong_type('"a"', "String", "float"), X),
    bad(
        "a decimal for an int in column form",
        columns({"a": [[1, 2]], "n": [0.5]}),
        wrong_type("0.5", "Number", "int64"),
        N,
        path="/pair:predict",
    ),
    bad("null in column form", columns(None), wrong_type("null", "Null", "float"), X),
    bad("text alone in column form", columns("abc"), wrong_type('"abc"', "String", "float"), X),
]
SHAPES = [
    bad(
        "ragged within a row",
        rows([[[1, 2], [3]]]),
        element(0, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        X,
    ),
    bad("ragged rows", rows([ONE, [1, 2]]), element(1, "Expecting tensor size: 4 but got: 2"), X),
    bad("rows of other shapes", rows([ONE, [[1, 2], [3, 4]]]), element(1, "Expecting shape [4] but got: [2,2]"), X),
    bad(
        "a number among lists",
        rows([[[1, 2], 3]]),
        element(0, "JSON Value: 3 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        X,
    ),
    bad(
        "a list among numbers",
        rows([[1, 2, 3, [4]]]),
        element(0, "Encountered list at unexpected level: 1 expected < 1"),
        X,
    ),
    bad(
        "ragged in column form",
        columns([ONE, [1]]),
        "Encountered list at unexpected size: 1 at level: 1 expected size: 4",
        X,
    ),
    bad(
        "a number among lists in column form",
        columns([ONE, 1]),
        "JSON Value: 1 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        X,
    ),
    bad(
        "a list among numbers in column form",
        columns([[1, 2, 3, [4]]]),
        "Encountered list at unexpected level: 2 expected < 2",
        X,
    ),
]
NAMES = [
    bad(
        "plain list for several inputs",
        rows([[1, 2]]),
        "instances is a plain list, but expecting list of objects as " + TENSORINFO,
        "(inputs a:float32[batch,2], n:int64[batch])",
        path="/pair:predict",
    ),
    bad(
        "plain value for several inputs",
        columns([[1, 2]]),
        "inputs is a plain value/list, but expecting an object as " + TENSORINFO,
        "(inputs a:float32[batch,2], n:int64[batch])",
        path="/pair:predict",
    ),
    bad(
        "a list among objects",
        rows([PAIR_ROW, [1]]),
        "Expecting object but got list at item 1 of input list",
        path="/pair:predict",
    ),
    bad(
        "an object among lists", rows([ONE, {"x": ONE}]), "Expecting value/list but got object at item 1 of input list"
    ),
    bad(
        "unknown input in a row",
        rows([{"x": ONE, "z": 1}]),
        element(0, "JSON object: does not have named input: z", "z"),
    ),
    bad(
        "missing input in a row",
        rows([{"a": [1, 2]}]),
        "Failed to process element: 0 of 'instances' list. JSON object: "
        '{\n    "a": [\n        1,\n        2\n    ]\n} keys must be equal to: a,n',
        "(missing n)",
        path="/pair:predict",
    ),
    bad(
        "missing input in the second row",
        rows([PAIR_ROW, {"n": 1}]),
        "Failed to process element: 1 of 'instances' list. JSON object: {\n    \"n\": 1\n} keys must be equal to: a,n",
        "(missing a)",
        path="/pair:predict",
    ),
    bad(
        "empty object in a row",
        rows([{}]),
        "Failed to process element: 0 of 'instances' list. JSON object: {} keys must be equal to: x",
        "(missing x)",
    ),
    bad(
        "missing input in column form",
        columns({"a": [[1, 2]]}),
        "Missing named input: n in 'inputs' object.",
        path="/pair:predict",
    ),
    bad("empty object in column form", columns({}), "Missing named input: x in 'inputs' object."),
]

ROWS = [*ANSWERS, *DOCUMENTS, *TYPES, *SHAPES, *NAMES, *OWN_ERRORS, *PATHS, *STATUS]

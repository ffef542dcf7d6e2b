"""What a ``.pt2`` file may hold to be opened without trust.

`torch.export.load` unpickles some records without restriction, evaluates size expressions as Python, and builds
Python source from names in the file. Each of these runs code of the file's choosing, so all of them are read here
first. Read from torch 2.13: ``torch/export/pt2_archive/_package.py``, ``torch/_export/serde/serialize.py``,
``torch/fx/graph.py``.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from xport.archives import BROKEN
from xport.errors import UnreadableModelError, UntrustedCodeError

_NAME = re.compile(r"[\w.:\-/#$ ]*")
"""Names cannot do harm in generated source as long as they have no brackets, quotes, commas, = or line ends."""
_EXPRESSION_WORD = re.compile(r"[A-Za-z_]\w*(?!\w)(?P<call>\s*\()?")
_EXPRESSION = re.compile(r"[\w\s+\-*/%(),<>=!&|~.']*")
_FUNCTION = re.compile(
    r"Symbol|Integer|Rational|Float|Add|Mul|Pow|Mod|Max|Min|Abs|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Piecewise|Where"
    r"|(Une|E)quality|(StrictLess|Less|StrictGreater|Greater)Than|ceiling|floor|sqrt|ToFloat|Identity"
    r"|FloorDiv|CleanDiv|CeilDiv|IntTrueDiv|FloatTrueDiv|ModularIndexing|PythonMod|[LR]Shift|PowByNatural|FloatPow"
    r"|(Ceil|Floor|Trunc|Round)ToInt|TruncToFloat|RoundDecimal|IsNonOverlappingAndDenseIndicator"
    r"|OpaqueUnaryFn_(sqrt|log2)|BitwiseFn_bitwise_(and|or)"
)
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.__i?(and|or|xor|lshift|rshift)__(\.\w+)?"
    r"|torch\.ops\.(?!load_library|import_module)[a-zA-Z]\w*\.(?!__)\w+(\.(?!__)\w+)?"
    r"|_operator\.(eq|ne|le|ge|lt|gt|neg|pos|abs|mul|add|sub|floordiv|mod|pow|truediv|and_|or_|xor|not_|invert"
    r"|lshift|rshift|getitem)"
    r"|math\.\w+|torch\.sym_\w+|torch\._sym_sqrt|#\w+:[\w.]+"
)
_FREE_TEXT = frozenset({"metadata", "guards_code", "in_spec", "out_spec", "torch_version", "device"})
"""Read as text only; guards are checked by `harmless_guard` after loading, specs by `_imports_in_spec`."""
_LITERAL = re.compile(r"[^'\"\\\n\r{}]*")
_GUARD = re.compile(r"[\w\s+\-*/%(),<>=!&|~.\[\]']*")
_GUARD_WORDS = frozenset(
    {"L", "size", "and", "or", "not", "max", "min", "math", "floor", "ceil", "trunc"}
    | {"torch", "sym_float", "sym_int", "FloorDiv"}
)
_PICKLED = re.compile(r"(^|/)(data/sample_inputs/[^/]*\.pt|data/(weights|constants)/[^/]*\.pt|serialized_\w+\.pt)$")
_PAYLOAD_CONFIG = re.compile(r"(^|/)data/(weights|constants)/\w*_config\.json$")
_PROGRAM = re.compile(r"(^|/)(models/[^/]*\.json|serialized_exported_program\.json)$")
_COMPILED = re.compile(r"(^|/)data/aotinductor/")


def screen(path: Path) -> None:
    """Refuse a ``.pt2`` file that could run code while it is opened.

    Args:
        path: The file.

    Raises:
        UntrustedCodeError: Naming the first thing found that could run code.
        UnreadableModelError: If the archive is broken.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            findings = list(_findings(archive))
    except BROKEN as error:
        raise UnreadableModelError(
            f"{path} is a broken .pt2 archive: {error}", "It may be truncated; copy or save it again."
        ) from error
    if findings:
        raise UntrustedCodeError(
            f"Opening {path} could run code that the file carries: {findings[0]}.",
            "If you trust where it comes from, add --trust-pickle.",
        )


def harmless_guard(text: str) -> bool:
    """Whether a guard of a program, which torch compiles as Python, does no more than compare sizes."""
    if not _GUARD.fullmatch(text):
        return False
    return set(re.findall(r"[A-Za-z_]\w*", re.sub(r"'\w*'", "", text))) <= _GUARD_WORDS


def _findings(archive: zipfile.ZipFile) -> Iterator[str]:
    for member in archive.namelist():
        if _COMPILED.search(member):
            yield f"{member} is compiled code"
        elif _PROGRAM.search(member):
            yield from _program_findings(json.loads(archive.read(member)), member)
        elif _PICKLED.search(member):
            yield from _pickle_findings(archive.read(member), member)
        elif _PAYLOAD_CONFIG.search(member):
            yield from _payload_findings(archive, member)


def _payload_findings(archive: zipfile.ZipFile, member: str) -> Iterator[str]:
    folder = member.rpartition("/")[0]
    for entry in json.loads(archive.read(member)).get("config", {}).values():
        path = entry["path_name"]
        if not path.startswith(("weight_", "tensor_")):
            yield f"{folder}/{path} is a pickled object"
        elif entry.get("use_pickle"):
            yield from _pickle_findings(archive.read(f"{folder}/{path}"), f"{folder}/{path}")


def _pickle_findings(data: bytes, member: str) -> Iterator[str]:
    if not data:
        return
    try:
        torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        text = " ".join(str(error).split())[:200]
        yield f"{member} holds more than tensors ({text})"


def _program_findings(value: Any, where: str, key: str = "", in_node: bool = False) -> Iterator[str]:
    """Strings in a program that end up in evaluated or generated source, outside what is harmless there."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name in _FREE_TEXT and not (name.endswith("_spec") and _imports_in_spec(item)):
                continue
            if not _NAME.fullmatch(name) and key not in {"range_constraints", "opset_version"}:
                yield f"{where} has the name {name[:60]!r}"
            yield from _program_findings(item, where, name, in_node or name == "nodes")
    elif isinstance(value, list):
        for item in value:
            yield from _program_findings(item, where, key, in_node)
    elif isinstance(value, str) and not _harmless(value, key, in_node):
        yield f"{where} has {key} {value[:80]!r}"


def _imports_in_spec(spec: Any) -> bool:
    """Whether a container's description makes torch import a module of its choosing (enum keys, defaultdict)."""
    return isinstance(spec, str) and ("__enum__" in spec or "default_factory" in spec)


def _harmless(value: str, key: str, in_node: bool) -> bool:
    if key == "target":
        return _OPERATOR.fullmatch(value) is not None
    if key in {"as_string", "as_strings"}:
        # A node's text argument is written with repr(); an input's fixed text is pasted between quotes.
        return in_node or _LITERAL.fullmatch(value) is not None
    if key == "expr_str":
        return _harmless_expression(value)
    return _NAME.fullmatch(value) is not None


def _harmless_expression(text: str) -> bool:
    # sympy evaluates the text: only known functions may be called, and nothing may be reached through a dot.
    if not _EXPRESSION.fullmatch(text) or "__" in text or re.search(r"[A-Za-z_)']\s*\.", text):
        return False
    calls = (match.group().rstrip(" (") for match in _EXPRESSION_WORD.finditer(text) if match["call"])
    return all(_FUNCTION.fullmatch(name) for name in calls) and re.fullmatch(r"[^']*('[\w.]*'[^']*)*", text) is not None

"""Source text out of classes, in the form that formatters give it: 120 columns, four spaces, double quotes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from xport.convert.writing.classes import Class
from xport.convert.writing.code import quoted, written
from xport.convert.writing.helpers import FUNCTIONS, READ
from xport.convert.writing.modules import Made, Setting
from xport.signature import Signature, TensorSpec

WIDTH = 120
_LOOP = re.compile(r"self\.(\w+(?:\.\w+)*)\[(\d+)\]")


def source_text(classes: Sequence[Class], helpers: set[str], signature: Signature) -> str:
    """The whole module.

    Args:
        classes: The classes, inner ones first; the last one is the model.
        helpers: Names of functions to write beside it.
        signature: The model's interface, for its documentation.

    Returns:
        Python source.
    """
    model = classes[-1]
    functions = [FUNCTIONS[name].rstrip("\n") for name in FUNCTIONS if name in helpers]
    bodies = [class_text(each, signature if each is model else None) for each in classes]
    reader = READ.replace("NAME", model.name).rstrip("\n")
    text = "\n\n\n".join([*functions, *bodies, reader])
    head = ['"""PyTorch source written by xport. Needs PyTorch alone: `from model import load; model = load()`."""', ""]
    head += ["from __future__ import annotations", "", "import json"]
    head += ["from collections.abc import Sequence"] if "pad_same" in helpers else []
    head += ["from pathlib import Path", "", "import torch"]
    uses_functional = re.search(r"\bF\.", text) is not None
    head += ["import torch.nn.functional as F"] if uses_functional else []
    head += ["from torch import Tensor, nn", "", "", ""]
    return "\n".join(head) + text + "\n"


def class_text(each: Class, signature: Signature | None) -> str:
    """One class."""
    lines = [f"class {each.name}(nn.Module):"]
    lines += _documentation(each, signature)
    arguments = "".join(
        f", {name}: {_kind(each, name)}" + ("" if d is None else f" = {d!r}") for name, d in each.parameters
    )
    lines += _wrapped(f"def __init__(self{arguments}) -> None:", 4)
    lines.append("        super().__init__()")
    for setting in each.settings:
        lines += _setting(setting, each)
    lines.append("")
    arguments = "".join(f", {name}: {kind}" for name, kind in each.body.arguments)
    lines += _wrapped(f"def forward(self{arguments}) -> {each.body.result}:", 4)
    for text, comment in _looped(each.body.lines, each.body.comments):
        indent = len(text) - len(text.lstrip())
        wrapped = _wrapped(text.lstrip(), 8 + indent)
        if comment and len(wrapped) == 1 and len(wrapped[0]) + 4 + len(comment) <= WIDTH:
            wrapped[0] += f"  # {comment}"
        lines += wrapped
    return "\n".join(lines)


def _documentation(each: Class, signature: Signature | None) -> list[str]:
    if signature is None:
        count = len(each.members)
        times = f"used {count} times" if count > 1 else "used once"
        return [f'    """A part of the model, {times}."""', ""]
    lines = ['    """The model.', "", "    Takes:"]
    lines += [
        f"        {name}: {_spec(spec)}" for (name, _), spec in zip(each.body.arguments, signature.inputs, strict=True)
    ]
    lines += [
        "",
        "    Gives:",
        *(f"        {_word(spec.name)}: {_spec(spec)}" for spec in signature.outputs),
        '    """',
        "",
    ]
    return lines


def _word(text: str) -> str:
    """A name as it may stand in documentation: printable ASCII without quotes or backslashes."""
    return re.sub(r"[^\w .:/()-]", "_", text, flags=re.ASCII)[:80]


def _spec(spec: TensorSpec) -> str:
    shape = "any shape" if spec.shape is None else "[" + ", ".join(_word(str(d)) for d in spec.shape) + "]"
    return f"{spec.dtype} {shape}"


def _kind(each: Class, name: str) -> str:
    values = [values[name] for values in each.values.values() if name in values]
    kinds = dict.fromkeys("tuple[int, ...]" if isinstance(v, tuple) else type(v).__name__ for v in values)
    return " | ".join(kinds) or "int"


def _setting(setting: Setting, each: Class) -> list[str]:
    if setting.made is not None:
        text = made_text(setting.made)
        if setting.target in each.optional:
            return _optional(setting.target, text, each.optional[setting.target])
        if setting.target.startswith("getattr("):
            return _wrapped(f"{setting.holder}.add_module({_own_name(setting)}, {text})", 8)
        return _wrapped(f"{setting.target} = {text}", 8)
    weight = setting.weight
    if weight is None:
        return []
    sizes = written(tuple(int(n) for n in weight.array.shape))
    dtype = "" if weight.array.dtype.name == "float32" else f", dtype=torch.{weight.array.dtype.name}"
    made = f"torch.zeros({sizes}{dtype})"
    if weight.trained and setting.target.startswith("getattr("):
        return _wrapped(f"{setting.holder}.register_parameter({_own_name(setting)}, nn.Parameter({made}))", 8)
    if weight.trained:
        return _wrapped(f"{setting.target} = nn.Parameter({made})", 8)
    return _wrapped(f"{setting.holder}.register_buffer({_own_name(setting)}, {made})", 8)


def _optional(target: str, text: str, name: str) -> list[str]:
    """A child that some instances lack."""
    line = f"        {target} = {text} if {name} else nn.Identity()"
    if len(line) <= WIDTH:
        return [line]
    return [
        f"        {target} = (",
        *_wrapped(text, 12),
        f"            if {name}",
        "            else nn.Identity()",
        "        )",
    ]


def _own_name(setting: Setting) -> str:
    """The last part of what a line sets, as a literal."""
    return quoted(re.findall(r"\w+", setting.target)[-1])


def made_text(made: Made) -> str:
    """An expression that makes a module."""
    if made.fixed:
        return made.kind
    if made.children:
        return _children(made)
    shown: list[str] = []
    by_position = True
    for i, (name, value, default) in enumerate(made.arguments):
        if i >= made.positional or (made.positional == 99 and isinstance(value, bool)):
            by_position = False
        if default is not None and type(value) is type(default) and value == default:
            by_position = False
            continue
        text = written(value)
        shown.append(text if by_position else f"{name}={text}")
    return f"{made.kind}({', '.join(shown)})"


def _children(made: Made) -> str:
    texts = [(name, made_text(child)) for name, child in made.children]
    if made.kind == "nn.ModuleDict":
        return "nn.ModuleDict({" + ", ".join(f"{quoted(name)}: {text}" for name, text in texts) + "})"
    runs: list[tuple[str, int]] = []
    for _, text in texts:
        runs = [*runs[:-1], (text, runs[-1][1] + 1)] if runs and runs[-1][0] == text else [*runs, (text, 1)]
    shown: list[str] = []
    for text, count in runs:
        shown += [f"*[{text} for _ in range({count})]"] if count > 2 else [text] * count
    inner = ", ".join(shown)
    if made.kind == "nn.ModuleList":
        return f"nn.ModuleList({inner[1:]})" if len(runs) == 1 and runs[0][1] > 2 else f"nn.ModuleList([{inner}])"
    return f"{made.kind}({inner})"


def _looped(lines: list[str], comments: list[str]) -> list[tuple[str, str]]:
    """Calls of all modules of a list, one after the other, as a loop."""
    result: list[tuple[str, str]] = []
    i = 0
    while i < len(lines):
        run = _run(lines, i)
        if run > 2:
            match = _LOOP.search(lines[i])
            if match is not None:
                name = _loop_name(match[1], lines)
                indent = lines[i][: len(lines[i]) - len(lines[i].lstrip())]
                result.append((f"{indent}for {name} in self.{match[1]}:", ""))
                result.append(
                    (
                        "    " + lines[i].replace(match[0], name),
                        comments[i] if len(set(comments[i : i + run])) == 1 else "",
                    )
                )
            i += run
        else:
            result.append((lines[i], comments[i]))
            i += 1
    return result


def _run(lines: list[str], start: int) -> int:
    """How many lines from here on are the same for the numbers 0, 1, 2 … of a list that ends there."""
    match = _LOOP.search(lines[start])
    if match is None or match[2] != "0" or len(_LOOP.findall(lines[start])) != 1:
        return 0
    count = 1
    for text in lines[start + 1 :]:
        if text != lines[start].replace(match[0], f"self.{match[1]}[{count}]"):
            break
        count += 1
    others = [line for i, line in enumerate(lines) if not start <= i < start + count]
    return 0 if any(f"self.{match[1]}[" in line for line in others) else count


def _loop_name(path: str, lines: list[str]) -> str:
    from xport.convert.writing.names import identifier, singular

    name = identifier(singular(path.rpartition(".")[2]), "module")
    words = {word for line in lines for word in re.findall(r"\w+", line)}
    while name in words:
        name += "_"
    return name


def _wrapped(text: str, indent: int) -> list[str]:
    """A statement in lines that are not too wide: what is in the last brackets gets lines of its own."""
    pad = " " * indent
    if len(text) + indent <= WIDTH:
        return [pad + text]
    bounds = _last_brackets(text)
    if bounds is None:
        return [pad + text]
    start, end = bounds
    inner, head, tail = text[start + 1 : end], text[: start + 1], text[end:]
    items = _split(inner)
    single = len(items) == 1 and not inner.rstrip().endswith(",")
    if len(inner) + indent + 4 <= WIDTH and (not single or _last_brackets(inner) is None):
        body = [f"{pad}    {inner}"]
    else:
        body = [line for item in items for line in _wrapped(item if single else f"{item},", indent + 4)]
    return [pad + head, *body, pad + tail]


def _last_brackets(text: str) -> tuple[int, int] | None:
    """The outermost brackets that hold the most."""
    found: list[tuple[int, int]] = []
    stack: list[int] = []
    quote = ""
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote and text[i - 1] != "\\" else quote
        elif c in "\"'":
            quote = c
        elif c in "([{":
            stack.append(i)
        elif c in ")]}" and stack:
            start = stack.pop()
            if not stack and i > start + 1:
                found.append((start, i))
    return max(found, key=lambda pair: pair[1] - pair[0], default=None)


def _split(text: str) -> list[str]:
    """The parts between commas outside of brackets and quotes."""
    parts, depth, start, quote = [], 0, 0, ""
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote and text[i - 1] != "\\" else quote
        elif c in "\"'":
            quote = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    rest = text[start:].strip()
    return [*parts, rest] if rest else parts

"""Errors of onnxruntime, cut to the reason, with a hint how to fix the model.

The original texts begin with a code, the file's path, a line of the C++ sources and a function
signature; the reason is at the end.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

#: Maximum characters of a reason; the middle of a longer one is left out.
LONGEST = 600
_BEGIN = 150
_MOST_READ = 20_000

_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_FILE = re.compile(r"(?:Load model|Deserialize tensor|Loading) from .*? failed: ?(?=\S)")
# `…/core/graph/model.cc:256 onnxruntime::Model::Model(onnx::ModelProto&&, const PathString&) const `
_SOURCE = re.compile(r"\S*\.(?:cc|cpp|cxx|h|hpp|hxx|cu|cuh|mm):\d+\s*")
_SIGNATURE = re.compile(r"^[^():]*(?:\w+|>)::[^()]*(?=\()")

_EXPORT = "export the graph again"
#: Pattern in the reason → how to fix it.
_FIXES: tuple[tuple[str, str], ...] = (
    (r"model IR version", f"{_EXPORT} with an older onnx (`model.ir_version = …`), or upgrade onnxruntime"),
    (
        r"[Oo]pset \d+ is under development|No Op registered",
        f"{_EXPORT} with another opset (every onnxruntime reads `opset_version=17`), or upgrade onnxruntime",
    ),
    (
        r"is not a registered function/op|No schema registered|No opset import for domain",
        f"custom operators are not supported: {_EXPORT} without them",
    ),
    (
        r"not compatible with any execution provider|Could not find an implementation|NOT_IMPLEMENTED",
        f"the service runs models on the CPU only: {_EXPORT} with operators and types that the CPU supports, "
        "preferably float32",
    ),
    (r"Type Error: ", f"{_EXPORT} with types that the operator supports, preferably float32"),
    (
        r"Protobuf parsing failed|No graph was found|ModelProto",
        "the file is truncated or not an ONNX graph: copy it again, or export it to ONNX",
    ),
    (
        r"allocate memory|bad_alloc|[Oo]ut of memory",
        "the machine has too little memory, or a memory limit is too low",
    ),
)


def reason_of(error: BaseException, folder: Path | None = None) -> str:
    """The reason in an error of onnxruntime, on one line; paths inside `folder` become relative to it."""
    text = " ".join(str(error)[-_MOST_READ:].split())
    code = _CODE.match(text)
    for place in {str(folder), str(folder.resolve())} if folder else ():
        text = text.replace(f"{place}/", "")
    text = _without_sources(_FILE.sub("", _CODE.sub("", text)))
    reason = _middle_out(text) or type(error).__name__
    clues = f"{code[0] if code else ''}{text}"
    fix = next((fix for pattern, fix in _FIXES if re.search(pattern, clues)), None)
    if fix is None:
        return reason
    return f"{reason.rstrip('. ')} (onnxruntime {version('onnxruntime')}): {fix}"


def _without_sources(text: str) -> str:
    while match := _SOURCE.search(text):
        rest = text[match.end() :]
        text = f"{text[: match.start()].rstrip()} {rest[_end_of_signature(rest) :].lstrip()}"
    return text.strip()


def _end_of_signature(text: str) -> int:
    """The index after a function's name, arguments and template; 0 without a signature."""
    begin = _SIGNATURE.match(text)
    if begin is None:
        return 0
    end = begin.end()
    while end < len(text) and text[end] in "([":
        end = _closing(text, end)
        end += len(re.match(r"(?: const\b| noexcept\b)*(?: (?=\[with ))?", text[end:])[0])  # type: ignore[index]
    return end


def _closing(text: str, start: int) -> int:
    """The index after the bracket that closes the one at `start`, or the length of the text."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] in "([") - (text[place] in ")]")
        if depth == 0:
            return place + 1
    return len(text)


def _middle_out(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[:_BEGIN]} … {text[_BEGIN - LONGEST + 3 :]}"

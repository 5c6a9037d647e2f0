"""Code given to an interpreter on the command line: the little that plainly does no harm.

Whatever is not seen to be harmless stays a doubt; this looks for the harmless, not for harm.
"""

from __future__ import annotations

import ast
import re
import warnings
from typing import Final

from pandar_daemon.domain.gate_tables import names
from pandar_daemon.domain.shell_inner import PYTHON
from pandar_daemon.domain.shell_run import Run
from pandar_daemon.domain.shell_words import Word

_CODE_MAX: Final = 500
"""Characters of code that are looked at."""
_DEPTH_MAX: Final = 30
"""Brackets of code that are looked at."""
_CALLS: Final = names(
    "print len str repr int float sorted sum min max list dict set tuple range round type abs bool"
    " hex oct bin ord chr enumerate zip reversed isinstance any all divmod pow"
)
_METHODS: Final = names(
    "join split strip lower upper title format keys values items count index startswith endswith"
    " dumps loads python_version platform machine sqrt floor ceil gcd now today isoformat"
    " strftime version token_hex token_urlsafe uuid4 hexdigest sha256 md5 encode decode"
)
_MODULES: Final = names(
    "sys json math platform datetime string re secrets uuid statistics itertools functools"
    " collections time calendar decimal numpy pandas torch django flask requests tensorflow sklearn"
    " scipy"
    " matplotlib fastapi pydantic sqlalchemy pytest httpx yaml fractions hashlib sysconfig"
    " textwrap typing enum"
)
_PLAIN_NODES: Final = (
    *(
        ast.Module,
        ast.Expr,
        ast.Import,
        ast.ImportFrom,
        ast.alias,
        ast.Constant,
        ast.Name,
        ast.Load,
    ),
    *(
        ast.Attribute,
        ast.Call,
        ast.BinOp,
        ast.UnaryOp,
        ast.BoolOp,
        ast.Compare,
        ast.Tuple,
        ast.List,
    ),
    *(ast.Dict, ast.Subscript, ast.Slice, ast.JoinedStr, ast.FormattedValue, ast.keyword),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.IfExp, ast.Assert),
)
_PERL: Final = re.compile(
    r"\s*(?:s([/|#,!])(?:(?!\1)[^\\$@`(]|\\.)*\1(?:(?!\1)[^\\$@`]|\\.)*\1[gimsx]*;?\s*)+"
)
_PERL_PRINT: Final = re.compile(
    r"\s*print(?: \$_)? (?:if|unless) /(?:[^/\\$@`(]|\\.)*/[gimsx]*;?\s*"
)
_NODE: Final = re.compile(
    r"\s*(?:console\.log\()?(?:process\.(?:versions?|platform|arch)(?:\.\w+)?|[\d\s.+*/%-]+"
    r"|'[^'\\]*'|\"[^\"\\]*\")\)?;?\s*"
)


def is_harmless(run: Run) -> bool:
    """Tell whether all a run executes is code that is seen to only compute and print."""
    code = _code(run)
    if code is None or len(code) > _CODE_MAX or not code.strip():
        return False
    if PYTHON.match(run.name):
        return _is_harmless_python(code)
    if run.name == "perl":
        return bool(_PERL.fullmatch(code) or _PERL_PRINT.fullmatch(code))
    return run.name in {"node", "nodejs"} and bool(_NODE.fullmatch(code))


_OPTION: Final = {
    "perl": re.compile(r"-(?:i(?:\.\w+)?|[pnl])*e|-p"),
    "node": re.compile(r"-e|-p|-pe|--eval|--print"),
    "nodejs": re.compile(r"-e|-p|-pe|--eval|--print"),
}


def _code(run: Run) -> str | None:
    """Return the code of a run where it stands in the text and nowhere else."""
    options = re.compile(r"-[IEsSuBqb]*c") if PYTHON.match(run.name) else _OPTION.get(run.name)
    words = list(run.arguments)
    while words and words[0].text in _BEFORE and not (options and options.fullmatch(words[0].text)):
        del words[0]
    if options and len(words) > 1 and options.fullmatch(words[0].text) and words[1].known:
        return words[1].text
    if words in ([], [Word("-")]):
        bodies = [r for r in run.redirects if r.operator in {"<<", "<<-", "<<<"}]
        if len(bodies) == 1 and PYTHON.match(run.name):
            body = bodies[0]
            return body.target.text if body.operator == "<<<" else body.body
    return None


_BEFORE: Final = frozenset(
    {"-p", "-i", "-n", "-pi", "-I", "-u", "-B", "-s", "-q", "-l", "-w", "-0"}
)


def _is_harmless_python(code: str) -> bool:
    if sum(map(code.count, "([{")) > _DEPTH_MAX:
        return False
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(map(_is_plain, ast.walk(tree)))


def _is_plain(node: ast.AST) -> bool:  # noqa: PLR0911 - one match over all nodes is the table
    match node:
        case ast.Import(names=found):
            return all(each.name in _MODULES for each in found)
        case ast.ImportFrom(module=module):
            return module in _MODULES and not any("_" in each.name for each in node.names)
        case ast.Attribute(attr=name):
            return name == "__version__" or not (name.startswith("_") or name == "modules")
        case ast.Name(id=name):
            return not name.startswith("_")
        case ast.Call(func=ast.Name(id=name)):
            return name in _CALLS
        case ast.Call(func=ast.Attribute(value=ast.Name(id="json"), attr="load")):
            return True
        case ast.Call(func=ast.Attribute(attr=name)):
            return name in _METHODS
    return isinstance(node, _PLAIN_NODES) and not isinstance(node, ast.Call)

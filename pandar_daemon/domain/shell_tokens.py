"""How a shell cuts its text: what stands outside double quotes, and within them.

Each pattern ends in "any character": it fits at every place of any text.
"""

from __future__ import annotations

import re
from typing import Final

_VARIABLE: Final = r"\$(?:\w+|[?\#@*$!-]|\{(?!!\w+\})[^{}$`\"'\\()@]*(?:\[@\]|@)?\})"
_ARITHMETIC: Final = r"\$\(\([\w\s+\-*/%<>=!&|^~?:,$\#]*+\)\)"
PLAIN: Final = re.compile(
    rf"""
    (?P<gone>\\\n)
  | \\(?P<escaped>.)
  | '(?P<single>[^']*)(?P<single_end>'?)
  | \$'(?P<ansi>(?:[^'\\]|\\.)*+)(?P<ansi_end>'?)
  | (?P<quote>\$?")
  | (?P<arithmetic>{_ARITHMETIC})
  | (?P<open>[$<>]\()
  | (?P<variable>{_VARIABLE})
  | (?P<braced>\$\{{)
  | (?P<tick>`)
  | (?P<comment>(?:(?<=[ \t\n;&|()])|\A)\#[^\n]*)
  | (?P<redirect>&>>?|<<<|<<-?|<>|>>|>\||[<>]&?)
  | (?P<end>&&|\|\||;;|\|&|[;&|\n])
  | (?P<group>\()
  | (?P<close>\))
  | (?P<blank>[ \t\r\f\v]+)
  | (?P<pattern>[*?\[]|\{{(?=[^\s}}]))
  | (?P<text>[^\s\\'"`$\#<>&;|()*?\[{{]+|.)
    """,
    re.VERBOSE | re.DOTALL,
)
QUOTED: Final = re.compile(
    rf"""
    (?P<gone>\\\n)
  | \\(?P<escaped>[$`"\\])
  | (?P<quote>")
  | (?P<arithmetic>{_ARITHMETIC})
  | (?P<open>\$\()
  | (?P<variable>{_VARIABLE})
  | (?P<braced>\$\{{)
  | (?P<tick>`)
  | (?P<text>[^\\"`$]+|.)
    """,
    re.VERBOSE | re.DOTALL,
)

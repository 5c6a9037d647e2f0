"""The control door: its protocol, its server, and the programs that speak it inside a box.

A message is four bytes of length, the highest first, and so many bytes of JSON. A client says one::

    {"tool": "git", "argv": ["push"], "cwd": "/w"}                       at most `ORDER_MAX`

and hears any number of these, the last of which has ``exit`` or ``run``::

    {"out": base64} | {"err": base64} | {"file": base64}                  at most `PIECE_MAX` each
    {"exit": 1} | {"run": ["push"], "env": {"NAME": "value"}}
"""

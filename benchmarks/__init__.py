"""tenkai beside its peers: ``python -m benchmarks [NAME…] [--list] [--quick] [--json FILE]``.

An entry is a module of this package with ``prepare(quick) -> Race``; its name with hyphens is the
command's, the first line of its docstring its title.
"""

"""Exported C99 headers give what JAX gives, compile cleanly and touch only their own memory."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from export_laws import COMPILER, LAWS, STRICT, Case, Compiled, close, program, real
from jax import lax

from tenkai.errors import InputError
from tenkai.export import Argument, Function, Program
from tenkai.export import c as export_c
from tenkai.fields import NeuralField
from tenkai.unfold import Interval, rk4, unfold

pytestmark = pytest.mark.skipif(
    COMPILER is None, reason="headers are tried with a C compiler, and this machine has none"
)
TYPES = {"double": "float64", "float": "float32"}


@pytest.fixture(scope="module", params=["double-O0", "double-O2", "float-O0", "float-O2"])
def laws(request: Any, tmp_path_factory: Any) -> tuple[str, Compiled]:
    kind, level = request.param.split("-")
    path = tmp_path_factory.mktemp(request.param) / "laws.h"
    return TYPES[kind], Compiled(export_c(program(LAWS, c=True), path, dtype=kind), f"-{level}")


def sizes(case: Case) -> list[int]:
    """The open sizes of a case, in the order of its arguments."""
    if not case.open_in_c or case.shapes is None:
        return []
    pairs = [
        p
        for s, a in zip(case.shapes, case.arrays, strict=True)
        for p in zip(s, a.shape, strict=True)
    ]
    return list({name: n for name, n in pairs if isinstance(name, str)}.values())


@pytest.mark.parametrize("case", LAWS, ids=lambda c: c.name)
def test_what_jax_gives(laws: tuple[str, Compiled], case: Case) -> None:
    dtype, compiled = laws
    close(compiled.call(f"laws_law_{case.name}", case, dtype, sizes(case)), case, dtype)


def test_nothing_but_the_mathematics_library(laws: tuple[str, Compiled]) -> None:
    text = laws[1].text
    assert set(re.findall(r"#include (\S+)", text)) == {"<math.h>", "<stddef.h>"}
    assert not re.search(r"\b(malloc|calloc|realloc|alloca|free|printf)\b", text)
    defined = re.findall(r"^(?:static )?(?:inline |const )*(?:\w+ )+(\w+)[\[(]", text, re.M)
    assert len(defined) > len(LAWS) and all(name.startswith("laws_") for name in defined)


MAIN = """
#include "laws.h"
#include <stdio.h>
static unsigned int seed = 1;
static double draw(void) {{ seed = seed * 1664525u + 1013904223u; return 0.1 + seed / 5e9; }}
static int bad;
static void look(const unsigned char *p, size_t n)
{{
    for (size_t i = 0; i < n; i++) {{
        bad += p[i] > 7;
    }}
}}
int main(void) {{
{calls}
    printf("%d\\n", bad > 0);
    return 0;
}}
"""


def call_text(case: Case, compiled: Compiled, dtype: str) -> str:
    """A block of C that calls a law on numbers of its own and reads all it wrote."""
    lines, names = [], [str(n) for n in sizes(case)]
    kinds = {"float64": "double", "float32": "float", "int32": "int", "bool": "unsigned char"}
    for i, a in enumerate(case.given(dtype)):
        kind = kinds[a.dtype.name]
        value = "draw()" if a.dtype.kind == "f" else "2" if a.dtype.kind == "i" else "1"
        if a.ndim == 0:
            lines.append(f"{kind} a{i} = ({kind}){value};")
        else:
            lines.append(f"{kind} a{i}[{a.size}];")
            lines.append(f"for (size_t k = 0; k < {a.size}; k++) a{i}[k] = ({kind}){value};")
        names.append(f"a{i}")
    looks = []
    parameters = compiled.parameters[f"laws_law_{case.name}"]
    for i, out in enumerate(case.expected(dtype)):
        kind = parameters[len(parameters) - len(case.expected(dtype)) + i].split(" *")[0]
        lines.append(f"{kind} o{i}[{max(out.size, 1)}];")
        looks.append(f"look((const unsigned char *)o{i}, {out.size} * sizeof o{i}[0]);")
        names.append(f"o{i}")
    call = f"laws_law_{case.name}({', '.join(names)});"
    return "    { " + " ".join([*lines, call, *looks]) + " }"


def test_only_its_own_memory(laws: tuple[str, Compiled], tmp_path: Path) -> None:
    """Under valgrind, or else the compiler's own checks of addresses."""
    dtype, compiled = laws
    (tmp_path / "laws.h").write_text(compiled.text)
    calls = "\n".join(call_text(case, compiled, dtype) for case in LAWS)
    (tmp_path / "main.c").write_text(MAIN.format(calls=calls))
    tool = shutil.which("valgrind")
    flags = ["-g", "-O1"] if tool else ["-g", "-O1", "-fsanitize=address,undefined"]
    build = [COMPILER, *STRICT, *flags, "-o", "main", "main.c", "-lm"]
    made = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)  # type: ignore[arg-type]
    assert made.returncode == 0, made.stderr[:3000]
    run = [tool, "-q", "--error-exitcode=9"] if tool else []
    done = subprocess.run(
        [*run, "./main"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[:3000]
    assert done.stdout in ("0\n", "1\n")


def rollout(width: int = 16) -> Function:
    net = NeuralField(2, key=np.random.default_rng(0), width=width, depth=1)

    def call(y0: Any, times: Any) -> Any:
        _, ys = unfold(rk4(net), y0, Interval(times[:-1], jnp.diff(times)))
        return jnp.concatenate([y0[None], ys])

    return Function(
        "simulate", call, (Argument("y0", (2,)), Argument("times", ("times",))), ("path",)
    )


def test_a_size_that_only_counts_steps_stays_open(tmp_path: Path) -> None:
    text = export_c(Program("net", (rollout(),)), tmp_path / "net.h").read_text()
    assert (
        "void net_simulate(size_t n_times, const double *y0, const double *times, double *path)"
        in text
    )
    assert "[n_times" not in text.replace("(n_times", "")  # no array of open size


@pytest.mark.parametrize(
    "call",
    [
        lambda x: jnp.sort(x, axis=0),
        lambda x: jnp.flip(lax.scan(lambda c, v: (c + v, c), x[0], x)[1], 0) * 2,
        lambda x: x @ jnp.ones((3, 2)) - 1,
        lambda x: jnp.tanh(x).T,
    ],
)
def test_a_size_that_is_needed_is_asked_for(call: Any, tmp_path: Path) -> None:
    made = Program("f", (Function("f", call, (Argument("x", ("rows", 3)),)),))
    try:
        text = export_c(made, tmp_path / "open.h").read_text()
    except InputError as error:
        assert "sizes={'rows'" in str(error)
    else:  # nothing had to be kept
        assert "work" not in text
    text = export_c(made, tmp_path / "fixed.h", sizes={"rows": 4}).read_text()
    assert "n_rows" not in text and "4 x 3" in text


def test_open_sizes_of_other_axes_are_asked_for(tmp_path: Path) -> None:
    made = Program("f", (Function("f", lambda x: x * 2, (Argument("x", (3, "rows")),)),))
    with pytest.raises(InputError, match=r"numbers for rows.*sizes={'rows': 1}"):
        export_c(made, tmp_path / "f.h")


HOSTILE = '*/ #error "no" \n#include <stdio.h> // \\\n??/ /* " \u2028 \x00 \ud800'


HEAD = ["#ifndef", "#define", "#include", "#include", "#endif"]


def test_texts_cannot_become_code(tmp_path: Path) -> None:
    arguments = (
        Argument(HOSTILE, (2,), HOSTILE),
        Argument("while", (), HOSTILE),
        Argument("exp", (2,)),
        Argument("i", (2,)),
        Argument("気温", (2,), "度"),
    )
    call = lambda a, b, e, i, k: jnp.exp(a * b) + jnp.exp(e) * i + k  # noqa: E731
    function = Function("f", call, arguments, ("double",), HOSTILE)
    weights = {HOSTILE: real(2).astype(np.float32)}
    more = Function("定数", lambda x: x @ weights[HOSTILE], (Argument("NAN", (2,)),))
    made = Program(HOSTILE, (function, more), (HOSTILE,), constants=weights)
    path = export_c(made, tmp_path / "f.h", dtype="float", prefix="2 bad-名前")
    compiled = Compiled(path, "-O2")
    code = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.S)
    lines = [line for line in code.splitlines() if line.startswith("#")]
    assert [line.split()[0] for line in lines] == HEAD
    assert code.isascii() and '"' not in code and "\\" not in code
    assert "気温 (2)" not in code and "気温" in path.read_text(encoding="utf-8")
    assert len(compiled.parameters) == 2


def test_bad_input(tmp_path: Path) -> None:
    made = Program("net", (rollout(),))
    with pytest.raises(InputError, match="'double' or 'float'"):
        export_c(made, tmp_path / "f.h", dtype="float64")
    with pytest.raises(InputError, match=r"ends in \.h"):
        export_c(made, tmp_path / "f.c")
    transposed = Function("f", lambda x: jnp.abs(jnp.fft.fft(x)), (Argument("x", (8,)),))
    with pytest.raises(InputError, match=r"operation 'fft' in 'f' \(test_export_c.py:\d+"):
        export_c(Program("f", (transposed,)), tmp_path / "f.h")


def test_tanh_to_the_last_digits(tmp_path: Path) -> None:
    """Relative error of the function that headers take along, also of small numbers."""
    x = np.concatenate([np.linspace(-25, 25, 4001), 10.0 ** np.arange(-30, 0), [np.inf, -np.inf]])
    for kind, bound in (("double", 2e-15), ("float", 4e-7)):
        case = Case("tanh", lax.tanh, (x,))
        path = export_c(program([case], c=True), tmp_path / f"tanh_{kind}.h", dtype=kind)
        given = x.astype(TYPES[kind])
        out = Compiled(path, "-O2").run(path.stem + "_law_tanh", [given], [np.empty_like(given)])[0]
        exact = np.tanh(given.astype(np.float64))
        assert np.abs(out[x != 0] / exact[x != 0] - 1).max() < bound
        not_a_number = np.full_like(given, np.nan)
        again = Compiled(path, "-O0").run(path.stem + "_law_tanh", [not_a_number], [given.copy()])[
            0
        ]
        assert np.isnan(again).all()

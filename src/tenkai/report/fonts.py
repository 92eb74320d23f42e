"""Letters for every label: Japanese column names in pictures and pages, without global changes."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import io
from collections.abc import Iterator
from pathlib import Path

PAGE_FAMILY = "tenkai-ja"
_LATIN = 0x250  # Basic Latin to Latin Extended-B: every reader's machine has these
_SYMBOLS = (range(0x370, 0x400), range(0x2000, 0x2C00))  # Greek, punctuation, arrows, operators


def japanese_font() -> Path | None:
    """The IPAex Gothic font that ships in matplotlib-fontja.

    The package is located and not imported: its import changes the user's rcParams.
    """
    spec = importlib.util.find_spec("matplotlib_fontja")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "fonts" / "ipaexg.ttf"
    return path if path.exists() else None


@contextlib.contextmanager
def lettering() -> Iterator[None]:
    """Texts made inside use DejaVu Sans and, for characters it lacks, IPAex Gothic."""
    import matplotlib
    from matplotlib.font_manager import fontManager

    families = ["DejaVu Sans"]
    font = japanese_font()
    if font is not None:
        families.append("IPAexGothic")
        if "IPAexGothic" not in {entry.name for entry in fontManager.ttflist}:
            fontManager.addfont(font)
    with matplotlib.rc_context({"font.family": families, "axes.unicode_minus": True}):
        yield


def beyond_latin(text: str) -> str:
    """The characters of a text that not every reader's fonts hold, sorted."""

    def unusual(c: str) -> bool:
        return ord(c) >= _LATIN and not any(ord(c) in block for block in _SYMBOLS)

    return "".join(sorted({c for c in text if unusual(c)}))


def font_face(text: str) -> str:
    """A CSS `@font-face` with only the non-Latin characters of the text; "" when it has none."""
    letters, font = beyond_latin(text), japanese_font()
    if not letters or font is None:
        return ""
    from fontTools import subset

    options = subset.Options(layout_features=[], hinting=False, notdef_outline=True)
    options.name_IDs = []
    with subset.load_font(str(font), options) as whole:
        subsetter = subset.Subsetter(options)
        subsetter.populate(text=letters)
        subsetter.subset(whole)
        file = io.BytesIO()
        whole.save(file)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return (
        f'@font-face{{font-family:"{PAGE_FAMILY}";'
        f'src:url(data:font/ttf;base64,{data}) format("truetype")}}'
    )

"""The one error that is the user's to mend: what, expected, got, do."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input or usage. The command line prints it as one line and exits with code 2.

    ``InputError("column 'Year'", expected="numbers", got="'19o3' in line 7", do="mend it")``
    """

    def __init__(self, what: str, *, expected: str, got: str, do: str):
        self.what, self.expected, self.got, self.do = what, expected, got, do
        super().__init__(f"{what}: expected {expected}; got {got}. {do[:1].upper()}{do[1:]}.")

    def __reduce__(self):  # keyword-only arguments do not survive the default pickling
        return (_rebuild, (self.what, self.expected, self.got, self.do))


def _rebuild(what: str, expected: str, got: str, do: str) -> InputError:
    return InputError(what, expected=expected, got=got, do=do)

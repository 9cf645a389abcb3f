"""Docstrings of everything public: their parameters and defaults are those of the signature."""

import importlib
import inspect
import re

import pytest
from test_public_api import API


def documented_callables():
    """Yield each public function, class and method of the package that documents parameters."""
    for module in API:
        for name in API[module]:
            export = getattr(importlib.import_module(module), name)
            methods = inspect.getmembers(export, inspect.isroutine) if inspect.isclass(export) else []
            for method, function in [("", export), *methods]:
                ours = str(getattr(function, "__module__", "")).startswith("gendiffclf")
                if ours and not method.startswith("_") and "Parameters\n---" in (inspect.getdoc(function) or ""):
                    yield pytest.param(function, id=f"{module}.{name}.{method}".rstrip("."))


@pytest.mark.parametrize("function", [*documented_callables()])
def test_documented_parameters_and_defaults_are_those_of_the_signature(function):
    section = re.split(r"\n\n[\w ]+\n---", inspect.getdoc(function).split("Parameters\n----------\n")[1])[0]
    documented = {
        name.strip("*"): text
        for names, text in re.findall(r"^(\*{0,2}\w+(?:, \w+)*)(.*)$", section, re.MULTILINE)
        for name in names.split(", ")
    }
    signature = {name: p.default for name, p in inspect.signature(function).parameters.items() if name != "self"}
    assert sorted(documented) == sorted(signature)
    for name, text in documented.items():
        default = re.search("default=(.*)", text)
        if default is None:
            assert signature[name] in (None, inspect.Parameter.empty) or text.endswith(", optional"), name
        else:
            assert eval(default[1]) == signature[name], name

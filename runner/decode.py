"""Turns parsed JSON into dataclasses, checking every field's presence and type on the way.

It is the check that readers of results have without the package jsonschema. Fields that a
dataclass does not know are ignored, so that later versions may add some.
"""
from __future__ import annotations

import dataclasses
import math
import typing
from functools import lru_cache
from typing import Any, TypeVar, Union

T = TypeVar("T")


class DecodeError(ValueError):
    """A value that is missing or has the wrong type; the text names it."""


@lru_cache(maxsize=None)
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def decode(cls: type[T], value: Any, where: str = "record") -> T:
    """Return a `cls` (a dataclass) made of the JSON object `value`; raises DecodeError."""
    if not isinstance(value, dict):
        raise DecodeError(f"{where} is not an object")
    arguments: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name in value:
            arguments[field.name] = _convert(
                _hints(cls)[field.name], value[field.name], f"{where}.{field.name}"
            )
        elif (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        ):
            raise DecodeError(f"{where} has no '{field.name}'")
    return cls(**arguments)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    origin = typing.get_origin(hint)
    if origin is Union:
        return _convert_union(hint, value, where)
    if origin is list:
        if not isinstance(value, list):
            raise DecodeError(f"{where} is not a list")
        (item,) = typing.get_args(hint)
        return [_convert(item, element, f"{where}[{n}]") for n, element in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            raise DecodeError(f"{where} is not an object")
        _, item = typing.get_args(hint)
        return {name: _convert(item, element, f"{where}.{name}") for name, element in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return decode(hint, value, where)
    return _convert_plain(hint, value, where)


def _convert_union(hint: Any, value: Any, where: str) -> Any:
    choices = typing.get_args(hint)
    if value is None and type(None) in choices:
        return None
    problem = DecodeError(f"{where} has the wrong type")
    for choice in choices:
        if choice is type(None):
            continue
        try:
            return _convert(choice, value, where)
        except DecodeError as error:
            problem = error
    raise problem


def _convert_plain(hint: Any, value: Any, where: str) -> Any:
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise DecodeError(f"{where} is not a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise DecodeError(f"{where} is not a finite number")
        return number
    if hint is int and (isinstance(value, bool) or not isinstance(value, int)):
        raise DecodeError(f"{where} is not a whole number")
    if hint is int and not -(2**63) <= value < 2**64:
        raise DecodeError(f"{where} is a number of more than 64 bits")
    if hint in (str, bool) and not isinstance(value, hint):
        raise DecodeError(f"{where} is not a {'text' if hint is str else 'true or false'}")
    return value

"""Turns parsed JSON into dataclasses, checking every field's presence and type on the way.

It is the check that readers of results have without the package jsonschema. Fields that a
dataclass does not know are ignored, so that later versions may add some. What has to be done for a type
is found out once; where something is wrong is put together on the way out, so that good input costs
nothing for it.
"""
from __future__ import annotations

import dataclasses
import itertools
import math
import typing
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, TypeVar, Union

T = TypeVar("T")

_Converter = Callable[[Any], Any]


class DecodeError(ValueError):
    """A value that is missing or has the wrong type; the text names it."""


def decode(cls: type[T], value: Any, where: str = "record") -> T:
    """Return a `cls` (a dataclass) made of the JSON object `value`; raises DecodeError."""
    try:
        found: T = _converter(cls)(value)
    except DecodeError as error:
        raise DecodeError(f"{where}{error}") from error
    return found


@lru_cache(maxsize=None)
def _converter(hint: Any) -> _Converter:
    """Return what checks and converts a value of this type. Its errors begin where the value's own name
    ends: ".cells[3].id is not a text"."""
    if hint is Any:
        return lambda value: value
    origin = typing.get_origin(hint)
    if origin is Union:
        return _union(typing.get_args(hint))
    if origin is list:
        return _list(_converter(typing.get_args(hint)[0]))
    if origin is tuple:
        return _tuple([_converter(argument) for argument in typing.get_args(hint)])
    if origin is dict:
        return _dict(_converter(typing.get_args(hint)[1]))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _record(hint)
    return {float: _number, int: _whole, str: _text, bool: _truth}.get(hint, lambda value: value)


def _record(cls: type) -> _Converter:
    hints = typing.get_type_hints(cls)
    fields = [
        (field.name, _converter(hints[field.name]),
         field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING)
        for field in dataclasses.fields(cls)
    ]

    def convert(value: Any) -> Any:
        if not isinstance(value, dict):
            raise DecodeError(" is not an object")
        arguments: dict[str, Any] = {}
        for name, inner, needed in fields:
            if name in value:
                try:
                    arguments[name] = inner(value[name])
                except DecodeError as error:
                    raise DecodeError(f".{name}{error}") from error
            elif needed:
                raise DecodeError(f" has no '{name}'")
        return cls(**arguments)

    return convert


def _list(item: _Converter) -> _Converter:
    def convert(value: Any) -> Any:
        if not isinstance(value, list):
            raise DecodeError(" is not a list")
        return _elements(itertools.repeat(item), value)

    return convert


def _tuple(items: list[_Converter]) -> _Converter:
    def convert(value: Any) -> Any:
        if not isinstance(value, list) or len(value) != len(items):
            raise DecodeError(f" is not a list of {len(items)}")
        return tuple(_elements(items, value))

    return convert


def _elements(items: Iterable[_Converter], values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for item, value in zip(items, values):
        try:
            found.append(item(value))
        except DecodeError as error:
            raise DecodeError(f"[{len(found)}]{error}") from error
    return found


def _dict(item: _Converter) -> _Converter:
    def convert(value: Any) -> Any:
        if not isinstance(value, dict):
            raise DecodeError(" is not an object")
        found: dict[str, Any] = {}
        for name, element in value.items():
            try:
                found[name] = item(element)
            except DecodeError as error:
                raise DecodeError(f".{name}{error}") from error
        return found

    return convert


def _union(choices: tuple[Any, ...]) -> _Converter:
    optional = type(None) in choices
    converters = [_converter(choice) for choice in choices if choice is not type(None)]

    def convert(value: Any) -> Any:
        if value is None and optional:
            return None
        problem = DecodeError(" has the wrong type")
        for converter in converters:
            try:
                return converter(value)
            except DecodeError as error:
                problem = error
        raise problem

    return convert


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DecodeError(" is not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise DecodeError(" is not a finite number")
    return number


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise DecodeError(" is not a whole number")
    if not -(2**63) <= value < 2**64:
        raise DecodeError(" is a number of more than 64 bits")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise DecodeError(" is not a text")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise DecodeError(" is not true or false")
    return value

"""What all configuration has in common: frozen models, and errors that name the nearest key."""

from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from pipeline.artifacts.files import read_text
from pipeline.errors import PodiumError, nearest


class _Loader(yaml.SafeLoader):
    """The safe loader, which would let the second of two equal keys win, refusing them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for number, key in enumerate(keys) if key in keys[:number]]
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {twice[0]!r} stands twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


class Section(BaseModel):
    """A frozen part of a configuration; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false where the key takes neither; pydantic would read 1 and 0."""
        annotation = cls.model_fields[info.field_name].annotation
        if isinstance(value, bool) and bool not in (get_args(annotation) or (annotation,)):
            raise ValueError("true and false are no value of this key")
        return value


Model = TypeVar("Model", bound=Section)


def read_yaml(path: Path, remedy: str) -> dict[str, Any]:
    """Return the mapping in a YAML file; `remedy` is said if the file is missing."""
    text = read_text(path, remedy)
    try:
        content = _Loader(text).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: 2024-02-30
        raise PodiumError(f"{path}: not valid YAML ({error}); mend that line") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise PodiumError(f"{path}: must be keys and values, not {_short(content)}; see the others")
    odd = [key for key in content if not isinstance(key, str)]
    if odd:
        raise PodiumError(f"{path}: a key is a word, not {_short(odd[0])}; put quotes around it")
    return content


def parse(model: type[Model], content: dict[str, Any], source: str) -> Model:
    """Check `content` against `model`; the first fault becomes one line that names `source`."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        fault = error.errors()[0]
    location = [part for part in fault["loc"] if isinstance(part, str)]
    key = ".".join(location)
    if fault["type"] == "extra_forbidden":
        parents, place = _walk(location[:-1], model)
        beside = [
            ".".join([*parents, name])
            for section in _kinds(place)
            if isinstance(section, type) and issubclass(section, BaseModel)
            for name in section.model_fields
        ]
        hint = nearest(key, known_keys(model) + beside) or f"; known here: {', '.join(beside)}"
        raise PodiumError(f"{source}: unknown key {key!r}{hint}")
    key = ".".join(_walk(location, model)[0]) or key
    rule = fault["msg"].removeprefix("Value error, ")
    if not key:  # a rule over several keys, whose sentence names them
        raise PodiumError(f"{source}: {rule}")
    raise PodiumError(f"{source}: {key} is {_short(fault['input'])}, but: {rule}")


def _kinds(place: Any) -> tuple[Any, ...]:
    return get_args(place) if get_origin(place) in (Union, UnionType) else (place,)


def _walk(location: list[str], place: Any) -> tuple[list[str], Any]:
    """Follow a fault's location from `place` on, a type, as far as it names keys (behind them
    pydantic adds which of several types it tried). Return those keys and the type reached."""
    for kind in _kinds(place) if location else ():
        beyond = None
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(location[0])
            beyond = field.annotation if field else None
        elif get_origin(kind) is dict:
            beyond = get_args(kind)[1]
        if beyond is not None:
            keys, reached = _walk(location[1:], beyond)
            return [location[0], *keys], reached
    return [], place


def known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return every dotted key that `model` accepts, sections before their keys."""
    keys = []
    for name, info in model.model_fields.items():
        keys.append(prefix + name)
        for part in getattr(info.annotation, "__args__", (info.annotation,)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                keys += known_keys(part, f"{prefix}{name}.")
    return keys


def parse_overrides(text: str, example: str = "training.epochs=3") -> dict[str, Any]:
    """Turn 'training.epochs=3 title="A b"' into nested keys; values are read as YAML.

    A space separates but in quotes and brackets. What is none is refused with an `example`.
    """
    nested: dict[str, Any] = {}
    for item in _items(text):
        key, equals, value = item.partition("=")
        if not equals or not key.strip("."):
            raise PodiumError(f"SET: {item!r} is not key=value; write SET='{example}'")
        try:
            parsed = yaml.safe_load(value) if value else None
        except (yaml.YAMLError, ValueError, RecursionError):
            raise PodiumError(f"SET: the value of {key!r}, {value!r}, is not valid YAML") from None
        *sections, last = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise PodiumError(f"SET: {section!r} of {key!r} was already given a value")
        place[last] = parsed
    return nested


def _items(text: str) -> list[str]:
    """Cut a text at its spaces, but for those in quotes and brackets; an open one is let be."""
    items, item, quote, depth = [], "", "", 0
    for mark in text:
        if mark.isspace() and not quote and depth <= 0:
            items.append(item)
            item = ""
            continue
        if quote:
            quote = "" if mark == quote else quote
        elif mark in "'\"" and (not item or item[-1] in "=[{,: "):
            quote = mark
        else:
            depth += (mark in "[{") - (mark in "]}")
        item += mark
    if quote or depth > 0:
        return text.split()
    return [item for item in [*items, item] if item]


def merged(*layers: dict[str, Any]) -> dict[str, Any]:
    """Merge nested mappings; later layers win, a `null` replaces a whole section."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else value
    return result


def differing(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Return 'key: old -> new' for every leaf that differs between two nested mappings."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differing(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {_short(a)} -> {_short(b)}")
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

"""Values as YAML on one line, which read back as they were."""

from typing import Any

import yaml


def plain(value: Any) -> Any:
    """Return a value with tuples as lists, as YAML reads them back."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


class _Dumper(yaml.SafeDumper):
    """The safe dumper, escaping what is not printable: a line end of any kind would be folded."""

    def represent_str(self, text: str) -> yaml.ScalarNode:
        style = None if text.isprintable() else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def flow(value: Any) -> str:
    """Return a value as YAML on one line, quoted where it must be."""
    options = {"width": 10**9, "allow_unicode": True, "sort_keys": False}
    text = yaml.dump([plain(value)], Dumper=_Dumper, default_flow_style=True, **options)
    return text.strip()[1:-1]

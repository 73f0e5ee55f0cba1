"""Where a chat template comes from, and which special tokens go with it.

Builtin templates are those of model families that need nothing else. A model's own template comes from the files that
are published with it: a tokenizer_config.json that holds it, or a .jinja beside one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

MAX_FILE_BYTES = 16 * 1024 * 1024  # tokenizer_config.json lists every added token
_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A template as it was written.

    Attributes:
        text: the template.
        special_tokens: by the names that templates use ("bos_token").
        tool_use: another template, for requests with tools; "" if there is none.
    """

    text: str
    special_tokens: Mapping[str, str]
    tool_use: str = ""


def _tokens(bos: str, eos: str) -> Mapping[str, str]:
    return MappingProxyType({"bos_token": bos, "eos_token": eos})


_BUILTIN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "chatml": _tokens("", "<|im_end|>"),
        "llama3": _tokens("<|begin_of_text|>", "<|eot_id|>"),
        "llama2": _tokens("<s>", "</s>"),
        "mistral": _tokens("<s>", "</s>"),
        "gemma": _tokens("<bos>", "<eos>"),
        "phi3": _tokens("<s>", "<|endoftext|>"),
        "zephyr": _tokens("<s>", "</s>"),
    }
)
BUILTIN = tuple(_BUILTIN)

# The option's values, for `backends.wire.Option`.
PATTERN = "|".join((*BUILTIN, r"file:.+"))
HELP = f"the chat template of the model: {', '.join(BUILTIN)}, or file:PATH of its .jinja or tokenizer_config.json"


def read_source(option: str) -> Source:
    """The template of that name, or of that file.

    Raises:
        ValueError: there is none.
    """
    kind, _, path = option.partition(":")
    if kind == "file" and path:
        return _read_file(Path(path))
    if option not in _BUILTIN:
        raise _invalid(f"no template is called {option!r}; known: {', '.join(BUILTIN)}, or file:PATH")
    text = resources.files(__package__).joinpath(f"{option}.jinja").read_text(encoding="utf-8")
    return Source(text=text, special_tokens=_BUILTIN[option])


def _read_file(path: Path) -> Source:
    if path.suffix == ".json":
        config = _read_config(path)
        text, tool_use = _templates(config, path)
    else:
        text, tool_use = _read(path), ""
        beside = path.with_name("tokenizer_config.json")
        config = _read_config(beside) if beside.is_file() else {}
    tokens = {name: token for name in _TOKENS if (token := _token(config.get(name)))}
    return Source(text=text, special_tokens={"bos_token": "", "eos_token": "", **tokens}, tool_use=tool_use)


def _templates(config: dict[str, Any], path: Path) -> tuple[str, str]:
    """The template, and the one for tools where there is one of its own."""
    found = config.get("chat_template")
    if isinstance(found, str):
        return found, ""
    if isinstance(found, list):
        named = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}
        default, tool_use = named.get("default"), named.get("tool_use")
        if isinstance(default, str):
            return default, tool_use if isinstance(tool_use, str) else ""
    raise _invalid(f"{path} has no chat_template; give the .jinja file that is published beside it")


def _token(value: object) -> str:
    """A token is a string, or an object that describes it."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _read_config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_read(path))
    except ValueError as error:
        raise _invalid(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise _invalid(f"{path} is not a JSON object")
    return found


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise _invalid(f"{path} has more than {MAX_FILE_BYTES} bytes")
        return data.decode("utf-8")
    except OSError as error:
        raise _invalid(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _invalid(f"{path} is not UTF-8") from error


def _invalid(why: str) -> ValueError:
    return ValueError(f"options.chat_template: {why}")

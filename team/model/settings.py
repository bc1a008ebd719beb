"""Which model plays which role, and at what price: what `team.toml` says, checked before anything is spent.

It reads names of environment variables, never a key: a key that stands in the file is refused, and not printed.

    [defaults]
    model = "gpt-5-mini"

    [roles.coder]
    model = "anthropic:claude-sonnet-4-5"
    max_output_tokens = 32000

    [prices."gpt-5-mini"]       # USD per million tokens
    in = 0.25
    out = 2.00
    cached_in = 0.025

    [limits]
    max_cost = 5.0
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from graph.errors import RunError
from graph.executors.settings import ExecutorSettings

RoleName = Literal["strategist", "scout", "coder", "reviewer"]
Method = Literal["json_schema", "tool", "fenced"]
ROLES: tuple[RoleName, ...] = get_args(RoleName)
TEAM_FILE = Path("team.toml")
PROVIDERS = {  # LangChain's names of providers, and the package of each
    "anthropic": "langchain-anthropic",
    "azure_ai": "langchain-azure-ai",
    "bedrock_converse": "langchain-aws",
    "cohere": "langchain-cohere",
    "deepseek": "langchain-deepseek",
    "fireworks": "langchain-fireworks",
    "google_genai": "langchain-google-genai",
    "google_vertexai": "langchain-google-vertexai",
    "groq": "langchain-groq",
    "huggingface": "langchain-huggingface",
    "ibm": "langchain-ibm",
    "mistralai": "langchain-mistralai",
    "nvidia": "langchain-nvidia-ai-endpoints",
    "ollama": "langchain-ollama",
    "perplexity": "langchain-perplexity",
    "together": "langchain-together",
    "xai": "langchain-xai",
}

_SECTIONS = ("defaults", "roles", "prices", "limits", "executor")
_PRICES = {"in": "price_in", "out": "price_out", "cached_in": "price_cached_in"}
_KEY_NAMES = re.compile(r"(api|access|secret|auth)?_?-?(key|token|secret|password|authorization)", re.IGNORECASE)
_KEY_VALUES = re.compile(r"\b(sk|pk|rk|gsk|hf|xai|key|lsv2)[-_][A-Za-z0-9_-]{12,}|\bBearer\s+\S+|\bAIza\S{20,}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


class SettingsError(RunError):
    """Settings that cannot be used; the message names the file, the field, what was found and the mend, no secret."""


class RoleSettings(BaseModel):
    """The model that plays one role.

    Attributes:
        model: `NAME` or `openai:NAME` for an OpenAI-compatible endpoint, `PROVIDER:NAME` for another of `PROVIDERS`.
        base_url: Where it is, None for the provider's own address.
        api_key_env: Name of the environment variable that holds the key, None for the provider's usual one.
        temperature: None leaves it to the model, as reasoning models demand.
        effort: Of reasoning, such as `low`; None leaves it to the model.
        max_output_tokens: Of one answer, reasoning included.
        timeout_seconds: Of one request, from sending it to the last byte of its answer.
        structured: How typed answers are asked for; `auto` finds out.
        price_in: USD per million prompt tokens, None where it is not known.
        price_out: USD per million tokens of answers, reasoning included.
        price_cached_in: USD per million prompt tokens that the provider had cached; `price_in` where None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(min_length=1)
    base_url: str | None = None
    api_key_env: str | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    effort: str | None = Field(None, min_length=1)
    max_output_tokens: int = Field(16_000, ge=64, le=1_000_000)
    timeout_seconds: float = Field(180.0, gt=0, le=3600)
    structured: Literal["auto", "json_schema", "tool", "fenced"] = "auto"
    price_in: float | None = Field(None, ge=0)
    price_out: float | None = Field(None, ge=0)
    price_cached_in: float | None = Field(None, ge=0)

    @property
    def provider(self) -> str:
        """The provider's name in LangChain, `openai` where the model names none."""
        return _provider(self.model)

    @property
    def name(self) -> str:
        """The model's name as its provider knows it."""
        return self.model.removeprefix(f"{self.provider}:")

    def usd(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> float | None:
        """Return what tokens cost in USD, None where no price is known.

        Args:
            prompt_tokens: All tokens of the prompt, those cached among them.
            cached_tokens: Of the prompt's, those that the provider had cached.
            completion_tokens: Of the answer, its reasoning among them.
        """
        if self.price_in is None or self.price_out is None:
            return None
        cached_price = self.price_in if self.price_cached_in is None else self.price_cached_in
        fresh_tokens = prompt_tokens - cached_tokens
        total = fresh_tokens * self.price_in + cached_tokens * cached_price + completion_tokens * self.price_out
        return total / 1e6


class TeamSettings(BaseModel):
    """Who plays which role, and what a run may spend on them.

    Attributes:
        roles: The roles that a model plays; the offline team plays the others.
        max_cost: USD that a run may spend, None for no limit.
        max_tokens: Tokens that a run may spend, of prompts and answers together, None for no limit.
        executor: Where trials run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: dict[RoleName, RoleSettings] = {}
    max_cost: float | None = Field(None, gt=0)
    max_tokens: int | None = Field(None, gt=0)
    executor: ExecutorSettings = ExecutorSettings()


def load_team_settings(
    path: Path | None = None,
    model: str | None = None,
    base_url: str | None = None,
    max_cost: float | None = None,
    max_tokens: int | None = None,
) -> TeamSettings:
    """Return the settings of a team; without a file and a model nobody is played by one, and `roles` is empty.

    Args:
        path: `--team-file`; `./team.toml` is read where it is left out and exists.
        model: `--model`: replaces the file's default; a role with a model of its own there keeps it.
        base_url: `--base-url`: replaces the file's default.
        max_cost: `--max-cost`: replaces the file's limit.
        max_tokens: `--max-tokens`: replaces the file's limit.

    Raises:
        SettingsError: The file cannot be read, holds what it should not, or a limit needs a price that is not known.
    """
    found = path or (TEAM_FILE if TEAM_FILE.exists() else None)
    where = str(found) if found else "--model"
    tables = _read(found) if found else {}
    _refuse_secrets(tables, where)
    _refuse_unknown(tables, _SECTIONS, where, "")
    fields = tuple(name for name in RoleSettings.model_fields if not name.startswith("price_"))
    defaults = _table(tables, "defaults", fields, where)
    if model is not None:
        defaults["model"] = model
    if base_url is not None:
        defaults["base_url"] = base_url
    named = _table(tables, "roles", ROLES, where)
    _refuse_secrets({"defaults": defaults}, "--model and --base-url")
    prices = _prices(_table(tables, "prices", None, where), where)
    roles: dict[RoleName, RoleSettings] = {}
    for name in ROLES:
        own = _table(named, name, fields, where, "roles.")
        merged = _inherit(defaults, own)
        if "model" in merged:
            roles[name] = _role(merged, prices, f"{where}: roles.{name}" if own else f"{where}: defaults")
    limits = _table(tables, "limits", ("max_cost", "max_tokens"), where)
    limits |= {key: value for key, value in (("max_cost", max_cost), ("max_tokens", max_tokens)) if value is not None}
    try:
        executor = ExecutorSettings(**_table(tables, "executor", tuple(ExecutorSettings.model_fields), where))
    except ValidationError as error:
        raise SettingsError(f"{where}: executor.{_first(error)}") from None
    try:
        settings = TeamSettings(roles=roles, executor=executor, **limits)
    except ValidationError as error:
        raise SettingsError(f"{where}: limits: {_first(error)}") from None
    _need_prices(settings)
    return settings


def read_key(role: RoleSettings) -> str | None:
    """Return the key for a role's endpoint from the environment, None where none is set or needed.

    OPENAI_API_KEY goes to OpenAI, to other endpoints over https, and to this machine. In clear text to another machine
    goes only a key that `api_key_env` names.

    Raises:
        SettingsError: The variable is not set, and the endpoint cannot do without.
    """
    if role.api_key_env is not None:
        if named := os.environ.get(role.api_key_env, "").strip():
            return named
        raise SettingsError(f"model {role.model} wants its key in {role.api_key_env}, which is not set: export it")
    if role.provider != "openai":
        return None  # the provider's package reads its own variable, and says which
    key = os.environ.get("OPENAI_API_KEY", "").strip() or None
    url = openai_url(role)
    if url is None:
        if key is None:
            raise SettingsError(
                f"model {role.model} wants a key: export OPENAI_API_KEY, or name another endpoint with --base-url"
            )
        return key
    return key if url.startswith("https://") or is_local(url) else None


def openai_url(role: RoleSettings) -> str | None:
    """Return the address of an OpenAI-compatible endpoint, None for OpenAI's own."""
    if role.base_url is not None:
        return role.base_url
    found = os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE")
    return _checked_url(found, "OPENAI_BASE_URL") if found else None


def is_local(url: str) -> bool:
    """Return whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path} is not there: name another --team-file, or write one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read ({type(error).__name__}): make it readable, in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"line \d+", str(error))  # the parser's words may repeat what stands there
        raise SettingsError(f"{path} is not TOML{f' at {at[0]}' if at else ''}: mend that line") from None


def _refuse_secrets(tables: dict[str, Any], where: str, prefix: str = "") -> None:
    """Refuse keys of services, by the name of the field or by their look."""
    for name, value in tables.items():
        at = f"{prefix}{name}"
        if isinstance(value, dict):
            _refuse_secrets(value, where, f"{at}.")
        elif _KEY_NAMES.fullmatch(name) or any(_KEY_VALUES.search(text) for text in _texts(value)):
            raise SettingsError(
                f"{where}: {at} holds a key, which no file of ours may: take it out, export it in the shell, and write "
                'api_key_env = "NAME_OF_THE_VARIABLE" where it is not OPENAI_API_KEY'
            )
        elif name == "api_key_env" and not (isinstance(value, str) and _VARIABLE.fullmatch(value)):
            raise SettingsError(
                f"{where}: {at} is no name of an environment variable (and is not shown, for it may be a key): "
                "write a name such as MY_API_KEY, and export the key under it"
            )


def _texts(value: object) -> list[str]:
    return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]


def _refuse_unknown(table: dict[str, Any], known: tuple[str, ...], where: str, prefix: str) -> None:
    for name in table:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, cutoff=0.0)[0]
            raise SettingsError(
                f"{where}: {prefix}{name} is not known: did you mean {near}? There are {', '.join(known)}"
            )


def _table(
    tables: dict[str, Any], name: str, known: tuple[str, ...] | None, where: str, prefix: str = ""
) -> dict[str, Any]:
    """Return a copy of a table, empty where it is absent."""
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise SettingsError(f"{where}: {prefix}{name} is {table!r}, not a table: write [{prefix}{name}] above its keys")
    if known is not None:
        _refuse_unknown(table, known, where, f"{prefix}{name}.")
    return dict(table)


def _prices(tables: dict[str, Any], where: str) -> dict[str, dict[str, Any]]:
    prices = {}
    for model in tables:
        held = _table(tables, model, tuple(_PRICES), where, "prices.")
        if missing := [key for key in ("in", "out") if key not in held]:
            raise SettingsError(f'{where}: prices."{model}" lacks {missing[0]}: USD per million tokens, 0 where free')
        prices[model] = {_PRICES[key]: value for key, value in held.items()}
    return prices


def _inherit(defaults: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return a role's fields over the defaults. A key stays with the endpoint that it was named for."""
    merged = {**defaults, **own}
    elsewhere = "base_url" in own and own["base_url"] != defaults.get("base_url")
    if "base_url" not in own and _provider(merged.get("model")) != _provider(defaults.get("model")):
        elsewhere = True
        merged.pop("base_url", None)
    if elsewhere and "api_key_env" not in own:
        merged.pop("api_key_env", None)
    return merged


def _provider(model: object) -> str:
    head, _, tail = str(model).partition(":")
    return head if tail and head in PROVIDERS else "openai"  # Ollama's own names hold a colon too: qwen3:8b


def _role(fields: dict[str, Any], prices: dict[str, dict[str, Any]], where: str) -> RoleSettings:
    try:
        role = RoleSettings(**fields)
    except ValidationError as error:
        raise SettingsError(f"{where}: {_first(error)}") from None
    if role.base_url is not None:
        role = role.model_copy(update={"base_url": _checked_url(role.base_url, f"{where}: base_url")})
    price = prices.get(role.model, prices.get(role.name))
    if price is None:
        return role
    try:
        return RoleSettings(**(role.model_dump() | price))
    except ValidationError as error:
        raise SettingsError(f'{where}: prices."{role.model}": {_first(error)}') from None


def _checked_url(url: str, where: str) -> str:
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SettingsError(
            f"{where} holds more than an address (a name, password or query, which is not shown): write it as "
            "https://host/v1, and the key into the environment"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"{where} is {url!r}: write it as http://host:port/v1")
    return url.rstrip("/")


def _need_prices(settings: TeamSettings) -> None:
    if settings.max_cost is None:
        return
    for role in settings.roles.values():
        if role.price_in is None or role.price_out is None:
            raise SettingsError(
                f"a limit of {settings.max_cost:g} USD needs the price of {role.model}, which is not known: write\n"
                f'  [prices."{role.model}"]\n  in = 0.0   # USD per million tokens; 0 where it is free\n  out = 0.0\n'
                f"into team.toml, or limit tokens with --max-tokens"
            )


def _first(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in fault["loc"])
    return f"{field} is {fault['input']!r}: {fault['msg']}"

"""What team.toml may say, what is refused, and where a key may go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from team.model.settings import RoleSettings, SettingsError, load_team_settings, read_key

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sk-test-4f9a1c77d2e84b0c"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    return (tmp_path / "team.toml").write_text


def test_without_a_file_and_a_model_nobody_is_played(write: object) -> None:
    assert load_team_settings().roles == {}


def test_a_model_plays_all_roles(write: object) -> None:
    settings = load_team_settings(model="gpt-5-mini", base_url="http://localhost:8000/v1/", max_tokens=9)
    assert list(settings.roles) == ["strategist", "scout", "coder", "reviewer"]
    assert {role.base_url for role in settings.roles.values()} == {"http://localhost:8000/v1"}
    assert settings.max_tokens == 9


def test_roles_inherit_and_override(write) -> None:
    write("""
[defaults]
model = "small"
base_url = "http://localhost:1/v1"
effort = "low"
[roles.coder]
model = "openai:large"
temperature = 0.2
[prices.small]
in = 0.1
out = 0.4
[prices."openai:large"]
in = 1
out = 4
cached_in = 0.1
[limits]
max_cost = 3.5
""")
    settings = load_team_settings(max_cost=2)
    coder, scout = settings.roles["coder"], settings.roles["scout"]
    assert (coder.name, coder.temperature, coder.effort, coder.base_url) == (
        "large",
        0.2,
        "low",
        "http://localhost:1/v1",
    )
    assert (scout.name, scout.temperature, scout.price_out) == ("small", None, 0.4)
    assert settings.max_cost == 2
    assert coder.usd(1_000_000, 500_000, 1_000_000) == pytest.approx(0.5 + 0.05 + 4)
    assert scout.usd(1_000_000, 500_000, 0) == pytest.approx(0.1)  # no price of its own for cached tokens


def test_a_role_may_be_the_only_one_with_a_model(write) -> None:
    write('[roles.coder]\nmodel = "gpt-5"\n')
    assert list(load_team_settings().roles) == ["coder"]


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        ("gpt-5-mini", "openai", "gpt-5-mini"),
        ("openai:gpt-5-mini", "openai", "gpt-5-mini"),
        ("qwen3:8b", "openai", "qwen3:8b"),
        ("openai:mistral:7b", "openai", "mistral:7b"),
        ("anthropic:claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5"),
        ("ft:gpt-4o:me::1", "openai", "ft:gpt-4o:me::1"),
    ],
)
def test_providers_are_told_from_names(model: str, provider: str, name: str) -> None:
    role = RoleSettings(model=model)
    assert (role.provider, role.name) == (provider, name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[default]\n", "did you mean defaults"),
        ("[roles.codre]\n", "roles.codre is not known: did you mean coder"),
        ("[roles.coder]\ntemprature = 1\n", "did you mean temperature"),
        ("[roles]\ncoder = 'gpt-5'\n", "not a table"),
        ("[defaults]\nmodel = 'x'\ntemperature = 9\n", "temperature is 9"),
        ("[defaults]\nmodel = 'x'\nbase_url = 'localhost:8000'\n", "http://host:port/v1"),
        ("[prices.x]\nin = 1\n", "lacks out"),
        ("[limits]\nmax_cost = -1\n", "max_cost is -1"),
        ("[defaults\n", "not TOML at line 1"),
        ("[defaults]\nmodel = 'x'\nstructured = 'xml'\n", "structured is 'xml'"),
    ],
)
def test_faults_are_named_with_their_mend(write, text: str, words: str) -> None:
    write(text)
    with pytest.raises(SettingsError, match=words):
        load_team_settings()


@pytest.mark.parametrize(
    "text",
    [
        f'[defaults]\napi_key = "{KEY}"\n',
        f'[roles.coder]\nkey = "{KEY}"\n',
        f'[roles.coder]\nmodel = "{KEY}"\n',
        f'[defaults]\napi_key_env = "{KEY}"\n',
        '[defaults]\napi_key_env = "4f9a1c77d2e84b0c"\n',
        f'[defaults]\nmodel = "x"\nbase_url = "https://me:{KEY}@host/v1"\n',
        f'[defaults]\nmodel = "x"\nbase_url = "https://host/v1?key={KEY}"\n',
        f'[defaults]\nmodel = "{KEY}\n',
        f'[executor.slurm]\nsetup = ["module load cuda", "export OPENAI_API_KEY={KEY}"]\n',
    ],
)
def test_a_key_in_the_file_is_refused_and_not_printed(write, text: str) -> None:
    write(text)
    with pytest.raises(SettingsError) as raised:
        load_team_settings()
    shown = f"{raised.value!r} {raised.value.__cause__!r}"
    assert KEY not in shown
    assert "4f9a1c77d2e84b0c" not in shown


def test_a_limit_of_cost_needs_every_price(write) -> None:
    write('[roles.coder]\nmodel = "large"\n[prices.large]\nin = 1\nout = 2\n')
    assert load_team_settings(max_cost=1).max_cost == 1
    with pytest.raises(SettingsError, match=r'(?s)price of small.*\[prices."small"\]'):
        load_team_settings(model="small", max_cost=1)


def test_a_key_stays_with_the_endpoint_that_it_was_named_for(write) -> None:
    write("""
[defaults]
model = "m"
base_url = "https://one.example/v1"
api_key_env = "ONE_KEY"
[roles.scout]
base_url = "https://two.example/v1"
[roles.coder]
model = "anthropic:claude"
[roles.reviewer]
model = "other"
""")
    roles = load_team_settings().roles
    assert roles["strategist"].api_key_env == "ONE_KEY"
    assert roles["scout"].api_key_env is None
    assert (roles["coder"].base_url, roles["coder"].api_key_env) == (None, None)
    assert (roles["reviewer"].base_url, roles["reviewer"].api_key_env) == ("https://one.example/v1", "ONE_KEY")


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        (None, True),
        ("https://openrouter.ai/api/v1", True),
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://10.0.0.7:8000/v1", False),
        ("http://127.evil.example/v1", False),
    ],
)
def test_the_usual_key_goes_nowhere_in_clear_text(
    write: object, monkeypatch: pytest.MonkeyPatch, url: str | None, sent: bool
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert read_key(RoleSettings(model="m", base_url=url)) == (KEY if sent else None)


def test_a_key_that_is_missing_is_asked_for(write: object, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="export OPENAI_API_KEY"):
        read_key(RoleSettings(model="gpt-5"))
    with pytest.raises(SettingsError, match="MY_KEY, which is not set"):
        read_key(RoleSettings(model="gpt-5", api_key_env="MY_KEY"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert read_key(RoleSettings(model="gpt-5")) is None

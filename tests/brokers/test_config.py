"""Settings come from one file, the environment and arguments; what is wrong is named with key, value, type, origin."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tidegate.brokers.process.config import SettingsError, SettingsFault, explain, load
from tidegate.services.settings import Settings


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(
    path: Path | None = None, environ: dict[str, str] | None = None, **overrides: object
) -> tuple[SettingsFault, ...]:
    with pytest.raises(SettingsError) as bad:
        load(Settings, path, environ or {}, **overrides)
    return bad.value.faults


def test_nothing_given_gives_the_defaults() -> None:
    loaded = load(Settings, None, {})
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}


def test_the_last_one_given_holds_and_is_the_origin(tmp_path: Path) -> None:
    path = toml(tmp_path, 'site = "a"\ngrace_s = 3\n[nats]\nurl = "nats://file:1"\n[router]\nk = 6\n')
    environ = {"TIDEGATE_NATS__URL": "nats://env:2", "TIDEGATE_ROUTER__K": "5", "HOME": "/elsewhere"}
    loaded = load(Settings, path, environ, router__k=7, site=None)
    settings = loaded.settings
    assert (settings.site, settings.grace_s, settings.nats.url, settings.router.k) == ("a", 3.0, "nats://env:2", 7)
    assert loaded.origins["site"] == str(path)
    assert loaded.origins["nats.url"] == "TIDEGATE_NATS__URL"
    assert loaded.origins["router.k"] == "argument"
    assert loaded.origins["gateway.port"] == "default"


def test_lists_in_variables_are_separated_by_commas() -> None:
    loaded = load(Settings, None, {"TIDEGATE_TENANTS": "kiosk, bank_2", "TIDEGATE_PREFILTER__LANGUAGES": "en"})
    assert loaded.settings.tenants == ("kiosk", "bank_2")
    assert loaded.settings.prefilter.languages == ("en",)


def test_a_table_is_one_setting_in_the_file_and_in_a_variable(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text('[drafter]\nadapters = {kiosk = "a"}\n[gateway.model_aliases]\n"gpt-3.5" = "tidegate"\n')
    loaded = load(Settings, path, {})
    assert loaded.settings.drafter.adapters == {"kiosk": "a"}
    assert loaded.settings.gateway.model_aliases == {"gpt-3.5": "tidegate"}
    assert loaded.origins["drafter.adapters"] == str(path)
    over = load(Settings, path, {"TIDEGATE_DRAFTER__ADAPTERS": "bank = b, kiosk=c"})
    assert over.settings.drafter.adapters == {"bank": "b", "kiosk": "c"}
    assert load(Settings, path, {"TIDEGATE_DRAFTER__ADAPTERS": ""}).settings.drafter.adapters == {}


def test_a_variable_unsets_what_may_be_unset(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text("[cloud_verifier]\nquotes = true\n")
    assert load(Settings, path, {"TIDEGATE_CLOUD_VERIFIER__QUOTES": ""}).settings.cloud_verifier.quotes is None
    assert load(Settings, path, {}).settings.cloud_verifier.quotes is True


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("metrics_port = 70000", "metrics_port", "70000 is not a whole number, at least 0, at most 65535"),
        ('metrics_port = "80"', "metrics_port", "'80' is not a whole number"),
        ("site = 3", "site", "3 is not text, of the form"),
        ('site = "A B"', "site", "'A B' is not text, of the form"),
        ("grace_s = 0", "grace_s", "0 is not a finite number, above 0"),
        ("grace_s = inf", "grace_s", "inf is not a finite number"),
        ("grace_s = nan", "grace_s", "nan is not a finite number"),
        ('tenants = ["ok", "no no"]', "tenants", "at [1]"),
        ('tenants = "kiosk"', "tenants", "'kiosk' is not a list"),
        ('log_level = "loud"', "log_level", "'loud' is not one of debug, info, warning, error"),
        ("[prefilter]\nunsafe_threshold = 1.5", "prefilter.unsafe_threshold", "1.5 is not a finite number, at least 0"),
        ("nats = 4", "nats", "is a section, not a value"),
        ('sight = "x"', "sight", "did you mean site?"),
        ('[nats]\nurll = "x"', "nats.urll", "did you mean nats.url?"),
        ("[site]\nname = 3", "site.name", "is not a setting"),
        ("[orbit]\nmoons = 3", "orbit.moons", "is not a setting"),
    ],
)
def test_a_bad_value_in_the_file_names_key_value_type_and_file(
    tmp_path: Path, text: str, key: str, reason: str
) -> None:
    path = toml(tmp_path, text)
    [fault] = faults_of(path)
    assert fault.key == key
    assert fault.origin == str(path)
    assert reason in str(fault)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("TIDEGATE_DRAFTER__ADAPTERS", "kiosk", "each value text"),
        ("TIDEGATE_GATEWAY__MODEL_ALIASES", "gpt=other", "each value one of tidegate"),
        ("TIDEGATE_ROUTER__K", "many", "router.k: 'many' is not a whole number, at least 1 (from TIDEGATE_ROUTER__K)"),
        ("TIDEGATE_ROUTER__K", "0", "'0' is not a whole number, at least 1"),
        ("TIDEGATE_NATS_URL", "x", "did you mean TIDEGATE_NATS__URL?"),
        ("TIDEGATE_URL", "x", "did you mean TIDEGATE_NATS__URL?"),
        ("TIDEGATE_NATS", "x", "is not a setting"),
    ],
)
def test_a_bad_variable_is_named_as_it_is_spelled(name: str, value: str, reason: str) -> None:
    [fault] = faults_of(None, {name: value})
    assert fault.origin == name
    assert reason in str(fault)


def test_what_a_section_refuses_is_a_fault_of_it_with_where_its_values_are_from(tmp_path: Path) -> None:
    path = toml(tmp_path, "[retention]\npipe_s = 5\n")
    [fault] = faults_of(path, {"TIDEGATE_RETENTION__VERDICTS_S": "7200"})
    assert (fault.key, fault.origin) == ("retention", f"{path}, TIDEGATE_RETENTION__VERDICTS_S")
    assert "pipe_s is 5 s" in fault.reason


def test_an_unknown_argument_is_a_fault_with_a_hint() -> None:
    [fault] = faults_of(router__kk=3)
    assert fault.hint == "did you mean router__k?"


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    path = toml(tmp_path, 'sight = "x"\nmetrics_port = -1\n')
    faults = faults_of(path, {"TIDEGATE_ROUTER__K": "0"})
    assert [fault.key for fault in faults] == ["sight", "metrics_port", "router.k"]


def test_a_file_that_cannot_be_used_is_a_fault(tmp_path: Path) -> None:
    assert "cannot be read" in str(faults_of(tmp_path / "none.toml")[0])
    [fault] = faults_of(toml(tmp_path, "site = \n"))
    assert "not TOML" in fault.reason
    assert "line 1" in fault.reason


def test_explain_shows_every_key_once_and_masks_passwords(tmp_path: Path) -> None:
    path = toml(tmp_path, '[nats]\nurl = "nats://me:hunter2@host:4222"\n')
    rows = {row.key: row for row in explain(load(Settings, path, {}))}
    assert rows["nats.url"].value == "'nats://***@host:4222'"
    assert rows["nats.url"].origin == str(path)
    assert rows["cloud_verifier.api_key_env"].value == "'OPENAI_API_KEY'"
    assert rows["tenants"].value == "['kiosk']"
    assert set(rows) == set(flat(msgspec.to_builtins(Settings())))


def test_a_fault_never_repeats_a_password() -> None:
    [fault] = faults_of(None, {"TIDEGATE_METRICS_PORT": "nats://me:hunter2@host"})
    assert "hunter2" not in str(fault)


def flat(tree: dict[str, object], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for key, value in tree.items():
        keys += flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [prefix + key]
    return keys


def test_a_passphrase_of_a_command_is_no_setting() -> None:
    loaded = load(Settings, None, {"TIDEGATE_KEYS_PASSPHRASE": "correct horse", "TIDEGATE_ROUTER__K": "5"})
    assert loaded.settings.router.k == 5
    assert "correct horse" not in repr(loaded)

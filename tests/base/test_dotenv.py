from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenure.base.dotenv import read

PLAIN = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=PLAIN)
def test_what_is_quoted_comes_back_as_it_was(tmp_path: Path, value: str) -> None:
    file = tmp_path / ".env"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    file.write_text(f'A="{escaped}"\nB=next\n', encoding="utf-8")
    assert read(file) == ({"A": value, "B": "next"}, [])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=PLAIN)
def test_no_file_is_too_strange_to_be_read(tmp_path: Path, text: str) -> None:
    file = tmp_path / ".env"
    file.write_text(f"{text}\nB=next\n", encoding="utf-8")
    found, bad = read(file)
    assert found["B"] == "next"
    assert set(bad) <= {1}

"""Records signed by ssh keys, with the real ssh-keygen."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from bench import sign, verify
from bench.errors import UserError
from tests.support.records import make_record

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="no ssh-keygen here")


@pytest.fixture
def keys(tmp_path):
    """keys("name") makes a key of ssh; `trusted` lists the first one made."""

    def make(name: str):
        place = tmp_path / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", place], check=True)
        if not make.trusted.exists():
            make.trusted.write_text(f"{name}@lab {place.with_suffix('.pub').read_text()}")
        return place

    make.trusted = tmp_path / "trusted"
    return make


def verified(path, trusted, capsys) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        verify.main([str(path), "--trusted", str(trusted)])
    return ended.value.code, capsys.readouterr().out


def signed(tmp_path, key):
    path = make_record().save(tmp_path / "runs")
    sign.main([str(path), "--key", str(key)])
    return path


def test_a_signed_record_holds_and_names_who_signed(tmp_path, keys, capsys):
    path = signed(tmp_path, keys("ada"))
    code, said = verified(path, keys.trusted, capsys)
    assert code == 0
    assert "holds, signed by ada@lab" in said


def test_a_record_that_nobody_signed_is_refused(tmp_path, keys, capsys):
    keys("ada")
    assert verified(make_record().save(tmp_path), keys.trusted, capsys)[0] == 1


def test_a_key_that_is_not_trusted_is_refused(tmp_path, keys, capsys):
    keys("ada")
    code, said = verified(signed(tmp_path, keys("eve")), keys.trusted, capsys)
    assert code == 1
    assert "not among the trusted ones" in said


def test_the_signature_of_another_record_is_refused(tmp_path, keys, capsys):
    key = keys("ada")
    one, other = signed(tmp_path, key), make_record(step_s=0.2).save(tmp_path)
    shutil.copy(f"{one}.sig", f"{other}.sig")
    code, said = verified(other, keys.trusted, capsys)
    assert code == 1
    assert "does not hold" in said


def test_a_record_that_was_edited_and_sealed_again_is_refused(tmp_path, keys, capsys):
    """Who can import the package can seal again, and cannot sign."""
    path = signed(tmp_path, keys("ada"))
    path.write_text(make_record(step_s=0.05).save(tmp_path / "other").read_text())
    assert verified(path, keys.trusted, capsys)[0] == 1


def test_a_signature_made_for_something_else_is_none(tmp_path, keys, capsys):
    key, path = keys("ada"), make_record().save(tmp_path / "runs")
    seal = sign.sign_record.__globals__["read_seal"](path)
    done = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-f", key, "-n", "git"], input=seal, capture_output=True, text=True
    )
    path.with_name(f"{path.name}.sig").write_text(done.stdout)
    assert verified(path, keys.trusted, capsys)[0] == 1


def test_what_does_not_close_is_not_signed(tmp_path, keys):
    record = make_record()
    record.throughput["images_per_s"] = 9e9
    with pytest.raises(UserError, match=r"is not signed: throughput\.images_per_s"):
        sign.main([str(record.save(tmp_path)), "--key", str(keys("ada"))])


def test_a_key_that_is_none_is_one_line(tmp_path):
    with pytest.raises(UserError, match="not signed: "):
        sign.main([str(make_record().save(tmp_path)), "--key", str(tmp_path / "none")])

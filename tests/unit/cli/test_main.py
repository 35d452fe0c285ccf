"""How every command ends: its exit code, and what it says then."""

import io

import click

from geodl_core.cli.main import guarded


def test_a_question_that_nobody_answers_is_no_interruption(monkeypatch, capsys):
    """Without a terminal a command that asks has done nothing, and says how not to be asked."""
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert guarded(lambda: click.confirm("delete all?", abort=True)) == 2
    assert "nothing was done\nhint: --yes does not ask" in capsys.readouterr().err


def test_an_interruption_is_one(capsys):
    """Ctrl-C leaves what is there for the same command."""

    def stop():
        raise KeyboardInterrupt

    assert guarded(stop) == 130
    assert "goes on" in capsys.readouterr().err

"""What is wrong with a document, in a line."""

import pytest

from geodl_core.domain.run.complaints import MOST_TOLD
from geodl_core.domain.run.options import RunOptions, read_options
from geodl_core.domain.watch.watch import Watch, read_watch
from geodl_core.errors import InputError


def said(document, read=read_watch):
    with pytest.raises(InputError) as caught:
        read(document, "here")
    assert "\n" not in caught.value.message
    return caught.value.message


def test_all_faults_are_told_at_once():
    """Each fault of a document is named by where it is, in one line."""
    message = said({"name": "a", "options": {"pad": "mirror", "shards": 0, "bands": 5}, "priority": 1000})
    assert message.startswith("here: ")
    faults = message.removeprefix("here: ").split("; ")
    assert sorted(fault.partition(":")[0] for fault in faults) == [
        "model",
        "options.bands",
        "options.pad",
        "options.shards",
        "priority",
    ]
    assert all("expected" in fault for fault in faults)


@pytest.mark.parametrize("name", sorted(RunOptions.model_fields))
def test_an_option_that_is_misspelt_is_recognised(name):
    """An unknown option is answered with the one that is meant, in a run and in a watch."""
    wrong = f"{name}x"
    assert said({wrong: 1}, read_options) == f"here: there is no option {wrong} ({name} is meant?)"
    assert f"options: there is no option {wrong} ({name} is meant?)" in said({"options": {wrong: 1}})


def test_band_is_bands():
    """As on the command line, and not as in a document."""
    assert "there is no option band (bands is meant?)" in said({"band": {"Green": "B03"}}, read_options)


def test_a_key_like_no_other_is_answered_with_all():
    """Where nothing is like it, all keys that there are are listed."""
    message = said({"name": "a", "model": "m", "zzzz": 1})
    assert all(name in message for name in Watch.model_fields)
    assert "there is no key zzzz" in message
    assert "api" in said({"name": "a", "model": "m", "source": {"zzzz": 1}})


def test_patterns_are_told_in_words():
    """No regular expression is shown to a person."""
    for document in (
        {"name": "My Crops", "model": "m"},
        {"name": "a", "model": "m", "source": {"api": "ftp://x"}},
        {"name": "a", "model": "m", "options": {"bands": {"a=b": "c"}}},
    ):
        assert "^" not in said(document)
    assert "lower case letters, digits, . _ -" in said({"name": "My Crops", "model": "m"})


def test_a_value_of_no_kind_is_one_fault():
    """Where several kinds of value would do, they are told together."""
    message = said({"arguments": {"a": None}}, read_options)
    assert message == ("here: arguments.a: expected one of: true or false, a whole number, a number, text, found None")
    assert "filter: expected one of: text, an object" in said({"name": "a", "model": "m", "filter": 5})


def test_faults_without_end_are_cut():
    """However many faults there are, the line ends."""
    message = said({f"zz{number}": 1 for number in range(50)}, read_options)
    assert message.endswith("and 40 more")
    assert message.count("there is no option") == MOST_TOLD

"""The table of prices: whose, of which day, from where; and one of one's own."""

import json

import pytest

from geodl_core.aws.cost.prices import OWN, read_prices
from geodl_core.errors import InputError


def test_each_price_says_where_it_is_from():
    """The list has a region and a date, and each of its figures a unit, a public page, and whether it was read."""
    table = read_prices()
    assert (table.region, table.as_of) == ("us-east-1", "2026-11-22")
    for name, price in table.prices.items():
        assert price.usd > 0, name
        assert price.unit, name
        assert price.page.startswith("https://aws.amazon.com/"), name
        assert price.basis in ("read", "from memory"), name
        assert bool(price.seen) == (price.basis == "read"), name


@pytest.mark.parametrize("kind", ["toml", "json"])
def test_a_table_of_ones_own_is_put_into_the_list(tmp_path, kind):
    """Prices that it names are its own, an instance type of its own may be among them, the others stay."""
    path = tmp_path / f"prices.{kind}"
    path.write_text(
        'region = "eu-central-1"\nas_of = "2026-12-01"\n"g6.xlarge" = 1.006\n"g6e.xlarge" = {usd = 2.3}\n'
        if kind == "toml"
        else json.dumps(
            {"region": "eu-central-1", "as_of": "2026-12-01", "g6.xlarge": 1.006, "g6e.xlarge": {"usd": 2.3}}
        )
    )
    listed, table = read_prices(), read_prices(path)
    assert (table.region, table.as_of) == ("eu-central-1", "2026-12-01")
    assert (table.usd("g6.xlarge"), table.usd("g6e.xlarge")) == (1.006, 2.3)
    assert table.prices["g6.xlarge"].basis == OWN
    assert table.usd("s3_put") == listed.usd("s3_put")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no_such = 1.0", "no price is called 'no_such'"),
        ('s3_put = "much"', "expected US dollars, found 'much'"),
        ("s3_put = -1.0", "expected US dollars, found -1.0"),
        ("s3_put = nan", "expected US dollars, found nan"),
        ("s3_put = inf", "expected US dollars, found inf"),
        ("s3_put = true", "expected US dollars, found True"),
        ("gpu_spot_share = 45", "expected a share, 0 to 1, found 45"),
        ("this is no TOML", "expected a table of prices as TOML or JSON"),
    ],
)
def test_what_is_no_price_is_refused(tmp_path, text, said):
    """A name or a number that is none is told, with the file."""
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_prices(path)
    assert str(path) in caught.value.message


def test_a_missing_table_and_price_are_told(tmp_path):
    """A file that is not there, one that is a list, and an instance type that no table has."""
    with pytest.raises(InputError, match="cannot read it"):
        read_prices(tmp_path / "none.toml")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(InputError, match="found list"):
        read_prices(tmp_path / "list.json")
    with pytest.raises(InputError, match=r"no price p5\.48xlarge"):
        read_prices().usd("p5.48xlarge")

"""Keys of the bucket: urls and keys of the same thing agree, also below a prefix."""

import pytest

from geodl_core.aws.site.documents import place
from geodl_core.aws.site.layout import (
    Bucket,
    backfill_key,
    backfill_url,
    model_item_url,
    order_url,
    result_item_url,
    shard_list,
    shards_key,
    shards_url,
)
from geodl_core.errors import InputError


@pytest.mark.parametrize("url", ["s3://b", "s3://b/some/prefix"])
def test_urls_and_keys_agree(url):
    """What the state machine is told as a key is what the functions write by its URL."""
    bucket = Bucket(url)
    for found, key in (
        (shards_url(bucket, "r"), shards_key(bucket, "r")),
        (backfill_url(bucket, "bf", 3), backfill_key(bucket, "bf", 3)),
    ):
        assert place(found) == ("b", key)
        assert key.startswith(bucket.prefix)


def test_names_of_anybody_are_keys():
    """Ids from outside neither leave their folder nor lose a letter on their way."""
    bucket = Bucket("s3://b")
    url = result_item_url(bucket, "../../models", "a b/ü")
    _, key = place(url)
    assert key.startswith("results/")
    assert ".." not in key
    assert place(result_item_url(bucket, "c", "a b+ü"))[1] == "results/c/a b+ü/a b+ü.json"


def test_folders_are_those_of_the_lifecycle():
    """Orders and work may be taken away; results and models lie apart from them."""
    bucket = Bucket("s3://b")
    assert order_url(bucket, "0" * 64) == f"s3://b/orders/{'0' * 64}.json"
    assert model_item_url(bucket, "net", "0123") == "s3://b/models/net/0123/net-0123.json"


def test_a_list_of_shards_has_a_line_each():
    """As the map reads it."""
    assert shard_list(3) == b'{"n":0}\n{"n":1}\n{"n":2}\n'


def test_other_urls_are_refused():
    """Only buckets of S3 have keys."""
    with pytest.raises(InputError, match="expected s3"):
        place("https://b/k")

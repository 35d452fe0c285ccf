"""What functions are told, by their environment alone."""

from geodl_core.settings import AwsSettings


def test_settings_come_from_the_environment():
    """Each variable that the template sets arrives; what is not set is empty, and a job has five minutes of work."""
    names = ("BUCKET", "TABLE", "SCENE_MACHINE", "TOPIC", "CATALOG", "CATALOG_SECRET", "TOKENS_SECRET", "BATCH_LOGS")
    told = AwsSettings.from_env({f"GEODL_{name}": name for name in names} | {"GEODL_PRIVATE": "1"})
    assert (told.bucket, told.table, told.machine, told.topic) == names[:4]
    assert (told.catalog, told.catalog_secret, told.tokens_secret, told.batch_logs) == names[4:]
    assert (told.is_private, told.shard_s) == (True, 300.0)
    more = ("SCHEDULE_GROUP", "SCHEDULE_ROLE", "SCAN_FUNCTION", "BACKFILL_MACHINE")
    told = AwsSettings.from_env({f"GEODL_{name}": name for name in more})
    assert (told.schedule_group, told.schedule_role, told.scan_function, told.backfill_machine) == more
    bare = AwsSettings.from_env({})
    assert (bare.bucket, bare.is_private, bare.catalog_secret) == ("", False, "")
    assert AwsSettings.from_env({"GEODL_SHARD_SECONDS": "60", "GEODL_BUCKET": "s3://b/"}).shard_s == 60

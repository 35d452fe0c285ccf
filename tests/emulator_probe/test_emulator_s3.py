"""S3 as geodl uses it: ranges, multipart uploads, writes that happen once."""

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from aws_probe import bodies, make_queue, received
from botocore.exceptions import ClientError

from emulator import launch

pytestmark = pytest.mark.aws
PART_BYTES = 5 * 1024 * 1024


@pytest.fixture(scope="module")
def greeting(aws, bucket):
    aws.s3.put_object(Bucket=bucket, Key="a/b.txt", Body=b"hello world", Metadata={"k": "v"}, ContentType="text/plain")
    return {"Bucket": bucket, "Key": "a/b.txt"}


def refused(call, **arguments):
    """The status and code with which S3 refuses a call."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_an_object_comes_back_with_its_metadata(aws, greeting):
    """Put, get and head agree about bytes, metadata and length."""
    found = aws.s3.get_object(**greeting)
    assert (found["Body"].read(), found["Metadata"]) == (b"hello world", {"k": "v"})
    assert aws.s3.head_object(**greeting)["ContentLength"] == 11


def test_ranges_are_read_from_both_ends(aws, greeting):
    """A range and a suffix give these bytes; one beyond the end is refused."""
    middle = aws.s3.get_object(**greeting, Range="bytes=2-4")
    assert (middle["ResponseMetadata"]["HTTPStatusCode"], middle["Body"].read()) == (206, b"llo")
    assert aws.s3.get_object(**greeting, Range="bytes=-5")["Body"].read() == b"world"
    assert refused(aws.s3.get_object, **greeting, Range="bytes=100-") == (416, "InvalidRange")


def test_parts_make_one_object(aws, bucket):
    """A multipart upload joins its parts in order and has an ETag that counts them."""
    place = {"Bucket": bucket, "Key": "parts"}
    upload = aws.s3.create_multipart_upload(**place)["UploadId"]
    parts = []
    for number, size in ((1, PART_BYTES), (2, 10)):
        part = aws.s3.upload_part(**place, UploadId=upload, PartNumber=number, Body=bytes([number]) * size)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    done = aws.s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
    assert done["ETag"].strip('"').endswith("-2")
    assert aws.s3.get_object(**place)["Body"].read() == b"\1" * PART_BYTES + b"\2" * 10


def test_a_second_first_write_is_refused(aws, bucket):
    """If-None-Match: * lets one write happen; the second gets 412 and changes nothing, in parts too."""
    place = {"Bucket": bucket, "Key": "once"}
    aws.s3.put_object(**place, Body=b"1", IfNoneMatch="*")
    assert refused(aws.s3.put_object, **place, Body=b"2", IfNoneMatch="*")[0] == 412
    upload = aws.s3.create_multipart_upload(**place)["UploadId"]
    etag = aws.s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    complete = aws.s3.complete_multipart_upload
    assert refused(complete, **place, UploadId=upload, MultipartUpload=parts, IfNoneMatch="*")[0] == 412
    assert aws.s3.get_object(**place)["Body"].read() == b"1"


def test_a_stale_write_is_refused(aws, bucket):
    """If-Match with an ETag that is no longer the object's gets 412."""
    place = {"Bucket": bucket, "Key": "swapped"}
    etag = aws.s3.put_object(**place, Body=b"1")["ETag"]
    aws.s3.put_object(**place, Body=b"2", IfMatch=etag)
    assert refused(aws.s3.put_object, **place, Body=b"3", IfMatch=etag)[0] == 412
    assert aws.s3.get_object(**place)["Body"].read() == b"2"


def test_of_twenty_first_writers_one_wins(emulator, aws, bucket):
    """Twenty clients that create one key at once: one succeeds, and its bytes are the object."""
    clients = [launch.client(emulator, "s3") for _ in range(20)]

    def write(index):
        try:
            clients[index].put_object(Bucket=bucket, Key="race", Body=str(index).encode(), IfNoneMatch="*")
        except ClientError:
            return None
        return index

    with ThreadPoolExecutor(20) as pool:
        winners = [index for index in pool.map(write, range(20)) if index is not None]
    assert [aws.s3.get_object(Bucket=bucket, Key="race")["Body"].read()] == [str(one).encode() for one in winners]


def test_lists_copies_links_and_checksums(aws, bucket, greeting):
    """Keys are listed by folder and page; a copy, a signed link and a checksum give what was put."""
    for index in range(7):
        aws.s3.put_object(Bucket=bucket, Key=f"l/{index}/x", Body=b"x")
    page = aws.s3.list_objects_v2(Bucket=bucket, Prefix="l/", Delimiter="/", MaxKeys=5)
    assert (len(page["CommonPrefixes"]), page["IsTruncated"]) == (5, True)
    aws.s3.copy_object(Bucket=bucket, Key="l/copy", CopySource=greeting)
    assert aws.s3.get_object(Bucket=bucket, Key="l/copy")["Body"].read() == b"hello world"
    aws.s3.delete_object(Bucket=bucket, Key="l/copy")
    assert refused(aws.s3.head_object, Bucket=bucket, Key="l/copy")[0] == 404
    link = aws.s3.generate_presigned_url("get_object", Params=greeting)
    with urllib.request.urlopen(link, timeout=10) as answer:
        assert answer.read() == b"hello world"
    aws.s3.put_object(Bucket=bucket, Key="sum", Body=b"abc", ChecksumAlgorithm="SHA256")
    found = aws.s3.head_object(Bucket=bucket, Key="sum", ChecksumMode="ENABLED")
    assert found["ChecksumSHA256"] == "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="


def test_a_bucket_tells_of_new_objects(aws, bucket):
    """A notification names the keys under its prefix and no others."""
    queue = make_queue(aws)
    rule = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}]}}
    wish = {"QueueArn": queue.arn, "Events": ["s3:ObjectCreated:*"], "Filter": rule}
    aws.s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [wish]}
    )
    for key in ("out/x.json", "in/x.json"):
        aws.s3.put_object(Bucket=bucket, Key=key, Body=b"{}")
    records = [one for body in bodies(received(aws, queue, 1)) for one in json.loads(body).get("Records", [])]
    assert [one["s3"]["object"]["key"] for one in records] == ["in/x.json"]
    aws.s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})

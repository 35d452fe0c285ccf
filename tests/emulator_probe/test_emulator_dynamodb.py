"""DynamoDB as the ledger uses it: claims that one writer wins, indexes, transactions, streams."""

import pytest
from aws_probe import named
from botocore.exceptions import ClientError

pytestmark = pytest.mark.aws


@pytest.fixture(scope="module")
def ledger(aws):
    """A table with one row, claimed as `new`."""
    table = named("ledger")
    aws.dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "state")],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_state",
                "KeySchema": [{"AttributeName": "state", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    item = {"pk": {"S": "a"}, "sk": {"S": "1"}, "state": {"S": "new"}}
    aws.dynamodb.put_item(TableName=table, Item=item, ConditionExpression="attribute_not_exists(pk)")
    return table


def test_a_row_is_claimed_once(aws, ledger):
    """A second claim is refused and is told who was first."""
    with pytest.raises(ClientError) as caught:
        aws.dynamodb.put_item(
            TableName=ledger,
            Item={"pk": {"S": "a"}, "sk": {"S": "1"}},
            ConditionExpression="attribute_not_exists(pk)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    assert caught.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert caught.value.response["Item"]["pk"] == {"S": "a"}


def test_a_state_moves_under_a_condition_and_the_index_follows(aws, ledger):
    """An update from one state to the next happens once; the index finds the row by its new state."""
    move = {
        "TableName": ledger,
        "Key": {"pk": {"S": "a"}, "sk": {"S": "1"}},
        "UpdateExpression": "SET #s = :after, attempts = if_not_exists(attempts, :zero) + :one",
        "ConditionExpression": "#s = :before",
        "ExpressionAttributeNames": {"#s": "state"},
        "ExpressionAttributeValues": {
            ":after": {"S": "running"},
            ":before": {"S": "new"},
            ":zero": {"N": "0"},
            ":one": {"N": "1"},
        },
    }
    assert aws.dynamodb.update_item(**move, ReturnValues="ALL_NEW")["Attributes"]["attempts"] == {"N": "1"}
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        aws.dynamodb.update_item(**move)
    found = aws.dynamodb.query(
        TableName=ledger,
        IndexName="by_state",
        KeyConditionExpression="#s = :s",
        ExpressionAttributeNames={"#s": "state"},
        ExpressionAttributeValues={":s": {"S": "running"}},
    )
    assert [one["pk"] for one in found["Items"]] == [{"S": "a"}]


def test_a_transaction_happens_whole_or_not_at_all(aws, ledger):
    """Where a condition fails, no row of the transaction is written."""
    check = {
        "TableName": ledger,
        "Key": {"pk": {"S": "a"}, "sk": {"S": "1"}},
        "ConditionExpression": "attribute_not_exists(pk)",
    }
    put = {"TableName": ledger, "Item": {"pk": {"S": "b"}, "sk": {"S": "1"}}}
    with pytest.raises(ClientError, match="TransactionCanceled"):
        aws.dynamodb.transact_write_items(TransactItems=[{"Put": put}, {"ConditionCheck": check}])
    assert "Item" not in aws.dynamodb.get_item(TableName=ledger, Key={"pk": {"S": "b"}, "sk": {"S": "1"}})


def test_the_stream_tells_what_happened(aws, ledger):
    """The stream's first record is the first write, with its image."""
    streams = aws.dynamodbstreams
    arn = aws.dynamodb.describe_table(TableName=ledger)["Table"]["LatestStreamArn"]
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    first = streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"][0]
    assert (first["eventName"], first["dynamodb"]["NewImage"]["state"]) == ("INSERT", {"S": "new"})

"""What an account of AWS answers to people at a command line: who is not let in is told so, and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from geodl_core.errors import InputError, UnavailableError

EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
UNKNOWN = ("InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidAccessKeyId")
REFUSED = ("AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation")
HOW = "aws configure, aws sso login or AWS_PROFILE give credentials"


@contextmanager
def account_errors(what: str) -> Iterator[None]:
    """Turn what boto3 raises into errors that name the thing asked for.

    Args:
        what: was asked, as `stack geodl`.

    Raises:
        InputError: there are no credentials, no region, or no leave to ask this.
        UnavailableError: AWS does not answer now.
    """
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise InputError(f"{what}: expected credentials for AWS, found none", hint=HOW) from error
    except NoRegionError as error:
        raise InputError(
            f"{what}: expected a region of AWS, found none", hint="--region or AWS_DEFAULT_REGION"
        ) from error
    except ProfileNotFound as error:
        raise InputError(f"{what}: {error}", hint=HOW) from error
    except ClientError as error:
        raise _refusal(what, error) from error
    except BotoCoreError as error:
        raise UnavailableError(f"{what}: AWS does not answer now ({error})", hint="try again later") from error


def is_absent(error: ClientError) -> bool:
    """Say whether CloudFormation answers that there is no such stack."""
    told = error.response["Error"]
    return told["Code"] == "ValidationError" and "does not exist" in told["Message"]


def _refusal(what: str, error: ClientError) -> InputError | UnavailableError:
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if code in EXPIRED:
        return InputError(f"{what}: the credentials for AWS have expired", hint=HOW)
    if code in UNKNOWN:
        return InputError(f"{what}: AWS does not know these credentials ({code})", hint=HOW)
    if code in REFUSED:
        return InputError(f"{what}: these credentials may not do that ({message or code})")
    return UnavailableError(f"{what}: AWS answers {code} ({message})")

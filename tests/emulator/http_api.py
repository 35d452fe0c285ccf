"""HTTP APIs from an OpenAPI document, the form that SAM's HttpApi has: MiniStack makes no routes of it.

Sources: API Gateway's guide ("OpenAPI extensions": x-amazon-apigateway-integration, -authorizer, -any-method).
"""

import json
import re

from ministack.services import apigateway
from ministack.services.cloudformation import provisioners

from emulator.options import Options

FUNCTION = re.compile(r"functions/(arn:[^/]+)/invocations")
ANY = "x-amazon-apigateway-any-method"
INTEGRATION = "x-amazon-apigateway-integration"
AUTHORIZER = "x-amazon-apigateway-authorizer"


def install(options: Options) -> None:
    """Make routes when CloudFormation makes or changes an API with a body."""
    handlers = provisioners._RESOURCE_HANDLERS["AWS::ApiGatewayV2::Api"]
    create, update = handlers["create"], handlers["update"]

    def create_api(logical_id, properties, stack):
        return _imported(create(logical_id, properties, stack), properties)

    def update_api(api_id, old, new, stack, logical_id=None):
        return _imported(update(api_id, old, new, stack, logical_id), new)

    handlers.update(create=create_api, update=update_api)


def import_body(api_id: str, body: dict) -> None:
    """Put the routes of an OpenAPI document in the place of those that an API has."""
    for store in (apigateway._routes, apigateway._integrations, apigateway._authorizers):
        store[api_id] = {}
    authorizers = _authorizers(api_id, body)
    for path, operations in (body.get("paths") or {}).items():
        for method, operation in operations.items():
            if INTEGRATION in (operation or {}):
                key = (
                    "$default"
                    if path.strip("/") == "$default"
                    else f"{'ANY' if method == ANY else method.upper()} {path}"
                )
                security = operation.get("security", body.get("security")) or []
                target = f"integrations/{_integration(api_id, operation[INTEGRATION])}"
                route = {"routeKey": key, "target": target, **_authorization(security, authorizers)}
                apigateway._create_route(api_id, route)


def _imported(made, properties):
    if isinstance(properties.get("Body"), dict):
        import_body(made[0], properties["Body"])
    return made


def _integration(api_id, written):
    found = FUNCTION.search(written.get("uri", ""))
    request = {
        "integrationType": written.get("type", "aws_proxy").upper(),
        "integrationUri": found[1] if found else written.get("uri"),
        "payloadFormatVersion": written.get("payloadFormatVersion", "2.0"),
    }
    return json.loads(apigateway._create_integration(api_id, request)[2])["integrationId"]


def _authorizers(api_id, body):
    """Name of a security scheme → what a route that asks for it carries."""
    found = {}
    for name, scheme in ((body.get("components") or {}).get("securitySchemes") or {}).items():
        written = scheme.get(AUTHORIZER)
        if not written:
            continue
        jwt = written.get("type", "").lower() == "jwt"
        source = written.get("identitySource", "$request.header.Authorization")
        request = {
            **written,
            "name": name,
            "authorizerType": "JWT" if jwt else "REQUEST",
            "identitySource": source if isinstance(source, list) else [one.strip() for one in source.split(",")],
        }
        made = json.loads(apigateway._create_authorizer(api_id, request)[2])
        found[name] = {"authorizationType": "JWT" if jwt else "CUSTOM", "authorizerId": made["authorizerId"]}
    return found


def _authorization(security, authorizers):
    for requirement in security:
        for name, scopes in requirement.items():
            if name in authorizers:
                return {**authorizers[name], "authorizationScopes": scopes}
            if name == "AWS_IAM":
                return {"authorizationType": "AWS_IAM"}
    return {}

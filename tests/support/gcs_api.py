"""The answers of a strict Google Cloud Storage in memory, to requests of the JSON API and to reads of the XML API."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

import gcs_uploads
from gcs_messages import Refused, as_json, headers_of, made, parsed_json, parts, selected, selection
from gcs_objects import Bucket, Conditions, GcsObject, Hashes, bucket_resource, checked_fields
from gcs_reads import check_tags, content, xml_page
from gcs_uploads import Session
from proxy import Reply, Request

_CALLS = 100  # in a batch
_BATCH = 10 << 20  # bytes
_CONDITIONS = {"ifGenerationMatch", "ifGenerationNotMatch", "ifMetagenerationMatch", "ifMetagenerationNotMatch"}
_SOURCE_CONDITIONS = {f"ifSource{name[2:]}" for name in _CONDITIONS} | {"sourceGeneration"}
_ANY = {"alt", "fields", "key", "prettyPrint", "projection", "quotaUser", "userProject"}
_PAGES = {"prefix", "delimiter", "pageToken", "maxResults", "startOffset", "endOffset"}
_UPLOADS = {"uploadType", "name", "upload_id"}
_XML_PAGES = {"list-type", "prefix", "delimiter", "max-keys", "start-after", "continuation-token"}


class _Route(NamedTuple):
    """Which requests a method answers: by verb and path; and the parameters that it knows."""

    name: str
    methods: tuple[str, ...]
    path: str
    parameters: set[str]


_BUCKET = r"/(?:download/)?storage/v1/b/(?P<bucket>[^/]+)"
_OBJECT = _BUCKET + r"/o/(?P<name>[^/]+)"
_TO = r"/(?P<verb>rewriteTo|copyTo)/b/(?P<to_bucket>[^/]+)/o/(?P<to>[^/]+)"
_XML = r"/(?!storage/|upload/|download/|batch/)(?P<bucket>[^/]+)"
_ROUTES = (
    _Route("insert_bucket", ("POST",), r"/storage/v1/b", {"project"}),
    _Route("get_bucket", ("GET",), _BUCKET, _CONDITIONS),
    _Route("list", ("GET",), _BUCKET + "/o", _PAGES),
    _Route("get", ("GET",), _OBJECT, _CONDITIONS | {"generation"}),
    _Route("patch", ("PATCH",), _OBJECT, _CONDITIONS | {"generation"}),
    _Route("delete", ("DELETE",), _OBJECT, _CONDITIONS | {"generation"}),
    _Route("compose", ("POST",), _OBJECT + "/compose", _CONDITIONS),
    _Route("copy", ("POST",), _OBJECT + _TO, _CONDITIONS | _SOURCE_CONDITIONS | {"maxBytesRewrittenPerCall"}),
    _Route("upload", ("POST", "PUT", "DELETE"), "/upload" + _BUCKET + "/o", _CONDITIONS | _UPLOADS),
    _Route("batch", ("POST",), r"/batch/storage/v1", set()),
    _Route("xml_list", ("GET",), _XML + "/?", _XML_PAGES),
    _Route("xml_get", ("GET", "HEAD"), _XML + "/(?P<name>.+)", {"generation"}),
)


@dataclass
class GcsApi:
    """The buckets and what may be done with them.

    Attributes:
        tokens: The bearer tokens that let in; None lets everybody in. Addresses of sessions need no token.
        page: The largest number of entries in a page of a list.
        early: Whether the preconditions of a resumable upload are also checked when it begins.
        buckets: The buckets by name.
        sessions: The resumable uploads by id.
    """

    tokens: set[str] | None = None
    page: int = 1000
    early: bool = False
    buckets: dict[str, Bucket] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)

    def spoiled(self, request: Request) -> Refused | None:
        """Returns the error that a call in a batch gets instead of an answer."""

    def answer(self, request: Request, *, in_batch: bool = False) -> Reply:
        """Answers a request."""
        try:
            return self._routed(request, in_batch)
        except Refused as refused:
            return self.refused(request, refused)

    def refused(self, request: Request, refused: Refused) -> Reply:
        xml = re.match(_XML, request.target) is not None
        reply = refused.reply(xml=xml)
        return reply._replace(body=b"") if request.method == "HEAD" else reply

    def _routed(self, request: Request, in_batch: bool) -> Reply:
        path, _, text = request.target.partition("?")
        matches = ((re.fullmatch(one.path, path), one) for one in _ROUTES if request.method in one.methods)
        found, route = next(((match, one) for match, one in matches if match), (None, None))
        if found is None or route is None:
            raise Refused(404, "Not Found")
        try:
            query = dict(parse_qsl(text, keep_blank_values=True, errors="strict"))
            values = {key: unquote(value, errors="strict") for key, value in found.groupdict().items()}
        except UnicodeDecodeError:
            raise Refused(400, "The address is not UTF-8.") from None
        if not query.get("upload_id"):
            self._authorize(request)
        if unknown := set(query) - route.parameters - _ANY:
            raise Refused(400, f"Unknown parameter: {', '.join(sorted(unknown))}")
        if in_batch and (route.name in ("batch", "upload") or query.get("alt") == "media"):
            raise Refused(400, "A batch cannot hold uploads, downloads or batches.")
        reply: Reply = getattr(self, f"_{route.name}")(request, query, **values)
        return reply

    def _authorize(self, request: Request) -> None:
        if self.tokens is None:
            return
        stated = request.headers.get("authorization")
        if stated is None or stated not in {f"Bearer {one}" for one in self.tokens}:
            message = "Login Required." if stated is None else "Invalid Credentials"
            raise Refused(401, message, (("WWW-Authenticate", 'Bearer realm="https://accounts.google.com/"'),))

    def _bucket(self, name: str) -> Bucket:
        if name not in self.buckets:
            raise Refused(404, "The specified bucket does not exist.")
        return self.buckets[name]

    def _server(self, request: Request) -> str:
        """The address of this server, as the client sees it."""
        return f"http://{request.headers['host']}"

    def _resource(self, request: Request, query: Mapping[str, str], found: GcsObject) -> Reply:
        return _with_fields(found.resource(self._server(request)), query)

    def _insert_bucket(self, request: Request, query: Mapping[str, str]) -> Reply:
        name = str(parsed_json(request.body).get("name"))
        if not query.get("project"):
            raise Refused(400, "Required parameter: project")
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{1,220}[a-z0-9]", name):
            raise Refused(400, f"Invalid bucket name: '{name}'")
        if name in self.buckets:
            raise Refused(409, "Your previous request to create the named bucket succeeded and you already own it.")
        self.buckets[name] = Bucket(name)
        return self._get_bucket(request, query, name)

    def _get_bucket(self, request: Request, query: Mapping[str, str], bucket: str) -> Reply:
        return _with_fields(bucket_resource(self._bucket(bucket), self._server(request)), query)

    def _list(self, request: Request, query: Mapping[str, str], bucket: str) -> Reply:
        page, server = self._bucket(bucket).list(query, self.page), self._server(request)
        found = {"kind": "storage#objects", "nextPageToken": page.token, "prefixes": page.prefixes}
        found["items"] = [one.resource(server) for one in page.items]
        return _with_fields({name: value for name, value in found.items() if value}, query)

    def _get(self, request: Request, query: Mapping[str, str], bucket: str, name: str) -> Reply:
        found = self._bucket(bucket).get(name, query, Conditions.of(query))
        alt = query.get("alt", "json")
        if alt not in ("json", "media"):
            raise Refused(400, f"Invalid value for alt: {alt}")
        tag = found.etag
        check_tags(request, tag)
        return content(found, request, tag) if alt == "media" else self._resource(request, query, found)

    def _patch(self, request: Request, query: Mapping[str, str], bucket: str, name: str) -> Reply:
        within = self._bucket(bucket)
        found = within.get(name, query, Conditions.of(query))
        return self._resource(request, query, within.patch(found, parsed_json(request.body)))

    def _delete(self, request: Request, query: Mapping[str, str], bucket: str, name: str) -> Reply:
        within = self._bucket(bucket)
        within.get(name, query, Conditions.of(query))
        del within.objects[name]
        return made(204, b"")

    def _compose(self, request: Request, query: Mapping[str, str], bucket: str, name: str) -> Reply:
        stored = self._bucket(bucket).compose(name, parsed_json(request.body), Conditions.of(query))
        return self._resource(request, query, stored)

    def _copy(
        self, request: Request, query: Mapping[str, str], bucket: str, name: str, verb: str, to_bucket: str, to: str
    ) -> Reply:
        source = self._bucket(bucket).get(name, query, Conditions.of(query, "ifSource"), "sourceGeneration")
        sent = parsed_json(request.body) if request.body else {}
        fields = checked_fields(sent) or source.fields
        hashes = Hashes.of(sent, None)
        within = self._bucket(to_bucket)
        stored = within.store(to, source.data, fields, Conditions.of(query), hashes, source.components)
        if verb == "copyTo":
            return self._resource(request, query, stored)
        size = str(len(stored.data))
        done = {"kind": "storage#rewriteResponse", "totalBytesRewritten": size, "objectSize": size, "done": True}
        return _with_fields({**done, "resource": stored.resource(self._server(request))}, query)

    def _upload(self, request: Request, query: Mapping[str, str], bucket: str) -> Reply:
        within, kind = self._bucket(bucket), query.get("uploadType")
        if "upload_id" in query:
            return self._resume(request, query["upload_id"])
        if request.method != "POST" or kind not in ("media", "multipart", "resumable"):
            raise Refused(400, f"Invalid {request.method} of uploadType {kind}")
        if kind == "resumable":
            session = Session.begin(within, request, query)
            if self.early:
                Conditions.of(query).check(within.objects.get(session.name))
            self.sessions[session.id] = session
            return made(
                200, b"", ("Location", session.address(self._server(request))), ("X-GUploader-UploadID", session.id)
            )
        store = gcs_uploads.media if kind == "media" else gcs_uploads.multipart
        return self._resource(request, query, store(within, request, query))

    def _resume(self, request: Request, upload_id: str) -> Reply:
        if (session := self.sessions.get(upload_id)) is None:
            raise Refused(404, "No such upload session.")
        if request.method == "DELETE":
            if session.ended or session.stored:
                raise Refused(session.ended or 404, "The upload session is over.")
            session.ended = 499
            raise Refused(499)
        if (incomplete := session.put(request)) is not None:
            return incomplete
        assert session.stored
        return self._resource(request, session.query, session.stored)

    def _batch(self, request: Request, query: Mapping[str, str]) -> Reply:
        calls = parts(request.body, request.headers.get("content-type", ""), "multipart/mixed")
        if not 1 <= len(calls) <= _CALLS or len(request.body) >= _BATCH:
            raise Refused(400, f"A batch has 1 to {_CALLS} calls in less than {_BATCH} bytes.")
        shared = {name: value for name, value in request.headers.items() if not name.startswith("content-")}
        mark = f"batch_{uuid4().hex}"
        found = []
        for headers, start, end in calls:
            if headers.get("content-type") != "application/http":
                raise Refused(400, "A part of the batch is not of the type application/http.")
            head, _, body = request.body[start:end].replace(b"\r\n", b"\n").lstrip(b"\n").partition(b"\n\n")
            line, _, lines = head.partition(b"\n")
            method, _, rest = line.decode("latin-1").partition(" ")
            target = re.sub("^https?://[^/]*", "", rest.partition(" ")[0])  # Google's own client names the server
            one = Request(method, target, {**shared, **headers_of(lines)}, body)
            spoiled = self.spoiled(one)
            reply = self.refused(one, spoiled) if spoiled else self.answer(one, in_batch=True)
            id_ = headers.get("content-id")
            names = [f"--{mark}", "Content-Type: application/http"]
            names += [f"Content-ID: <response-{id_.strip('<>')}>"] if id_ else []
            names += ["", f"HTTP/1.1 {reply.status}", *(f"{name}: {value}" for name, value in reply.headers), "", ""]
            found.append("\r\n".join(names).encode() + reply.body + b"\r\n")
        body = b"".join(found) + f"--{mark}--\r\n".encode()
        return made(200, body, ("Content-Type", f"multipart/mixed; boundary={mark}"))

    def _xml_list(self, request: Request, query: Mapping[str, str], bucket: str) -> Reply:
        if query.get("list-type") != "2":
            raise Refused(400, "Only list-type=2 is known.")
        names = {"max-keys": "maxResults", "start-after": "startOffset", "continuation-token": "pageToken"}
        translated = {names.get(name, name): value for name, value in query.items()}
        return xml_page(bucket, query.get("prefix", ""), self._bucket(bucket).list(translated, self.page))

    def _xml_get(self, request: Request, query: Mapping[str, str], bucket: str, name: str) -> Reply:
        stated = {
            f"if{kind}": request.headers[header]
            for kind in ("GenerationMatch", "MetagenerationMatch")
            if (header := f"x-goog-if-{kind.removesuffix('Match').lower()}-match") in request.headers
        }
        found = self._bucket(bucket).get(name, query, Conditions.of(stated))
        tag = found.xml_etag
        check_tags(request, tag)
        return content(found, request, f'"{tag}"')


def _with_fields(value: dict[str, object], query: Mapping[str, str]) -> Reply:
    return as_json(selected(value, selection(query["fields"]) if "fields" in query else {}))

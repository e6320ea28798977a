"""The content and the lists that a strict Google Cloud Storage sends."""

from email.utils import format_datetime

from gcs_messages import Refused, byte_range, escaped, made
from gcs_objects import GcsObject, Page, rfc3339
from proxy import Reply, Request


def check_tags(request: Request, tag: str) -> None:
    """Checks `If-Match` and `If-None-Match` of a read."""

    def tags(header: str) -> set[str]:
        return {one.strip().strip('"') for one in request.headers.get(header, "").split(",")}

    if "if-match" in request.headers and not tags("if-match") & {tag, "*"}:
        raise Refused(412, "At least one of the pre-conditions you specified did not hold.")
    if "if-none-match" in request.headers and tags("if-none-match") & {tag, "*"}:
        raise Refused(304)


def content(found: GcsObject, request: Request, tag: str) -> Reply:
    """Returns the content of an object, or the range that was asked for."""
    size = len(found.data)
    wanted = byte_range(request.headers.get("range"), size)
    start, end = wanted or (0, size)
    headers = [
        ("Content-Type", found.content_type),
        ("Content-Length", str(end - start)),
        ("ETag", tag),
        ("Last-Modified", format_datetime(found.updated, usegmt=True)),
        ("Accept-Ranges", "bytes"),
        ("x-goog-generation", str(found.generation)),
        ("x-goog-metageneration", str(found.metageneration)),
        ("x-goog-hash", found.hashes),
        ("x-goog-stored-content-length", str(size)),
        ("x-goog-storage-class", "STANDARD"),
    ]
    if wanted:
        headers.append(("Content-Range", f"bytes {start}-{end - 1}/{size}"))
    status = "206 Partial Content" if wanted else "200 OK"
    return Reply(status, headers, b"" if request.method == "HEAD" else found.data[start:end])


def xml_page(bucket: str, prefix: str, page: Page) -> Reply:
    """Returns a page of a list in XML."""
    parts = [
        "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>",
        f"<Name>{bucket}</Name><Prefix>{escaped(prefix)}</Prefix>",
        f"<KeyCount>{len(page.items) + len(page.prefixes)}</KeyCount>",
        f"<IsTruncated>{'true' if page.token else 'false'}</IsTruncated>",
    ]
    if page.token:
        parts.append(f"<NextContinuationToken>{page.token}</NextContinuationToken>")
    for one in page.items:
        parts += [f"<Contents><Key>{escaped(one.name)}</Key><Generation>{one.generation}</Generation>"]
        parts += [f'<LastModified>{rfc3339(one.created)}</LastModified><ETag>"{one.xml_etag}"</ETag>']
        parts += [f"<Size>{len(one.data)}</Size><StorageClass>STANDARD</StorageClass></Contents>"]
    parts += [f"<CommonPrefixes><Prefix>{escaped(one)}</Prefix></CommonPrefixes>" for one in page.prefixes]
    body = "".join([*parts, "</ListBucketResult>"]).encode()
    return made(200, body, ("Content-Type", "application/xml; charset=UTF-8"))

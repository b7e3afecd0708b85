"""Google's own client, with its bundled discovery document, against the server that the environment names: what it reads back, and how it uploads."""

import io
import os

import httplib2
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseDownload, MediaIoBaseUpload

# Whatever name is asked for, the proxy is the server.
proxy = httplib2.ProxyInfo(httplib2.socks.PROXY_TYPE_HTTP, "127.0.0.1", int(os.environ["PROXY_PORT"]))
http = httplib2.Http(proxy_info=proxy, ca_certs=os.environ["CA"], timeout=20)
# As the client does it with a connection that it makes itself: 308 is how far an upload is, not a redirection.
http.redirect_codes = http.redirect_codes - {308}
drive = build("drive", "v3", http=http, static_discovery=True, cache_discovery=False)
files = drive.files()

CHUNK = 256 * 1024
FOLDER = "application/vnd.google-apps.folder"


def refused(request, status, reason):
    try:
        request.execute()
    except HttpError as error:
        assert error.status_code == status, error
        assert error.error_details[0]["reason"] == reason, error.error_details
    else:
        raise AssertionError(f"{request.uri} was not refused")


# Folders, with ids that were given out before: the same one twice is a conflict.
ids = files.generateIds(count=2).execute()["ids"]
folder = files.create(body={"id": ids[0], "name": "it's", "mimeType": FOLDER}, fields="id,parents").execute()
assert folder["id"] == ids[0] and len(folder["parents"]) == 1
refused(files.create(body={"id": ids[0], "name": "x", "mimeType": FOLDER}), 409, "fileIdInUse")

# Uploads: resumable in pieces, resumable at once, multipart, of nothing.
content = os.urandom(CHUNK * 2 + 17)


def upload(name, data, **how):
    media = MediaIoBaseUpload(io.BytesIO(data), mimetype="application/octet-stream", **how)
    return files.create(body={"name": name, "parents": [folder["id"]]}, media_body=media, fields="id,size,md5Checksum,sha256Checksum")


request = upload("pieces", content, chunksize=CHUNK, resumable=True)
progress = []
made = None
while made is None:
    status, made = request.next_chunk()
    progress.append(status.resumable_progress if status else None)
assert progress == [CHUNK, 2 * CHUNK, None], progress
assert made["size"] == str(len(content))
whole = upload("whole", content, chunksize=-1, resumable=True).execute()
assert whole["sha256Checksum"] == made["sha256Checksum"] and whole["md5Checksum"] == made["md5Checksum"]
assert upload("multipart", content).execute()["md5Checksum"] == made["md5Checksum"]
assert upload("empty", b"", resumable=True).execute()["size"] == "0"

# New content of a file, and its metadata.
media = MediaIoBaseUpload(io.BytesIO(b"short"), mimetype="text/plain", resumable=True)
files.update(fileId=whole["id"], media_body=media, body={"name": "whole, changed"}).execute()
assert files.get(fileId=whole["id"], fields="name,size").execute() == {"name": "whole, changed", "size": "5"}

# Downloads in ranges.
target = io.BytesIO()
download = MediaIoBaseDownload(target, files.get_media(fileId=made["id"]), chunksize=CHUNK)
done = False
while not done:
    _, done = download.next_chunk()
assert target.getvalue() == content

# Searches, page by page; names are not unique.
upload("whole, changed", b"other").execute()
query = f"'{folder['id']}' in parents and trashed = false"
names = []
request = files.list(q=query, pageSize=2, orderBy="name", fields="nextPageToken,files(name)")
while request is not None:
    page = request.execute()
    assert len(page["files"]) <= 2
    names += [file["name"] for file in page["files"]]
    request = files.list_next(request, page)
assert names == ["empty", "multipart", "pieces", "whole, changed", "whole, changed"], names
assert len(files.list(q=f"name = 'it\\'s' and mimeType = '{FOLDER}'").execute()["files"]) == 1
refused(files.list(q="name = nonsense"), 400, "invalid")
refused(files.list(q="'nowhere' in parents"), 404, "notFound")
refused(drive.about().get(), 400, "required")
assert "storageQuota" in drive.about().get(fields="storageQuota").execute()

# The trash, and its end.
files.update(fileId=made["id"], body={"trashed": True}).execute()
assert files.get(fileId=made["id"], fields="trashed").execute() == {"trashed": True}
assert len(files.list(q=query).execute()["files"]) == 4
files.emptyTrash().execute()
refused(files.get(fileId=made["id"]), 404, "notFound")

# A batch: each request has an answer of its own.
answers = {}
batch = drive.new_batch_http_request(callback=lambda name, answer, error: answers.update({name: (answer, error)}))
for name in ("a", "b"):
    batch.add(files.create(body={"name": name, "parents": [folder["id"]], "mimeType": FOLDER}, fields="id"), request_id=name)
batch.add(files.get(fileId="nowhere"), request_id="c")
batch.execute()
assert answers["a"][0]["id"] != answers["b"][0]["id"]
assert answers["c"][1].status_code == 404

files.delete(fileId=folder["id"]).execute()
refused(files.get(fileId=whole["id"]), 404, "notFound")

# A shared drive shows itself to those only who know of such.
shared = os.environ["SHARED"]
assert drive.drives().get(driveId=shared).execute()["name"] == "Backups"
refused(files.get(fileId=shared), 404, "notFound")
everywhere = {"supportsAllDrives": True}
inside = files.create(body={"name": "inside", "parents": [shared], "mimeType": FOLDER}, fields="id,driveId", **everywhere).execute()
assert inside["driveId"] == shared
assert files.list(q=f"'{shared}' in parents", includeItemsFromAllDrives=True, **everywhere).execute()["files"] == []
listed = files.list(q=f"'{shared}' in parents", corpora="drive", driveId=shared, includeItemsFromAllDrives=True, **everywhere).execute()
assert [file["name"] for file in listed["files"]] == ["inside"]
print("Google's client agrees")

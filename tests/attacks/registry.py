"""A registry of images in a directory, and images for it.

    registry.py FILE DIRECTORY [--slow PART]       serves; paths with PART in them one byte in 15 seconds. Its port is in FILE then
    registry.py --make DIRECTORY NAME SQUASHFS [KIND]
        makes an image of a squashfs file, and of one more layer that costs its reader much
"""

import gzip
import hashlib
import http.server
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, body):
        name = self.path.rsplit("/", 1)[-1]
        if self.path == "/v2/":
            content = b"{}"
        else:
            repository = self.path.split("/")[2]
            path = os.path.join(DIRECTORY, repository, name.removeprefix("sha256:"))
            if not os.path.isfile(path):
                path = os.path.join(DIRECTORY, repository, "latest")
                if name.startswith("sha256:") or not os.path.isfile(path):
                    self.send_error(404)
                    return
            with open(path, "rb") as file:
                content = file.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        if "/manifests/" in self.path:
            self.send_header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
        self.end_headers()
        if not body:
            return
        if SLOW and SLOW in self.path:
            for at in range(len(content)):
                self.wfile.write(content[at : at + 1])
                self.wfile.flush()
                time.sleep(15)
        self.wfile.write(content)


def costly(kind):
    """A layer as an archive."""
    out = io.BytesIO()
    attributes = {f"SCHILY.xattr.user.a{at}": "v" * 60000 for at in range(15)}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        if kind == "attributes":
            for at in range(200):
                entry = tarfile.TarInfo(f"d{at}")
                entry.type = tarfile.DIRTYPE
                entry.pax_headers = attributes
                tar.addfile(entry)
        elif kind == "headers":
            for at in range(200):
                records = {f"SCHILY.xattr.user.{at}.{one}": "v" * 60000 for one in range(15)}
                entry = tarfile.TarInfo("file")
                # The header alone: what follows is one more of the same entry.
                tar.fileobj.write(entry._create_pax_generic_header(records, tarfile.XHDTYPE, "utf-8"))
            tar.addfile(tarfile.TarInfo("file"))
        elif kind == "opaque":
            for at in range(20000):
                tar.addfile(tarfile.TarInfo(f"d/{at % 100}/f{at}"))
            for at in range(20000):
                tar.addfile(tarfile.TarInfo("d/.wh..wh..opq"))
    return out.getvalue()


def make(directory, name, squashfs, kind):
    place = os.path.join(directory, name)
    os.makedirs(place, exist_ok=True)

    def put(content, as_name=None):
        digest = hashlib.sha256(content).hexdigest()
        with open(os.path.join(place, as_name or digest), "wb") as file:
            file.write(content)
        return digest

    def descriptor(content, media):
        return {"mediaType": media, "digest": "sha256:" + put(content), "size": len(content)}

    with tempfile.TemporaryDirectory() as scratch:
        root = os.path.join(scratch, "root")
        subprocess.run(["unsquashfs", "-q", "-n", "-d", root, squashfs], check=True, stdout=subprocess.DEVNULL)
        with open(os.path.join(root, "which"), "w", encoding="utf-8") as file:
            file.write(f"{name} {random.random()}\n")
        archive = subprocess.run(["tar", "-C", root, "-c", "."], check=True, stdout=subprocess.PIPE).stdout
    layers = [archive] + ([costly(kind)] if kind else [])
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(one).hexdigest() for one in layers]},
    }
    kind_of = "application/vnd.oci.image."
    manifest = json.dumps({
        "schemaVersion": 2,
        "mediaType": kind_of + "manifest.v1+json",
        "config": descriptor(json.dumps(config).encode(), kind_of + "config.v1+json"),
        "layers": [descriptor(gzip.compress(one, 9), kind_of + "layer.v1.tar+gzip") for one in layers],
    }).encode()
    put(manifest)
    put(manifest, "latest")


if sys.argv[1] == "--make":
    make(*sys.argv[2:5], sys.argv[5] if len(sys.argv) > 5 else "")
else:
    DIRECTORY = sys.argv[2]
    SLOW = sys.argv[4] if sys.argv[3:4] == ["--slow"] else None
    SERVER = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    with open(sys.argv[1] + ".new", "w") as file:
        file.write(str(SERVER.server_port))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    SERVER.serve_forever()

"""Makes a channel of conda with one package below a directory, and installs that from it, by rattler (the library of pixi and
rattler-build): neither conda nor micromamba can be had from PyPI or Debian."""

import asyncio
import hashlib
import io
import json
import os
import sys
import tarfile
from pathlib import Path

from rattler import index, install, solve

FILES = {"bin/hello": b"#!/bin/sh\necho hello from conda\n", "share/hello/data": b"data\n"}


def package(path):
    about = dict(name="hello", version="1.0", build="0", build_number=0, depends=[], subdir="noarch", noarch="generic")
    paths = [
        {"_path": name, "path_type": "hardlink", "sha256": hashlib.sha256(content).hexdigest(), "size_in_bytes": len(content)}
        for name, content in FILES.items()
    ]
    members = {
        "info/index.json": json.dumps(about).encode(),
        "info/paths.json": json.dumps(dict(paths_version=1, paths=paths)).encode(),
        "info/files": "\n".join(FILES).encode(),
        **FILES,
    }
    with tarfile.open(path, "w:bz2") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755 if name.startswith("bin/") else 0o644
            # Whoever packs it.
            member.uid = member.gid = 1000
            archive.addfile(member, io.BytesIO(content))


async def main(top):
    for subdirectory in ("noarch", "linux-64"):
        (top / "channel" / subdirectory).mkdir(parents=True)
    package(top / "channel/noarch/hello-1.0-0.tar.bz2")
    await index.index_fs(top / "channel")
    records = await solve([f"file://{top}/channel"], ["hello"], platforms=["noarch", "linux-64"])
    await install(records, target_prefix=top / "environment")


asyncio.run(main(Path(sys.argv[1])))
# Its threads may outlive the interpreter, and then crash it.
os._exit(0)

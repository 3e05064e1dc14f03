"""slow.py FILE HOST:PORT BYTES: a way to a registry on which that many bytes come in a second. FILE gets its address."""
import os
import socket
import sys
import threading
import time


def pass_on(source, target, rate):
    try:
        while data := source.recv(rate // 20 or 65536):
            target.sendall(data)
            if rate:
                time.sleep(len(data) / rate)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


host, port = sys.argv[2].split(":")
server = socket.create_server(("127.0.0.1", 0))
with open(sys.argv[1] + ".new", "w") as file:
    file.write("127.0.0.1:%d" % server.getsockname()[1])
os.rename(sys.argv[1] + ".new", sys.argv[1])
while True:
    client, _ = server.accept()
    registry = socket.create_connection((host, int(port)))
    for way in ((client, registry, 0), (registry, client, int(sys.argv[3]))):
        threading.Thread(target=pass_on, args=way, daemon=True).start()

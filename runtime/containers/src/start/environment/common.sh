# Functions that hooks written for enroot call, where enroot itself is not installed.

common::log() {
    if [ -n "${2-}" ]; then printf '[%s] %b\n' "$1" "$2" >&2; fi
}

common::err() {
    common::log ERROR "$1"
    exit 1
}

common::checkcmd() {
    local name
    for name in "$@"; do
        command -v "${name}" > /dev/null || common::err "Command not found: ${name}"
    done
}

common::realpath() {
    readlink -f "$1" || common::err "No such file or directory: $1"
}

# Entries of the user's ids as they are inside.
common::getpwent() {
    local id _
    read -r id _ < /proc/self/uid_map
    getent passwd "${id}"
}

common::getgrent() {
    local id _
    read -r id _ < /proc/self/gid_map
    getent group "${id}"
}

# shellcheck shell=bash
# Functions that hooks and configuration scripts written for enroot call, where enroot itself is not installed.

# Prints text in a colour, where somebody sees it.
common::fmt() {
    local code=''
    case "$1" in
    bold) code=1 ;;
    red) code=31 ;;
    green) code=32 ;;
    yellow) code=33 ;;
    blue) code=94 ;;
    esac
    if [ -n "${code}" ] && [ -t 2 ]; then
        printf '\e[%sm%s\e[0m' "${code}" "$2"
    else
        printf '%s' "$2"
    fi
}

# For "-" each line of standard input, until it ends or says nothing for a second. NL puts an empty line below on a terminal.
common::log() {
    local line prefix=''
    case "${1-}${2:+ says}" in
    "INFO says") prefix=$(common::fmt blue "[$1]") ;;
    "WARN says") prefix=$(common::fmt yellow "[$1]") ;;
    "ERROR says") prefix=$(common::fmt red "[$1]") ;;
    esac
    if [ "${2-}" = - ]; then
        while IFS= read -t 1 -r line || [ -n "${line}" ]; do
            printf '%s %b\n' "${prefix}" "${line}" >&2
        done
    elif [ -n "${2-}" ]; then
        printf '%s %b\n' "${prefix}" "$2" >&2
    fi
    if [ -t 2 ] && { [ "$#" = 0 ] || [ "${3-}" = NL ]; }; then echo >&2; fi
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
    readlink -nf "$1" || common::err "No such file or directory: $1"
}

common::chdir() {
    cd "$1" 2> /dev/null || common::err "Not a directory to go to: $1"
}

# The directory at which what has the path is mounted.
common::mountpoint() {
    local path
    path=$(common::realpath "$1") || exit 1
    until [ "${path}" = / ] || mountpoint -q "${path}"; do
        path=$(dirname "${path}")
    done
    printf '%s' "${path}"
}

# Makes a directory for the caller alone and prints its path.
common::mktmpdir() {
    mktemp -d "${ENROOT_TEMP_PATH:-${TMPDIR:-/tmp}}/$1.XXXXXXXXXX"
}

# Removes a tree, but what else is mounted in it. Each directory is opened to its owner before find goes on in it.
common::rmall() {
    find "$1" -xdev -type d ! -perm -u=rwx -exec chmod u+rwx {} \; 2> /dev/null || true
    rm -rf --one-file-system "$1"
}

# Lets the owner read all of a tree and add to its directories.
common::fixperms() {
    find "$1" -type d ! -perm -u=rwx -exec chmod -f u+rwx {} \; || true
    find "$1" ! -type l -exec chmod -f u+rX {} + || true
}

# Lists or executes the files of a directory whose names end so: list|exec SUFFIX DIRECTORY.
common::runparts() {
    local file
    for file in "$3"/*"$2"; do
        if [ "$1" = list ] && [ -e "${file}" ]; then
            printf '%s\n' "${file}"
        elif [ "$1" = exec ] && [ -x "${file}" ]; then
            "${file}" || common::err "${file} ended with exit code $?"
        fi
    done
}

# The end of what is read is no failure.
common::read() {
    # shellcheck disable=SC2162
    read "$@" || true
}

# Puts lines into an array: NAME TEXT. Without text it stays.
common::readstrarray() {
    [ -z "$2" ] || mapfile -t "$1" <<< "$2"
}

# Prints a file with the environment's values for ${NAME}.
common::envsubst() {
    [ -f "$1" ] || return 0
    awk '{
        text = ""
        for (rest = $0; match(rest, /[$][{][A-Za-z_][A-Za-z0-9_]*[}]/); rest = substr(rest, RSTART + RLENGTH))
            text = text substr(rest, 1, RSTART - 1) ENVIRON[substr(rest, RSTART + 2, RLENGTH - 3)]
        print text rest
    }' < "$1"
}

# Leaves of a file the lines that set a variable which is not enroot's own, without the quotes around its value.
common::envfmt() {
    sed -i -n -E -e 's/^[[:space:]]+//' -e '/^ENROOT_/d' \
        -e "s/^([A-Za-z_][A-Za-z0-9_]*=)[\"'](.*)[\"'][[:space:]]*\$/\\1\\2/" \
        -e '/^[A-Za-z_][A-Za-z0-9_]*=/p' "$1"
}

# Prints a file of credentials. A password that begins with "$" is what a shell makes of it.
common::evalnetrc() {
    local line
    [ -f "$1" ] || return 0
    while IFS= read -r line || [ -n "${line}" ]; do
        if [[ ${line} =~ ^([[:space:]]*([^[:space:]]+[[:space:]]+){5})([$].*)$ ]]; then
            line=${BASH_REMATCH[1]}$(sh -c "echo ${BASH_REMATCH[3]}" < /dev/null)
        fi
        printf '%s\n' "${line}"
    done < "$1"
}

# Prints what a server answers. A status of 400 or more is the end, but for those in CURL_IGNORE.
common::curl() {
    local status=0 failed=0
    { status=$(curl -o /dev/fd/3 -w '%{http_code}' "$@") || failed=$?; } 3>&1
    case " ${CURL_IGNORE-} " in
    *" ${status} "*) ;;
    *)
        case "${status}" in
        [4-9]??) common::err "${!#}: the server's answer is ${status}" ;;
        esac
        return "${failed}"
        ;;
    esac
}

common::jq() {
    jq "$@" 2> /dev/null || common::err "That is not the JSON that was expected"
}

# Debian's name of an architecture.
common::debarch() {
    case "$1" in
    x86_64) printf amd64 ;;
    aarch64) printf arm64 ;;
    ppc64le) printf ppc64le ;;
    *) common::err "No architecture of Debian's: $1" ;;
    esac
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

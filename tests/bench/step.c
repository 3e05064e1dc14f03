/* step PYXIS UID STORE|- IMAGE|NAME PROGRAM [ARGUMENT...]
 *
 * What slurmstepd and a step's first task do around `pyxis start`, without Slurm: started by root, it becomes that user, has the
 * container started and handed over, and becomes PROGRAM in it. IMAGE has a `/` in it. With a STORE, whose image it is, a process stays
 * root, as in a step: asked by the image's digest it executes `pyxis mount-image`. It is asked before `pyxis start` is executed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Above what `pyxis start` is given. */
enum { REQUEST = 3, HANDOVER = 4, STEP = 5, LENDER = 6, ABOVE = 20 };

static char request[8192];
static size_t length;

static int check(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "step: %s: %s\n", what, strerror(errno));
        exit(1);
    }
    return result;
}

static void pair(int ends[2])
{
    check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), "socket");
    for (int which = 0; which < 2; which++) {
        int low = ends[which];
        ends[which] = check(fcntl(low, F_DUPFD_CLOEXEC, ABOVE), "socket");
        close(low);
    }
}

static void number(uint32_t value)
{
    memcpy(request + length, &value, sizeof value);
    length += sizeof value;
}

static void text(const char *value)
{
    if (length + strlen(value) + 64 > sizeof request)
        exit(2);
    number((uint32_t)strlen(value));
    memcpy(request + length, value, strlen(value));
    length += strlen(value);
}

/* Of handover/src/request.rs: a start without mounts and variables. */
static int make_request(const char *what)
{
    const char *header = "pyxis-request-2\n";
    int fd = check(memfd_create("pyxis-request", MFD_CLOEXEC | MFD_ALLOW_SEALING), "request");
    memcpy(request, header, length = strlen(header));
    number(strchr(what, '/') ? 1 : 2);
    text(what);
    if (strchr(what, '/'))
        text("bench");
    for (int rest = 0; rest < 4; rest++)
        number(0);
    check((int)write(fd, request, length), "request");
    check(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), "request");
    return check(fcntl(fd, F_DUPFD_CLOEXEC, ABOVE), "request");
}

/* Root's process; the way to it. */
static int lender(char *pyxis, char *store)
{
    int ends[2], on = 1;
    pair(ends);
    check(setsockopt(ends[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on), "credentials");
    if (check(fork(), "fork") == 0) {
        struct pollfd asked = {ends[1], POLLIN, 0};
        char *none[] = {NULL};
        close(ends[0]);
        if (poll(&asked, 1, -1) == 1 && asked.revents & POLLIN) {
            dup2(ends[1], 3);
            execle(pyxis, pyxis, "mount-image", store, (char *)NULL, none);
        }
        _exit(1);
    }
    close(ends[1]);
    return ends[0];
}

/* Of handover/src/message.rs: goes to the namespaces and the directory that came, and returns the environment that did. */
static char **join(int socket)
{
    static char *environment[4096], block[1 << 20];
    char said[257] = "", control[CMSG_SPACE(64 * sizeof(int))], *word;
    struct iovec bytes = {said, 256};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    int *fd, count = 0, variables = -1, directory = -1;
    ssize_t size;

    check((int)recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC), "no container came");
    fd = CMSG_FIRSTHDR(&message) ? (int *)CMSG_DATA(CMSG_FIRSTHDR(&message)) : NULL;
    for (word = strtok(said, " "); fd && (word = strtok(NULL, " ")); fd++) {
        if (!strcmp(word, "environ"))
            variables = *fd;
        else if (!strcmp(word, "cwd"))
            directory = *fd;
        else if (strcmp(word, "helpers"))
            check(setns(*fd, 0), word);
    }
    check(fchdir(directory), "directory");
    size = check((int)pread(variables, block, sizeof block - 1, 0), "environment");
    for (char *at = block; at < block + size && count < 4095; at += strlen(at) + 1)
        environment[count++] = at;
    return environment;
}

int main(int argc, char **argv)
{
    int way = -1, socket[2], lease[2], asked, status;
    uid_t uid;
    char **environment;

    if (argc < 6)
        return 2;
    if (strcmp(argv[3], "-"))
        way = lender(argv[1], argv[3]);
    uid = (uid_t)atoi(argv[2]);
    check(setgroups(0, NULL) | setresgid(uid, uid, uid) | setresuid(uid, uid, uid), "user");
    if (way >= 0)
        check((int)send(way, strrchr(argv[4], '/') + 1, 64, 0), "request");
    pair(socket);
    pair(lease);
    asked = make_request(argv[4]);
    pid_t child = check(fork(), "fork");
    if (child == 0) {
        dup2(socket[1], HANDOVER), dup2(lease[1], STEP), dup2(asked, REQUEST);
        if (way >= 0)
            dup2(way, LENDER);
        execl(argv[1], argv[1], "start", way >= 0 ? "--request=3,4,5,6" : "--request=3,4,5", (char *)NULL);
        _exit(127);
    }
    if (waitpid(child, &status, 0) != child || status != 0) {
        fprintf(stderr, "step: pyxis start: status %x\n", status);
        return 1;
    }
    environment = join(socket[0]);
    close(way);
    /* The container is there for as long as the program. */
    check(fcntl(lease[0], F_SETFD, 0), "lease");
    execvpe(argv[5], argv + 5, environment);
    return check(-1, argv[5]);
}

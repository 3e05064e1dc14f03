/* What an image's program can lay hands on of every process called pyxis: descriptors, the root, the memory, the process itself. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

static int opens(int pid, const char *what) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, what);
    int fd = open(path, O_RDONLY);
    if (fd < 0) return 0;
    close(fd);
    return 1;
}

int main(int argc, char **argv) {
    int looked = 0, taken = 0;
    DIR *all = opendir("/proc");
    struct dirent *entry;
    while (all && (entry = readdir(all))) {
        int pid = atoi(entry->d_name);
        char path[64], name[32] = "";
        if (pid <= 0) continue;
        snprintf(path, sizeof path, "/proc/%d/comm", pid);
        FILE *comm = fopen(path, "r");
        if (!comm) continue;
        if (!fgets(name, sizeof name, comm)) name[0] = 0;
        fclose(comm);
        if (strncmp(name, "pyxis", 5)) continue;
        looked++;
        int pidfd = syscall(SYS_pidfd_open, pid, 0);
        for (int fd = 0; pidfd >= 0 && fd < 128; fd++) {
            int got = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
            if (got >= 0) taken++, close(got);
        }
        taken += opens(pid, "root/") + opens(pid, "cwd/") + opens(pid, "mem") + opens(pid, "environ") + opens(pid, "fd/0") + opens(pid, "ns/user");
        if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) taken++;
    }
    fprintf(stderr, "looked %s, took %d\n", looked ? "yes" : "no", taken);
    fflush(stderr);
    if (argc > 1) execvp(argv[1], argv + 1);
    return 1;
}

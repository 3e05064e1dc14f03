/* Preloaded into our command: it stays between two namespaces for as long as $WINDOW/closed is not there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int setns(int fd, int kind) {
    int (*real)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "setns");
    int done = real(fd, kind);
    const char *window = getenv("WINDOW");
    char path[512];
    if (done || kind != CLONE_NEWUSER || !window) return done;
    snprintf(path, sizeof path, "%s/open", window);
    close(open(path, O_CREAT | O_WRONLY, 0644));
    snprintf(path, sizeof path, "%s/closed", window);
    for (int i = 0; i < 2000 && access(path, F_OK); i++) usleep(10000);
    return done;
}

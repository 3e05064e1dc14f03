/* A plugin of Slurm's, in two copies: the one before pyxis's in plugstack.conf and the one after it (WHERE). Each writes a line for each
 * hook that runs as root, from which watched.py knows how long pyxis's own took, and what slurmstepd's memory was at its most.
 * Its argument is the file. Of a user's processes nobody can open that one. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char plugin_name[] = "watch_" WHERE;
const char plugin_type[] = "spank";
const unsigned int plugin_version = VERSION;
const unsigned int spank_plugin_version = 1;

static long kib(const char *status, const char *field) {
    const char *found = strstr(status, field);
    long value = -1;
    if (found) sscanf(found + strlen(field), " %ld", &value);
    return value;
}

static int line(const char *hook, int count, char **arguments) {
    char status[8192] = "", text[256];
    struct timespec now;
    int file = count == 1 ? open(arguments[0], O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    int own = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t length = own < 0 ? -1 : read(own, status, sizeof status - 1);
    if (own >= 0) close(own);
    status[length < 0 ? 0 : length] = 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int words = snprintf(text, sizeof text, "%d %s %s %lld %ld %ld\n", getpid(), WHERE, hook,
                         now.tv_sec * 1000LL + now.tv_nsec / 1000000, kib(status, "VmRSS:"), kib(status, "VmHWM:"));
    if (write(file, text, words) < 0) { /* it is then missed by who reads it */ }
    close(file);
    return 0;
}

#define HOOK(name) \
    int slurm_spank_##name(void *spank, int count, char **arguments) { (void)spank; return line(#name, count, arguments); }

HOOK(init)
HOOK(init_post_opt)
HOOK(task_exit)
HOOK(exit)
HOOK(job_epilog)

/* measure ROUNDS NAME PROGRAM [ARGUMENT...] [-- NAME PROGRAM ...]...
 *
 * Runs the commands in turn, ROUNDS times, and prints for each: its name, the median, the 10th and the 90th percentile
 * and the least of the time from fork to exit, in milliseconds. In turn, so that whatever else the machine does meets all of them.
 * A command that fails ends it. What the commands print goes to stderr. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static int ascending(const void *a, const void *b)
{
    double one = *(const double *)a, other = *(const double *)b;
    return (one > other) - (one < other);
}

int main(int argc, char **argv)
{
    int rounds = argc > 2 ? atoi(argv[1]) : 0, commands = 0, at;
    char **command[64];
    double *times[64];

    for (at = 2; at < argc && commands < 64; at++) {
        if (at == 2 || !strcmp(argv[at - 1], "--")) {
            times[commands] = calloc((size_t)rounds + 1, sizeof(double));
            command[commands++] = argv + at;
            if (at > 2)
                argv[at - 1] = NULL;
        }
    }
    if (rounds < 1 || commands < 1)
        return 2;
    for (int round = -1; round < rounds; round++) {
        for (int which = 0; which < commands; which++) {
            double begin = now();
            int status;
            pid_t child = fork();
            if (child == 0) {
                dup2(2, 1);
                execvp(command[which][1], command[which] + 1);
                _exit(127);
            }
            if (waitpid(child, &status, 0) != child || status != 0) {
                fprintf(stderr, "measure: %s: status %x\n", command[which][0], status);
                return 1;
            }
            /* The first round warms up. */
            if (round >= 0)
                times[which][round] = now() - begin;
        }
    }
    for (int which = 0; which < commands; which++) {
        qsort(times[which], (size_t)rounds, sizeof(double), ascending);
        printf("%s\t%.2f\t%.2f\t%.2f\t%.2f\n", command[which][0], times[which][rounds / 2], times[which][rounds / 10],
               times[which][rounds * 9 / 10], times[which][0]);
    }
    return 0;
}

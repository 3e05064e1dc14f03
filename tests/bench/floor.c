/* The least that starting a program in a squashfs image costs: namespaces, squashfuse on a mounted descriptor, an
 * overlay with its layer in memory, pivot_root, exec. No /proc, no checks, nothing configured: the floor that
 * `pyxis start` is measured against.
 *
 * floor SQUASHFUSE IMAGE PROGRAM [ARGUMENT...] */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    check(fd, path);
    check((int)write(fd, text, strlen(text)), path);
    close(fd);
}

int main(int argc, char **argv)
{
    char text[128];
    int uid = (int)geteuid(), gid = (int)getegid(), fuse, image, go[2];
    pid_t child;

    if (argc < 4)
        return 2;
    check(unshare(CLONE_NEWUSER), "user namespace");
    put("/proc/self/setgroups", "deny");
    snprintf(text, sizeof text, "%d %d 1", uid, uid);
    put("/proc/self/uid_map", text);
    snprintf(text, sizeof text, "%d %d 1", gid, gid);
    put("/proc/self/gid_map", text);
    check(fuse = open("/dev/fuse", O_RDWR), "/dev/fuse");
    check(image = open(argv[2], O_RDONLY), argv[2]);
    check(pipe2(go, O_CLOEXEC), "pipe");
    check(child = fork(), "fork");
    if (child == 0) {
        char from[32], at[32], byte;
        close(go[1]);
        if (read(go[0], &byte, 1) != 1)
            _exit(1);
        snprintf(from, sizeof from, "/proc/self/fd/%d", image);
        snprintf(at, sizeof at, "/dev/fd/%d", fuse);
        check(open("/dev/null", O_RDWR) < 0 ? -1 : dup2(open("/dev/null", O_RDWR), 1), "/dev/null");
        execl(argv[1], argv[1], "-f", from, at, (char *)NULL);
        _exit(127);
    }
    check(unshare(CLONE_NEWNS), "mount namespace");
    check(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL), "slave");
    check(mount("floor", "/tmp", "tmpfs", 0, "mode=700"), "tmpfs");
    check(chdir("/tmp"), "chdir");
    check(mkdir("lower", 0755) | mkdir("upper", 0755) | mkdir("work", 0755) | mkdir("root", 0755), "mkdir");
    snprintf(text, sizeof text, "fd=%d,rootmode=40000,user_id=%d,group_id=%d", fuse, uid, gid);
    check(mount("squashfuse", "lower", "fuse.squashfuse", MS_RDONLY | MS_NOSUID | MS_NODEV, text), "fuse");
    close(fuse);
    check((int)write(go[1], "!", 1), "go");
    check(mount("overlay", "root", "overlay", 0, "lowerdir=lower,upperdir=upper,workdir=work,userxattr"), "overlay");
    check(mount("/dev", "root/dev", NULL, MS_BIND | MS_REC, NULL), "/dev");
    check(chdir("root"), "root");
    check((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
    check(umount2(".", MNT_DETACH), "umount");
    check(chdir("/"), "/");
    execv(argv[3], argv + 3);
    check(-1, argv[3]);
}

// While a thread learns, another one gives the number of each descriptor that the runtime writes code through to a
// file, at the moment when the runtime looks what it leads to. Nothing is written into the file, nor is it closed. And it
// is no number that a program's next file may have.
// Argument: a path for the file.
#define _GNU_SOURCE
#include "sites.h"
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST = 300 };

static volatile int listener = -1;

static void require(int condition, const char *what) {
    if (!condition) {
        perror(what);
        exit(1);
    }
}

// Numbers below this one are the program's.
enum { OUT_OF_THE_WAY = 56 };

// Has every write at an offset, and every fstatat with an empty path, wait for the other thread.
static int install(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwrite64, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_newfstatat, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AT_EMPTY_PATH, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

static void *work(void *argument) {
    int descriptor = install();
    require(descriptor >= 0, "seccomp");
    listener = descriptor;
    for (unsigned site = 0; site < SITES; site++)
        for (unsigned round = 0; round < 3000; round++)
            check(site, (site + round % 3) % TARGETS, round);
    // Ends the other thread's wait.
    syscall(SYS_newfstatat, -1, "", &(struct stat){0}, AT_EMPTY_PATH);
    return argument;
}

int main(int argc, char **argv) {
    int file = open(argc > 1 ? argv[1] : "", O_RDWR | O_CREAT | O_TRUNC, 0600);
    require(file >= 0, "file");
    pthread_t id;
    require(!pthread_create(&id, NULL, work, NULL), "pthread_create");
    while (listener < 0)
        usleep(100);
    unsigned long looks = 0, thefts = 0, stolen[MOST];
    for (int descriptor = 0; descriptor >= 0;) {
        struct seccomp_notif call = {0};
        require(!ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call), "receive");
        descriptor = (int)call.data.args[0];
        int writes = call.data.nr == SYS_pwrite64;
        require(!writes || descriptor >= OUT_OF_THE_WAY, "code is written through a number of the program's");
        // Every look in its turn: before a write, and before the descriptor is closed.
        if (descriptor >= 0 && !writes && looks++ % 13 == 0 && thefts < MOST) {
            require(dup2(file, descriptor) == descriptor, "dup2");
            stolen[thefts++] = (unsigned long)descriptor;
        }
        struct seccomp_notif_resp answer = {.id = call.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        require(!ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer), "send");
    }
    pthread_join(id, NULL);
    struct stat status, other;
    require(!fstat(file, &status), "fstat");
    for (unsigned long i = 0; i < thefts; i++)
        if (fstat((int)stolen[i], &other) || other.st_ino != status.st_ino) {
            fprintf(stderr, "descriptor %lu was closed\n", stolen[i]);
            return 1;
        }
    if (status.st_size || thefts < 50) {
        fprintf(stderr, "%lu thefts, the file has %lld bytes\n", thefts, (long long)status.st_size);
        return 1;
    }
    puts("ok");
}

/* Shifts the time of day of a process; loaded by LD_PRELOAD.
 *
 * By SEALWARD_TEST_CLOCK_SHIFT seconds, and by the seconds that stand in the file SEALWARD_TEST_CLOCK_FILE, as an
 * integer of 8 octets: whoever writes there moves the clock of processes that run already. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *moved;

/* Before main: a process may later be forbidden to open files (sshd is). */
__attribute__((constructor)) static void map_file(void) {
    const char *path = getenv("SEALWARD_TEST_CLOCK_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(NULL, sizeof *moved, PROT_READ, MAP_SHARED, file, 0);
    if (found != MAP_FAILED) moved = found;
    close(file);
}

static time_t shift(void) {
    const char *text = getenv("SEALWARD_TEST_CLOCK_SHIFT");
    return (text ? (time_t)atoll(text) : 0) + (moved ? (time_t)*moved : 0);
}

int clock_gettime(clockid_t clock, struct timespec *found) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, found);
    if (status == 0 && clock == CLOCK_REALTIME) found->tv_sec += shift();
    return status;
}

time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found) *found = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict found, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    found->tv_sec = now.tv_sec;
    found->tv_usec = now.tv_nsec / 1000;
    return 0;
}

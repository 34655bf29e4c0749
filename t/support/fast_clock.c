/* Preloaded into nginx: its clocks run FACTOR times as fast, from the Unix time ORIGIN on. */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BILLION 1000000000LL

int clock_gettime(clockid_t clock, struct timespec *time) {
    const int rc = (int)syscall(SYS_clock_gettime, clock, time);
    const long long origin = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE ? ORIGIN : 0;
    const long long ns = ((time->tv_sec - origin) * BILLION + time->tv_nsec) * FACTOR;
    time->tv_sec = origin + ns / BILLION;
    time->tv_nsec = ns % BILLION;
    return rc;
}

int gettimeofday(struct timeval *time, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

int epoll_wait(int epoll, struct epoll_event *events, int size, int timeout_ms) {
    const int wait_ms = timeout_ms > 0 ? (timeout_ms + FACTOR - 1) / FACTOR : timeout_ms;
    return (int)syscall(SYS_epoll_pwait, epoll, events, size, wait_ms, NULL, 0);
}

/* A disk that is slower by SLOW_FSYNC_US microseconds at each fdatasync: LD_PRELOAD it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    const char *delay = getenv("SLOW_FSYNC_US");
    int result = real(fd);
    if (delay != NULL)
        usleep((useconds_t)strtoul(delay, NULL, 10));
    return result;
}

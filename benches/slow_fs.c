/* A file system that answers slowly, as one on a network does: slow_fs SOURCE MICROSECONDS MEGABYTES COUNT MOUNTPOINT [-o ...]
 *
 * It shows SOURCE, read-only. Each look-up, open, listing and read takes so many microseconds, and all reads together
 * get so many megabytes per second. At the end it writes the number of requests to the file COUNT. */
#define FUSE_USE_VERSION 31
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *source, *count_file;
static long latency, bandwidth; /* nanoseconds, bytes per second */
static atomic_long requests;
static atomic_llong line_free; /* the time at which all earlier reads have passed the line */

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void wait_until(long long time) {
    struct timespec t = {time / 1000000000LL, time % 1000000000LL};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {}
}

static void answer(void) {
    atomic_fetch_add(&requests, 1);
    wait_until(now() + latency);
}

static int full(char *buffer, const char *path) {
    return snprintf(buffer, PATH_MAX, "%s%s", source, path) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int slow_getattr(const char *path, struct stat *found, struct fuse_file_info *info) {
    char real[PATH_MAX];
    answer();
    if (info)
        return fstat(info->fh, found) ? -errno : 0;
    return full(real, path) ? -ENAMETOOLONG : lstat(real, found) ? -errno : 0;
}

static int slow_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *info,
                        enum fuse_readdir_flags flags) {
    char real[PATH_MAX];
    answer();
    if (full(real, path))
        return -ENAMETOOLONG;
    DIR *folder = opendir(real);
    if (!folder)
        return -errno;
    for (struct dirent *entry; (entry = readdir(folder));) {
        struct stat kind = {.st_ino = entry->d_ino, .st_mode = DTTOIF(entry->d_type)};
        if (fill(buffer, entry->d_name, &kind, 0, 0))
            break;
    }
    closedir(folder);
    return 0;
}

static int slow_open(const char *path, struct fuse_file_info *info) {
    char real[PATH_MAX];
    answer();
    if (full(real, path))
        return -ENAMETOOLONG;
    int file = open(real, O_RDONLY | O_CLOEXEC);
    info->fh = file;
    return file < 0 ? -errno : 0;
}

static int slow_read(const char *path, char *buffer, size_t size, off_t offset, struct fuse_file_info *info) {
    ssize_t n = pread(info->fh, buffer, size, offset);
    atomic_fetch_add(&requests, 1);
    if (n < 0)
        return -errno;
    long long free = atomic_load(&line_free), start, end;
    do {
        start = now() > free ? now() : free;
        end = start + n * 1000000000LL / bandwidth;
    } while (!atomic_compare_exchange_weak(&line_free, &free, end));
    wait_until(end + latency);
    return n;
}

static int slow_release(const char *path, struct fuse_file_info *info) { return close(info->fh) ? -errno : 0; }

static void *slow_init(struct fuse_conn_info *connection, struct fuse_config *config) {
    /* A listing shows no attributes, as READDIR of NFS; look-ups in one folder may run side by side. */
    connection->want &= ~(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
    connection->want |= connection->capable & FUSE_CAP_PARALLEL_DIROPS;
    return NULL;
}

static void slow_destroy(void *data) {
    FILE *file = fopen(count_file, "w");
    if (file) {
        fprintf(file, "%ld\n", atomic_load(&requests));
        fclose(file);
    }
}

static const struct fuse_operations operations = {
    .init = slow_init,       .destroy = slow_destroy, .getattr = slow_getattr, .readdir = slow_readdir,
    .open = slow_open,       .read = slow_read,       .release = slow_release,
};

int main(int count, char **arguments) {
    if (count < 6)
        return 2;
    source = realpath(arguments[1], NULL);
    latency = atol(arguments[2]) * 1000;
    bandwidth = atol(arguments[3]) * 1000000;
    count_file = arguments[4];
    arguments[4] = arguments[0];
    return source ? fuse_main(count - 4, arguments + 4, &operations, NULL) : 1;
}

/* Writes down everything that a process does to the files below one directory, and what it receives
 * and sends on IPv6 sockets, in order: what a disk may have lost at a power cut follows from that
 * (tools/power_cut.py). For tests only, by LD_PRELOAD or /etc/ld.so.preload:
 *
 *   gcc -shared -fPIC -DRECORD_BELOW='"/dir"' -DRECORD_LOG='"/file"' -o recorder.so recorder.c
 *
 * The two paths are compiled in: a network process has no environment. Nothing may hold a lock while
 * a call waits for the disk: what another thread does meanwhile has to come out in its own order.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 1024
#define PATH_SIZE 256
#define LOG_DESCRIPTOR 900

struct header { /* then the path, then the data */
    char op;
    char unused[7];
    uint64_t inode;
    uint64_t offset;
    uint32_t path_size;
    uint32_t data_size;
};

static int log_fd = -1;
static char paths[FILES][PATH_SIZE]; /* of open descriptors below RECORD_BELOW, else "" */

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) \
        *(void **)&real = dlsym(RTLD_NEXT, name)

__attribute__((constructor)) static void begin(void)
{
    int fd = open(RECORD_LOG, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    log_fd = fcntl(fd, F_DUPFD_CLOEXEC, LOG_DESCRIPTOR);
    close(fd);
}

static void record(char op, uint64_t inode, uint64_t offset, const char *path, const void *data,
                   size_t size)
{
    struct header header = {.op = op, .inode = inode, .offset = offset};
    header.path_size = strlen(path);
    header.data_size = data ? size : 0;
    struct iovec parts[] = {
        {&header, sizeof header},
        {(void *)path, header.path_size},
        {(void *)data, header.data_size},
    };
    size_t whole = sizeof header + header.path_size + header.data_size;
    if (log_fd >= 0 && writev(log_fd, parts, 3) != (ssize_t)whole)
        abort(); /* a record that is missing would make the test a lie */
}

static int is_below(const char *path)
{
    size_t length = strlen(RECORD_BELOW);
    return !strncmp(path, RECORD_BELOW, length) && (path[length] == '/' || !path[length]);
}

static const char *path_of(int fd) { return fd >= 0 && fd < FILES ? paths[fd] : ""; }

static uint64_t inode_of(int fd)
{
    struct stat status;
    return fstat(fd, &status) ? 0 : status.st_ino;
}

static int opened(int fd, const char *path, int flags, int was_there)
{
    if (fd < 0 || !is_below(path))
        return fd;
    if (fd >= FILES || strlen(path) >= PATH_SIZE)
        abort();
    strcpy(paths[fd], path);
    if (!was_there)
        record('C', inode_of(fd), 0, path, NULL, 0);
    else if (flags & O_TRUNC)
        record('T', inode_of(fd), 0, path, NULL, 0);
    return fd;
}

#define OPEN(function) \
    int function(const char *path, int flags, ...) \
    { \
        REAL(int, #function, const char *, int, ...); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        int was_there = !is_below(path) || !access(path, F_OK); \
        return opened(real(path, flags, mode), path, flags, was_there); \
    }
OPEN(open)
OPEN(open64)

int close(int fd)
{
    REAL(int, "close", int);
    if (fd >= 0 && fd < FILES)
        paths[fd][0] = 0;
    return real(fd);
}

static void said(char op, int fd, const void *data, ssize_t size)
{
    struct sockaddr_in6 peer;
    socklen_t length = sizeof peer;
    char text[INET6_ADDRSTRLEN];
    if (size <= 0 || getpeername(fd, (struct sockaddr *)&peer, &length) ||
        peer.sin6_family != AF_INET6)
        return;
    record(op, 0, 0, inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof text), data, size);
}

ssize_t read(int fd, void *data, size_t size)
{
    REAL(ssize_t, "read", int, void *, size_t);
    ssize_t done = real(fd, data, size);
    said('?', fd, data, done);
    return done;
}

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    said('!', fd, data, size); /* before: once it is sent, it is too late to be on the disk */
    ssize_t done = real(fd, data, size);
    if (done > 0 && *path_of(fd))
        record('W', inode_of(fd), lseek(fd, 0, SEEK_CUR) - done, path_of(fd), data, done);
    return done;
}

#define PWRITE(function) \
    ssize_t function(int fd, const void *data, size_t size, off_t offset) \
    { \
        REAL(ssize_t, #function, int, const void *, size_t, off_t); \
        ssize_t done = real(fd, data, size, offset); \
        if (done > 0 && *path_of(fd)) \
            record('W', inode_of(fd), offset, path_of(fd), data, done); \
        return done; \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define TRUNCATE(function) \
    int function(int fd, off_t length) \
    { \
        REAL(int, #function, int, off_t); \
        int failed = real(fd, length); \
        if (!failed && *path_of(fd)) \
            record('T', inode_of(fd), length, path_of(fd), NULL, 0); \
        return failed; \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

/* What was written before 'B' is on the disk from 'E' on. */
#define SYNC(function) \
    int function(int fd) \
    { \
        REAL(int, #function, int); \
        int ours = *path_of(fd) != 0; \
        if (ours) \
            record('B', inode_of(fd), 0, path_of(fd), NULL, 0); \
        int failed = real(fd); \
        if (ours && !failed) \
            record('E', inode_of(fd), 0, path_of(fd), NULL, 0); \
        return failed; \
    }
SYNC(fsync)
SYNC(fdatasync)

int unlink(const char *path)
{
    REAL(int, "unlink", const char *);
    int failed = real(path);
    if (!failed && is_below(path))
        record('U', 0, 0, path, NULL, 0);
    return failed;
}

int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *);
    int failed = real(from, to);
    if (!failed && is_below(from))
        record('R', 0, 0, from, to, strlen(to));
    return failed;
}

int mkdir(const char *path, mode_t mode)
{
    REAL(int, "mkdir", const char *, mode_t);
    int failed = real(path, mode);
    if (!failed && is_below(path))
        record('D', 0, 0, path, NULL, 0);
    return failed;
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
    REAL(ssize_t, "recv", int, void *, size_t, int);
    ssize_t done = real(fd, data, size, flags);
    said('?', fd, data, done);
    return done;
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    REAL(ssize_t, "send", int, const void *, size_t, int);
    said('!', fd, data, size);
    return real(fd, data, size, flags);
}

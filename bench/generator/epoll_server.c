/* The ceiling: a server in C that does nothing but accept, read, and answer the same bytes. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char reply[] =
    "request_ip=2\nerrno=0\nsection=address\nip=10.64.0.1\nnetwork=10.64.0.0/15\n"
    "preferred_time=3600\nvalid_time=3600\nsection=address\nip=fd00:44::1\nnetwork=fd00:44::/64\n"
    "preferred_time=3600\nvalid_time=3600\n\n";

static void serve(int connection)
{
    char data[4096];
    ssize_t size = read(connection, data, sizeof data);
    if (size > 2 && memcmp(data + size - 2, "\n\n", 2) == 0) {
        if (write(connection, reply, sizeof reply - 1) > 0)
            return;
    } else if (size < 0 && errno == EAGAIN) {
        return;
    }
    close(connection);
}

int main(int argc, char **argv)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(970)};
    struct epoll_event events[256], event = {.events = EPOLLIN};
    int listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    int poll = epoll_create1(0);

    if (argc != 2)
        return 2;
    inet_pton(AF_INET6, "fe80::", &address.sin6_addr);
    address.sin6_scope_id = if_nametoindex(argv[1]);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("listen");
        return 1;
    }
    event.data.fd = listener;
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    puts("serving on");
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(poll, events, 256, -1);
        for (int at = 0; at < count; at++) {
            int ready = events[at].data.fd;
            if (ready != listener) {
                serve(ready);
                continue;
            }
            int connection;
            while ((connection = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                event.data.fd = connection;
                epoll_ctl(poll, EPOLL_CTL_ADD, connection, &event);
                serve(connection);
            }
        }
    }
}

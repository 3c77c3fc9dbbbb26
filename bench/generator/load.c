/* A load generator that owns a TUN interface: what it writes there arrives at the server's kernel
 * as if from a peer, and what the server's kernel sends there is read here. So there is no second
 * TCP, no veth and no WireGuard in the measurement, and thousands of clients cost a table.
 *
 *     load wg-dynamic|dhcp INTERFACE CLIENTS
 *
 * Commands come by standard input, one a line; each is answered by one line of JSON.
 *
 *     run KIND FIRST COUNT OUTSTANDING SECONDS
 *         closed loop: exchanges of the clients FIRST to FIRST + COUNT - 1, OUTSTANDING at a time;
 *         "new" ends when each had one; "renew", and "kept" (connections stay), go round.
 *     keep FIRST COUNT OUTSTANDING     open connections that stay, with a renewal each
 *     open FIRST COUNT RATE SECONDS    open loop of renewals on those (DHCP: of all): each request has
 *                                      its time in a plan, and its latency counts from that, whenever
 *                                      it could be sent
 *     storm FIRST COUNT                all at once; refused ones and lost ones try again
 *     drop FIRST COUNT                 close connections that stay
 *     forget                           nobody has a lease
 *     held                             how many clients have one, how many have another's address
 */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SWEEP 0.02            /* seconds between two looks for what is to be sent again */
#define STORM_PAUSE 1.0       /* seconds before a refused client tries again, and as many by chance */
#define MAX_WHY 64

struct client *clients;
uint32_t client_count;
uint64_t sent_again;

static const struct protocol *protocol;
static int tun;
static double *latencies;
static size_t latency_count, latency_room;
static uint32_t under_way;
static uint64_t failed;
static char first_failure[MAX_WHY];
static int storming;
static double *retry_at;
static double last_done;

static double clock_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

uint32_t sum16(const void *data, size_t size, uint32_t sum)
{
    const uint8_t *at = data;
    uint16_t word;
    for (; size > 1; size -= 2, at += 2) {
        memcpy(&word, at, 2);
        sum += word;
    }
    return size ? sum + *at : sum; /* little endian */
}

uint16_t fold16(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

void send_packet(const void *data, size_t size)
{
    while (write(tun, data, size) < 0 && (errno == EAGAIN || errno == EINTR))
        continue;
}

static void note_latency(double value)
{
    if (latency_count == latency_room) {
        latency_room = latency_room ? 2 * latency_room : 1 << 16;
        latencies = realloc(latencies, latency_room * sizeof *latencies);
        if (latencies == NULL)
            abort();
    }
    latencies[latency_count++] = value;
}

void exchange_done(uint32_t number, struct client *client, double now)
{
    (void)number;
    if (!client->counted)
        return;
    client->counted = 0;
    under_way--;
    last_done = now;
    note_latency(now - client->planned);
}

void exchange_failed(uint32_t number, struct client *client, double now, const char *why)
{
    if (!client->counted)
        return;
    if (!first_failure[0])
        snprintf(first_failure, sizeof first_failure, "%s", why);
    failed++;
    if (storming) {
        retry_at[number] = now + STORM_PAUSE * (1 + rand() / (double)RAND_MAX);
        return;
    }
    client->counted = 0;
    under_way--;
}

static void start(uint32_t number, double planned, double now)
{
    struct client *client = &clients[number];
    client->planned = planned;
    client->counted = 1;
    under_way++;
    protocol->begin(number, client, now);
}

static void sweep(uint32_t first, uint32_t count, double now)
{
    static double swept;
    if (now - swept < SWEEP)
        return;
    swept = now;
    for (uint32_t number = first; number < first + count; number++) {
        struct client *client = &clients[number];
        if (storming && retry_at[number] && client->phase == PHASE_IDLE && now >= retry_at[number]) {
            retry_at[number] = 0;
            protocol->begin(number, client, now);
        } else if (client->phase != PHASE_IDLE && client->phase != PHASE_KEPT) {
            protocol->again(number, client, now);
        }
    }
}

/* Take what has come; wait for it until `until`, if nothing has. */
static void take_packets(double until)
{
    uint8_t data[MAX_PACKET];
    ssize_t size;
    double now = clock_now();
    int got = 0;

    while (got < 256 && (size = read(tun, data, sizeof data)) > 0) {
        if (got++ % 16 == 0)
            now = clock_now();
        protocol->packet(data, size, now);
    }
    if (got == 0 && until > now) {
        struct pollfd wait = {tun, POLLIN, 0};
        double left = until - now;
        struct timespec time = {(time_t)left, (long)((left - (time_t)left) * 1e9)};
        ppoll(&wait, 1, &time, NULL);
    }
}

static int compare(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static double quantile(double share)
{
    return latency_count ? latencies[(size_t)(share * (latency_count - 1))] * 1e3 : 0;
}

static double cpu_time(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_utime.tv_usec / 1e6 + usage.ru_stime.tv_sec
        + usage.ru_stime.tv_usec / 1e6;
}

static double begin_at, cpu_begin;

static void reset(void)
{
    latency_count = failed = sent_again = 0;
    first_failure[0] = 0;
    begin_at = last_done = clock_now();
    cpu_begin = cpu_time();
}

static void report(double seconds)
{
    double cpu = cpu_time() - cpu_begin;
    qsort(latencies, latency_count, sizeof *latencies, compare);
    printf("{\"done\": %zu, \"failed\": %lu, \"failure\": \"%s\", \"sent_again\": %lu, "
           "\"seconds\": %.4f, \"per_second\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"p999_ms\": %.3f, \"max_ms\": %.3f, \"generator_cpu\": %.3f}\n",
           latency_count, failed, first_failure, sent_again, seconds,
           seconds > 0 ? latency_count / seconds : 0, quantile(0.5), quantile(0.99),
           quantile(0.999), quantile(1), cpu);
    fflush(stdout);
}

static void finish(uint32_t first, uint32_t count, double until)
{
    double now = clock_now();
    while (under_way && now < until) {
        take_packets(now + SWEEP);
        now = clock_now();
        sweep(first, count, now);
    }
    for (uint32_t number = first; number < first + count; number++) {
        if (clients[number].counted) {
            clients[number].counted = 0;
            under_way--;
            failed++;
        }
    }
    double settle = clock_now() + 0.1; /* connections end */
    while ((now = clock_now()) < settle)
        take_packets(settle);
}

static int is_idle(const struct client *client, int kept)
{
    return client->phase == (kept ? PHASE_KEPT : PHASE_IDLE) && !client->counted;
}

static void run(const char *kind, uint32_t first, uint32_t count, uint32_t outstanding,
                double seconds)
{
    int new = strcmp(kind, "new") == 0, kept = strcmp(kind, "kept") == 0;
    int keep = strcmp(kind, "keep") == 0;
    uint32_t next = 0, begun = 0;

    reset();
    double now = begin_at, end = begin_at + seconds;
    while (new || keep ? begun < count : now < end) {
        uint32_t skipped = 0;
        while (under_way < outstanding && skipped < count && !((new || keep) && begun == count)) {
            uint32_t number = first + next;
            next = (next + 1) % count;
            if (!is_idle(&clients[number], kept)) {
                skipped++;
                if (new || keep)
                    begun++;
                continue;
            }
            clients[number].wants_new = new || !clients[number].ipv4[0];
            clients[number].keeps = kept || keep;
            start(number, now, now);
            begun++;
        }
        take_packets(now + SWEEP);
        now = clock_now();
        sweep(first, count, now);
        if ((new || keep) && now > end)
            break;
    }
    finish(first, count, clock_now() + 10);
    report(last_done - begin_at);
}

static void run_open(uint32_t first, uint32_t count, double rate, double seconds)
{
    uint32_t next = 0;
    uint64_t total = rate * seconds;
    int kept = protocol == &wg_dynamic; /* DHCP has no connections */

    reset();
    double now = begin_at, end = begin_at + 3 * seconds;
    for (uint64_t made = 0; made < total && now < end;) {
        double planned = begin_at + made / rate;
        if (now >= planned) {
            uint32_t tried = 0;
            while (tried < count && !is_idle(&clients[first + next], kept)) {
                next = (next + 1) % count;
                tried++;
            }
            if (tried < count) {
                clients[first + next].wants_new = 0;
                clients[first + next].keeps = kept;
                start(first + next, planned, now);
                next = (next + 1) % count;
                made++;
                continue;
            }
        }
        take_packets(now >= planned ? now + SWEEP : planned);
        now = clock_now();
        sweep(first, count, now);
    }
    finish(first, count, clock_now() + 10);
    report(last_done - begin_at);
}

static void run_storm(uint32_t first, uint32_t count)
{
    reset();
    storming = 1;
    memset(retry_at, 0, client_count * sizeof *retry_at);
    double now = begin_at;
    for (uint32_t number = first; number < first + count; number++) {
        clients[number].wants_new = 1;
        clients[number].keeps = 0;
        start(number, begin_at, now);
        if (number % 64 == 0) {
            take_packets(0);
            now = clock_now();
        }
    }
    while (under_way && now < begin_at + 300) {
        take_packets(now + SWEEP);
        now = clock_now();
        sweep(first, count, now);
    }
    storming = 0;
    finish(first, count, clock_now());
    report(last_done - begin_at);
}

static void drop(uint32_t first, uint32_t count)
{
    double now = clock_now(), end = now + 5;
    uint32_t open = 0;

    for (uint32_t number = first; number < first + count; number++) {
        if (clients[number].phase == PHASE_KEPT)
            protocol->close(number, &clients[number], now);
        if (number % 64 == 0)
            take_packets(0);
    }
    do {
        take_packets(now + SWEEP);
        now = clock_now();
        sweep(first, count, now);
        open = 0;
        for (uint32_t number = first; number < first + count; number++)
            open += clients[number].phase != PHASE_IDLE;
    } while (open && now < end);
    printf("{\"open\": %u}\n", open);
    fflush(stdout);
}

static int compare_text(const void *one, const void *other)
{
    return strcmp(*(const char *const *)one, *(const char *const *)other);
}

static void held(void)
{
    char **texts = calloc(client_count + 1, sizeof *texts);
    size_t count = 0, twice = 0;
    for (uint32_t number = 0; number < client_count; number++)
        if (clients[number].ipv4[0])
            texts[count++] = clients[number].ipv4;
    qsort(texts, count, sizeof *texts, compare_text);
    for (size_t at = 1; at < count; at++)
        twice += strcmp(texts[at - 1], texts[at]) == 0;
    printf("{\"held\": %zu, \"twice\": %zu}\n", count, twice);
    fflush(stdout);
    free(texts);
}

static void forget(void)
{
    for (uint32_t number = 0; number < client_count; number++) {
        memset(&clients[number], 0, sizeof clients[number]);
    }
    puts("{}");
    fflush(stdout);
}

static int open_tun(const char *name)
{
    struct ifreq request = {0};
    int descriptor = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (descriptor < 0 || ioctl(descriptor, TUNSETIFF, &request) < 0) {
        perror(name);
        exit(1);
    }
    return descriptor;
}

int main(int argc, char **argv)
{
    char line[256], kind[16];
    uint32_t first, count, outstanding;
    double rate, seconds;

    if (argc != 4) {
        fprintf(stderr, "usage: load wg-dynamic|dhcp INTERFACE CLIENTS\n");
        return 2;
    }
    protocol = strcmp(argv[1], "dhcp") == 0 ? &dhcp : &wg_dynamic;
    tun = open_tun(argv[2]);
    client_count = strtoul(argv[3], NULL, 10);
    clients = calloc(client_count, sizeof *clients);
    retry_at = calloc(client_count, sizeof *retry_at);
    if (clients == NULL || retry_at == NULL)
        return 1;
    puts("{\"ready\": true}");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "run %15s %u %u %u %lf", kind, &first, &count, &outstanding, &seconds) == 5)
            run(kind, first, count, outstanding, seconds);
        else if (sscanf(line, "keep %u %u %u", &first, &count, &outstanding) == 3)
            run("keep", first, count, outstanding, 60);
        else if (sscanf(line, "open %u %u %lf %lf", &first, &count, &rate, &seconds) == 4)
            run_open(first, count, rate, seconds);
        else if (sscanf(line, "storm %u %u", &first, &count) == 2)
            run_storm(first, count);
        else if (sscanf(line, "drop %u %u", &first, &count) == 2)
            drop(first, count);
        else if (strncmp(line, "forget", 6) == 0)
            forget();
        else if (strncmp(line, "held", 4) == 0)
            held();
        else
            fprintf(stderr, "not understood: %s", line);
    }
    return 0;
}

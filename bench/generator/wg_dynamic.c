/* Clients of wg-dynamic: a small TCP that speaks from fe80::1:0 + number, port 970, one exchange a
 * connection or many. Every segment is its own packet, as a client's kernel would send it: SYN,
 * ACK, request, FIN with the acknowledgement of the reply, last ACK. */
#include "load.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };
enum { IP_SIZE = 40, TCP_SIZE = 20, PORT = 970, FIRST = 0x10000 };
#define SYN_PATIENCE 1.0   /* seconds, doubled each time, as Linux has them */
#define DATA_PATIENCE 0.2
#define EXCHANGE_PATIENCE 120.0
#define WISHES "request_ip=2\nsection=address\nip=%s\nsection=address\nip=%s\n\n"

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = value >> 8;
    at[1] = value;
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value & 0xffff);
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

static void segment(uint32_t number, struct client *client, int flags, const char *data, size_t size)
{
    uint8_t packet[MAX_PACKET] = {0};
    uint8_t *tcp = packet + IP_SIZE;
    size_t options = flags & SYN ? 4 : 0;
    size_t length = TCP_SIZE + options + size;

    packet[0] = 0x60;
    put16(packet + 4, length);
    packet[6] = 6;
    packet[7] = 64;
    packet[8] = 0xfe;
    packet[9] = 0x80;
    put32(packet + 20, FIRST + number);
    packet[24] = 0xfe;
    packet[25] = 0x80;
    put16(tcp, PORT);
    put16(tcp + 2, PORT);
    put32(tcp + 4, client->sent);
    put32(tcp + 8, flags & ACK ? client->received : 0);
    tcp[12] = (TCP_SIZE + options) / 4 << 4;
    tcp[13] = flags;
    put16(tcp + 14, 65535);
    if (options) {
        tcp[20] = 2;
        tcp[21] = 4;
        put16(tcp + 22, 1360);
    }
    if (size)
        memcpy(tcp + TCP_SIZE + options, data, size);
    uint32_t sum = sum16(packet + 8, 32, htons(length) + htons(6));
    uint16_t check = fold16(sum16(tcp, length, sum));
    memcpy(tcp + 16, &check, 2);
    send_packet(packet, IP_SIZE + length);
}

static size_t request_text(const struct client *client, char *text, size_t room)
{
    if (client->wants_new)
        return snprintf(text, room, WISHES, "0.0.0.0", "::"); /* as our client asks first */
    return snprintf(text, room, WISHES, client->ipv4, client->ipv6);
}

static void ask(uint32_t number, struct client *client, double now, int again)
{
    char text[192];
    size_t size = request_text(client, text, sizeof text);

    segment(number, client, PSH | ACK, text, size);
    if (!again) {
        client->reply_size = 0;
        client->patience = DATA_PATIENCE;
    }
    client->phase = PHASE_WAITING;
    client->last_sent = now;
}

static void begin(uint32_t number, struct client *client, double now)
{
    if (client->phase == PHASE_KEPT) {
        client->acknowledged = client->sent;
        ask(number, client, now, 0);
        return;
    }
    client->sent = (uint32_t)rand();
    client->received = 0;
    client->phase = PHASE_BEGUN;
    client->patience = SYN_PATIENCE;
    client->last_sent = now;
    segment(number, client, SYN, NULL, 0);
}

static void close_now(uint32_t number, struct client *client, double now)
{
    segment(number, client, FIN | ACK, NULL, 0);
    client->sent++;
    client->phase = PHASE_ENDING;
    client->patience = DATA_PATIENCE;
    client->last_sent = now;
}

static void take_line(struct client *client, const char *line, size_t size)
{
    if (size < 4 || memcmp(line, "ip=", 3) != 0)
        return;
    char *to = memchr(line, ':', size) ? client->ipv6 : client->ipv4;
    size_t room = to == client->ipv6 ? sizeof client->ipv6 : sizeof client->ipv4;
    if (size - 3 < room) {
        memcpy(to, line + 3, size - 3);
        to[size - 3] = 0;
    }
}

/* The whole reply is there. */
static void read_reply(uint32_t number, struct client *client, double now)
{
    char why[40] = "no errno";
    char *at = client->reply, *end = at + client->reply_size;
    int good = 0;

    while (at < end) {
        char *newline = memchr(at, '\n', end - at);
        if (newline == NULL)
            break;
        if (newline - at > 6 && memcmp(at, "errno=", 6) == 0) {
            good = newline - at == 7 && at[6] == '0';
            snprintf(why, sizeof why, "%.*s", (int)(newline - at), at);
        }
        if (good)
            take_line(client, at, newline - at);
        at = newline + 1;
    }
    if (good && client->ipv4[0] && client->ipv6[0])
        exchange_done(number, client, now);
    else
        exchange_failed(number, client, now, good ? "an address is missing" : why);
}

static void take_data(uint32_t number, struct client *client, const uint8_t *data, size_t size)
{
    if (client->reply_size + size <= MAX_REPLY) {
        memcpy(client->reply + client->reply_size, data, size);
        client->reply_size += size;
    }
    client->received += size;
    (void)number;
}

static int is_whole(const struct client *client)
{
    return client->reply_size > 2
        && memcmp(client->reply + client->reply_size - 2, "\n\n", 2) == 0;
}

static void waiting(uint32_t number, struct client *client, const uint8_t *data, size_t size,
                    int fin, double now)
{
    if (size)
        take_data(number, client, data, size);
    if (is_whole(client)) {
        client->sent = client->acknowledged; /* all of the request, or there were no reply */
        read_reply(number, client, now);
        if (client->keeps && !fin) {
            segment(number, client, ACK, NULL, 0);
            client->phase = PHASE_KEPT;
        } else {
            client->received += fin;
            close_now(number, client, now);
            if (fin)
                client->phase = PHASE_IDLE;
        }
    } else if (fin) {
        client->received++;
        client->sent = client->acknowledged;
        segment(number, client, FIN | ACK, NULL, 0);
        client->phase = PHASE_IDLE;
        exchange_failed(number, client, now, "closed without a reply");
    }
}

static void packet(uint8_t *data, size_t size, double now)
{
    uint8_t *tcp = data + IP_SIZE;

    if (size < IP_SIZE + TCP_SIZE || data[0] >> 4 != 6 || data[6] != 6)
        return;
    uint32_t number = get32(data + 36) - FIRST;
    if (number >= client_count)
        return;
    struct client *client = &clients[number];
    int flags = tcp[13], fin = flags & FIN ? 1 : 0;
    size_t header = IP_SIZE + (tcp[12] >> 4) * 4;
    uint32_t sequence = get32(tcp + 4), acknowledges = get32(tcp + 8);
    if (size < header)
        return;
    size -= header;
    if (flags & RST) {
        enum phase was = client->phase;
        client->phase = PHASE_IDLE;
        if (was == PHASE_BEGUN || was == PHASE_WAITING)
            exchange_failed(number, client, now, "reset");
        return;
    }
    if (flags & SYN) {
        if (client->phase == PHASE_BEGUN) {
            client->sent++;
            client->acknowledged = client->sent;
            client->received = sequence + 1;
            segment(number, client, ACK, NULL, 0);
            ask(number, client, now, 0);
        } else if (client->phase == PHASE_WAITING) { /* our ACK was not taken */
            segment(number, client, ACK, NULL, 0);
            ask(number, client, now, 1);
        }
        return;
    }
    if (client->phase == PHASE_BEGUN && flags & ACK) {
        /* The last server's connection, which the kernel still remembers: RFC 9293, 3.10.7.3. */
        uint32_t ours = client->sent;
        client->sent = acknowledges;
        segment(number, client, RST, NULL, 0);
        client->sent = ours;
        client->last_sent = now;
        client->patience = DATA_PATIENCE;
        return;
    }
    if (client->phase != PHASE_IDLE && client->phase != PHASE_BEGUN && sequence != client->received) {
        segment(number, client, ACK, NULL, 0); /* twice, or one is missing */
        return;
    }
    if (client->phase == PHASE_WAITING) {
        if ((int32_t)(acknowledges - client->acknowledged) > 0)
            client->acknowledged = acknowledges;
        waiting(number, client, data + header, size, fin, now);
    } else if (client->phase == PHASE_ENDING && fin) {
        client->received++;
        segment(number, client, ACK, NULL, 0);
        client->phase = PHASE_IDLE;
    } else if (client->phase == PHASE_KEPT && fin) {
        client->received++;
        segment(number, client, FIN | ACK, NULL, 0);
        client->phase = PHASE_IDLE;
    }
}

static void again(uint32_t number, struct client *client, double now)
{
    if (client->counted && now - client->planned > EXCHANGE_PATIENCE) {
        client->phase = PHASE_IDLE;
        exchange_failed(number, client, now, "no answer");
        return;
    }
    if (now - client->last_sent < client->patience)
        return;
    client->patience *= 2;
    client->last_sent = now;
    if (client->phase == PHASE_BEGUN) {
        segment(number, client, SYN, NULL, 0);
        sent_again++;
    } else if (client->phase == PHASE_WAITING && client->acknowledged == client->sent) {
        ask(number, client, now, 1);
        sent_again++;
    } else if (client->phase == PHASE_ENDING) {
        client->sent--;
        segment(number, client, FIN | ACK, NULL, 0);
        client->sent++;
        sent_again++;
    }
}

const struct protocol wg_dynamic = {"wg-dynamic", begin, packet, again, close_now};

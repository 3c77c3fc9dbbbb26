/* Clients of DHCP behind one relay agent (giaddr), so that the server needs no raw sockets. New:
 * DISCOVER, OFFER, REQUEST, ACK. Renewal: REQUEST with the own address in ciaddr, ACK. */
#include "load.h"

#include <arpa/inet.h>
#include <string.h>

enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, DHCP_ACK, NAK };
enum { BOOTP = 28, OPTIONS = BOOTP + 240, SIZE = OPTIONS + 60 };
#define PATIENCE 1.0
#define EXCHANGE_PATIENCE 60.0

static const uint8_t server[4] = {10, 255, 0, 1}, relay[4] = {10, 255, 0, 2};
static const uint8_t cookie[4] = {99, 130, 83, 99};

static uint8_t *option(uint8_t *at, int code, const void *data, size_t size)
{
    *at++ = code;
    *at++ = size;
    memcpy(at, data, size);
    return at + size;
}

static void send_message(uint32_t number, struct client *client, int kind)
{
    uint8_t packet[SIZE] = {0};
    uint8_t *bootp = packet + BOOTP, *at = packet + OPTIONS, type = kind;
    uint8_t mac[6] = {2, 0, number >> 24, number >> 16, number >> 8, number};
    uint8_t identity[7] = {1};
    uint32_t xid = htonl(number);
    uint16_t check;

    bootp[0] = 1;
    bootp[1] = 1;
    bootp[2] = 6;
    bootp[3] = 1;
    memcpy(bootp + 4, &xid, 4);
    if (kind == REQUEST && !client->wants_new)
        memcpy(bootp + 12, &client->address, 4);
    memcpy(bootp + 24, relay, 4);
    memcpy(bootp + 28, mac, 6);
    memcpy(bootp + 236, cookie, 4);
    memcpy(identity + 1, mac, 6);
    at = option(at, 53, &type, 1);
    at = option(at, 61, identity, sizeof identity);
    if (kind == REQUEST && client->wants_new) {
        at = option(at, 50, &client->address, 4);
        at = option(at, 54, server, 4);
    }
    at = option(at, 55, (uint8_t[]){1, 3, 6, 51, 54}, 5);
    *at++ = 255;

    packet[0] = 0x45;
    packet[2] = SIZE >> 8;
    packet[3] = SIZE & 0xff;
    packet[8] = 64;
    packet[9] = 17;
    memcpy(packet + 12, relay, 4);
    memcpy(packet + 16, server, 4);
    check = fold16(sum16(packet, 20, 0));
    memcpy(packet + 10, &check, 2);
    packet[21] = packet[23] = 67; /* no checksum: IPv4 allows that */
    packet[24] = (SIZE - 20) >> 8;
    packet[25] = (SIZE - 20) & 0xff;
    send_packet(packet, SIZE);
}

static void begin(uint32_t number, struct client *client, double now)
{
    client->phase = client->wants_new ? PHASE_BEGUN : PHASE_WAITING;
    client->last_sent = now;
    client->patience = PATIENCE;
    send_message(number, client, client->wants_new ? DISCOVER : REQUEST);
}

static int kind_of(const uint8_t *data, size_t size)
{
    const uint8_t *at = data + OPTIONS, *end = data + size;

    while (at + 2 < end && *at != 255) {
        if (*at == 53)
            return at[2];
        at += *at ? at[1] + 2 : 1;
    }
    return 0;
}

static void packet(uint8_t *data, size_t size, double now)
{
    uint32_t number;

    if (size < OPTIONS + 4 || data[0] != 0x45 || data[9] != 17 || data[BOOTP] != 2)
        return;
    memcpy(&number, data + BOOTP + 4, 4);
    number = ntohl(number);
    if (number >= client_count)
        return;
    struct client *client = &clients[number];
    int kind = kind_of(data, size);
    if (client->phase == PHASE_BEGUN && kind == OFFER) {
        memcpy(&client->address, data + BOOTP + 16, 4);
        client->phase = PHASE_WAITING;
        client->last_sent = now;
        send_message(number, client, REQUEST);
    } else if (client->phase == PHASE_WAITING && kind == DHCP_ACK) {
        memcpy(&client->address, data + BOOTP + 16, 4);
        inet_ntop(AF_INET, &client->address, client->ipv4, sizeof client->ipv4);
        client->phase = PHASE_IDLE;
        exchange_done(number, client, now);
    } else if (client->phase == PHASE_WAITING && kind == NAK && client->wants_new) {
        sent_again++; /* the offer was given to another meanwhile: as a client does, from the start */
        begin(number, client, now);
    } else if (client->phase == PHASE_WAITING && kind == NAK) {
        client->phase = PHASE_IDLE;
        exchange_failed(number, client, now, "NAK");
    }
}

static void again(uint32_t number, struct client *client, double now)
{
    if (now - client->planned > EXCHANGE_PATIENCE) {
        client->phase = PHASE_IDLE;
        exchange_failed(number, client, now, "no answer");
    } else if (now - client->last_sent >= client->patience) {
        client->patience *= 2;
        client->last_sent = now;
        sent_again++;
        send_message(number, client, client->phase == PHASE_BEGUN ? DISCOVER : REQUEST);
    }
}

const struct protocol dhcp = {"dhcp", begin, packet, again, NULL};

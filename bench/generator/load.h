/* The load generator's parts: one loop (load.c), and a protocol each for wg-dynamic and DHCP. */
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>

#define MAX_PACKET 2048
#define MAX_REPLY 1024

enum phase { PHASE_IDLE, PHASE_BEGUN, PHASE_WAITING, PHASE_ENDING, PHASE_KEPT };

/* One client: its connection, if it has one, and its lease. */
struct client {
    enum phase phase;
    uint8_t wants_new;   /* asks for any address, not for its own */
    uint8_t keeps;       /* leaves its connection open */
    uint8_t counted;     /* an exchange of it is under way, and counts */
    uint32_t sent, acknowledged, received; /* sequence numbers of TCP */
    double planned;      /* when its exchange was to begin */
    double last_sent, patience; /* when to send again */
    uint16_t reply_size;
    char ipv4[16], ipv6[46];
    uint32_t address;    /* DHCP: its lease, network order */
    char reply[MAX_REPLY];
};

struct protocol {
    const char *name;
    /* Begin an exchange. */
    void (*begin)(uint32_t number, struct client *client, double now);
    /* A packet came from the server. */
    void (*packet)(uint8_t *data, size_t size, double now);
    /* Nothing came for a while. */
    void (*again)(uint32_t number, struct client *client, double now);
    /* End a connection that stays. */
    void (*close)(uint32_t number, struct client *client, double now);
};

extern const struct protocol wg_dynamic, dhcp;
extern struct client *clients;
extern uint32_t client_count;
extern uint64_t sent_again;

void send_packet(const void *data, size_t size);
/* An exchange is over: well, or not. */
void exchange_done(uint32_t number, struct client *client, double now);
void exchange_failed(uint32_t number, struct client *client, double now, const char *why);
uint32_t sum16(const void *data, size_t size, uint32_t sum);
uint16_t fold16(uint32_t sum);

#endif

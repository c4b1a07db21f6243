// A client's handshake of CurveZMQ (https://rfc.zeromq.org/spec/26) by hand, with libsodium: for tests with strangers who know
// the server's public key and say something that ZeroMQ would not.
#ifndef STAGECC_TESTS_CONTROL_CURVE_BY_HAND_H
#define STAGECC_TESTS_CONTROL_CURVE_BY_HAND_H

#include "control/curve.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum {
    HAND_MAC = 16,
    HAND_NONCE = 24,
    HAND_COOKIE = 96,
    HAND_HELLO = 200,   // bytes of the command's body
    HAND_WELCOME = 168, // likewise
    HAND_VOUCH = HAND_MAC + 2 * CURVE_BYTES,
    HAND_INITIATE = 9 + HAND_COOKIE + 8 + HAND_MAC + CURVE_BYTES + 16 + HAND_VOUCH, // least
};

typedef struct Hand {
    int (*pair)(uint8_t *public_key, uint8_t *secret);
    int (*box)(uint8_t *out, const uint8_t *text, unsigned long long bytes,
               const uint8_t *nonce, const uint8_t *to, const uint8_t *from);
    int (*open)(uint8_t *out, const uint8_t *box, unsigned long long bytes,
                const uint8_t *nonce, const uint8_t *from, const uint8_t *to);
    uint8_t server[CURVE_BYTES], server_short[CURVE_BYTES], cookie[HAND_COOKIE];
    uint8_t own[CURVE_BYTES], own_secret[CURVE_BYTES];     // a key of nobody
    uint8_t brief[CURVE_BYTES], brief_secret[CURVE_BYTES]; // of this connection
} Hand;

// false: there is no libsodium.
static inline bool hand_begin(Hand *h, const CurveKey server)
{
    void *library = dlopen("libsodium.so.23", RTLD_NOW | RTLD_LOCAL);
    *h = (Hand){0};
    if (!library)
        return false;
    void *pair = dlsym(library, "crypto_box_keypair"), *box = dlsym(library, "crypto_box_easy"),
         *open = dlsym(library, "crypto_box_open_easy");
    memcpy(&h->pair, &pair, sizeof pair);
    memcpy(&h->box, &box, sizeof box);
    memcpy(&h->open, &open, sizeof open);
    curve_bytes(h->server, server);
    h->pair(h->own, h->own_secret);
    h->pair(h->brief, h->brief_secret);
    return true;
}

static inline void hand_hello(const Hand *h, uint8_t body[HAND_HELLO])
{
    uint8_t nonce[HAND_NONCE + 1] = "CurveZMQHELLO---\0\0\0\0\0\0\0\1", zero[64] = {0};
    memset(body, 0, HAND_HELLO);
    memcpy(body, "\5HELLO\1", 7);
    memcpy(body + 80, h->brief, CURVE_BYTES);
    memcpy(body + 112, nonce + 16, 8);
    h->box(body + 120, zero, sizeof zero, nonce, h->server, h->brief_secret);
}

static inline bool hand_welcome(Hand *h, const uint8_t body[HAND_WELCOME])
{
    uint8_t nonce[HAND_NONCE] = "WELCOME-", said[CURVE_BYTES + HAND_COOKIE];
    memcpy(nonce + 8, body + 8, 16);
    if (memcmp(body, "\7WELCOME", 8) != 0 ||
        h->open(said, body + 24, HAND_WELCOME - 24, nonce, h->server, h->brief_secret))
        return false;
    memcpy(h->server_short, said, CURVE_BYTES);
    memcpy(h->cookie, said + CURVE_BYTES, HAND_COOKIE);
    return true;
}

// malloc'd, of so many bytes: a property behind the type of its socket fills it up.
static inline uint8_t *hand_initiate(const Hand *h, size_t bytes)
{
    static const char type[] = "\13Socket-Type\0\0\0\6DEALER\7X-Large";
    uint8_t nonce[HAND_NONCE + 1] = "CurveZMQINITIATE\0\0\0\0\0\0\0\2";
    uint8_t vouch[HAND_NONCE] = "VOUCH---", keys[2 * CURVE_BYTES];
    uint8_t *body = calloc(1, bytes), *text = calloc(1, bytes), *at = text;
    size_t filling = bytes - HAND_INITIATE - (sizeof type - 1) - 4;
    memcpy(at, h->own, CURVE_BYTES);
    memcpy(keys, h->brief, CURVE_BYTES);
    memcpy(keys + CURVE_BYTES, h->server, CURVE_BYTES);
    at += CURVE_BYTES + 16; // the vouch's nonce is 0
    h->box(at, keys, sizeof keys, vouch, h->server_short, h->own_secret);
    at += HAND_VOUCH;
    memcpy(at, type, sizeof type - 1);
    at += sizeof type - 1;
    for (int i = 0; i < 4; i++)
        *at++ = (uint8_t)(filling >> (24 - 8 * i));
    at += filling;
    memcpy(body, "\10INITIATE", 9);
    memcpy(body + 9, h->cookie, HAND_COOKIE);
    memcpy(body + 9 + HAND_COOKIE, nonce + 16, 8);
    h->box(body + 9 + HAND_COOKIE + 8, text, (size_t)(at - text), nonce, h->server_short,
           h->brief_secret);
    free(text);
    return body;
}

#endif

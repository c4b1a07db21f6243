#include "control/curve.h"

#include "base/diag.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

enum { BASE = 85, GROUP = 5 }; // five digits are four bytes
static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz"
                             "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
_Static_assert(sizeof digits == BASE + 1, "Z85");

bool curve_key_good(const char *text, size_t n)
{
    uint64_t value = 0;
    bool good = n == CURVE_CHARS;
    for (size_t i = 0; good && i < n; i++) {
        const char *digit = memchr(digits, text[i], BASE);
        value = (i % GROUP ? value * BASE : 0) + (digit ? (uint64_t)(digit - digits) : 0);
        good = digit && value <= UINT32_MAX;
    }
    return good;
}

void curve_bytes(uint8_t bytes[CURVE_BYTES], const CurveKey key)
{
    for (int group = 0; group < CURVE_BYTES / 4; group++) {
        uint32_t value = 0;
        for (int i = 0; i < GROUP; i++) {
            const char *digit = memchr(digits, key[group * GROUP + i], BASE);
            value = value * BASE + (uint32_t)(digit ? digit - digits : 0);
        }
        for (int i = 0; i < 4; i++)
            bytes[4 * group + i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

void curve_text(CurveKey key, const uint8_t bytes[CURVE_BYTES])
{
    for (int group = 0; group < CURVE_BYTES / 4; group++) {
        uint32_t value = 0;
        for (int i = 0; i < 4; i++)
            value = value << 8 | bytes[4 * group + i];
        for (int i = GROUP; i-- > 0; value /= BASE)
            key[group * GROUP + i] = digits[value % BASE];
    }
    key[CURVE_CHARS] = 0;
}

#ifdef STAGECC_ZMQ
#include "control/zmq/library.h"

static int failed(const char *what)
{
    error_at(NO_LOC, "ZeroMQ cannot %s: %s; a libzmq with CURVE (libsodium) can", what,
             strerror(errno));
    return EXIT_ENVIRONMENT;
}

int curve_pair(CurveKey public_key, CurveKey secret)
{
    if (!zmq_load())
        return EXIT_ENVIRONMENT;
    return zmq.curve_keypair(public_key, secret) ? failed("make keys") : EXIT_DONE;
}

int curve_public(CurveKey public_key, const CurveKey secret)
{
    if (!zmq_load())
        return EXIT_ENVIRONMENT;
    return zmq.curve_public(public_key, secret) ? failed("read keys") : EXIT_DONE;
}
#else
static int absent(void)
{
    error_at(NO_LOC,
             "keys are made and read with ZeroMQ, and this stagecc was built without it: "
             "apt-get install libzmq3-dev, then build stagecc again");
    return EXIT_ENVIRONMENT;
}

int curve_pair(CurveKey public_key, CurveKey secret)
{
    (void)public_key;
    (void)secret;
    return absent();
}

int curve_public(CurveKey public_key, const CurveKey secret)
{
    (void)public_key;
    (void)secret;
    return absent();
}
#endif

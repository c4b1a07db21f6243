// Pairs of CURVE keys: Curve25519, made by ZeroMQ (libsodium), in Z85: 40 printable characters
// (https://rfc.zeromq.org/spec/32 and 26). What is not zero is an exit status, and was reported.
#ifndef STAGECC_CONTROL_CURVE_H
#define STAGECC_CONTROL_CURVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CURVE_CHARS = 40, CURVE_BYTES = 32 };

typedef char CurveKey[CURVE_CHARS + 1]; // terminated

int curve_pair(CurveKey public_key, CurveKey secret); // a new one
int curve_public(CurveKey public_key, const CurveKey secret);
// Are these characters a key: Z85 of 32 bytes?
bool curve_key_good(const char *text, size_t n);
// The bytes of a key that is good, and back.
void curve_bytes(uint8_t bytes[CURVE_BYTES], const CurveKey key);
void curve_text(CurveKey key, const uint8_t bytes[CURVE_BYTES]);

#endif

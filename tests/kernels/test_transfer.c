// The codecs of <stagecc/transfer.h>: both backends write and read the same bytes, no element is further off than the
// head of that file says, whatever the numbers, and what is not finite is not hidden.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#define REAL float
#include <stagecc/ref.h>
#define C_THREADS 2
#include <stagecc/c.h>

#include <fenv.h>
#include <stdlib.h>

enum { GUARD = 64, MOST = 1000 };

typedef struct Codec {
    const char *name;
    int code_bytes, scale_bytes;
    void (*c_encode)(uint8_t *, const float *, int64_t);
    void (*c_decode)(float *, const uint8_t *, int64_t);
    void (*ref_encode)(uint8_t *, const float *, int64_t);
    void (*ref_decode)(float *, const uint8_t *, int64_t);
    double (*bound)(double x, double largest);
    double most; // what is larger may become infinite
} Codec;

static double bound_bf16(double x, double largest)
{
    (void)largest;
    return fmax(0x1p-8 * fabs(x), 0x1p-134);
}

static double bound_f16(double x, double largest)
{
    return fmax(0x1p-11 * fabs(x) + 0x1p-39 * largest, 0x1p-149);
}

static double bound_int8(double x, double largest)
{
    (void)x;
    return fmax(largest / 254, 0x1p-127) * (1 + 0x1p-14);
}

static const Codec codecs[] = {
#define CODEC(name, code, scale, most)                                                         \
    {#name,                                                                                    \
     code,                                                                                     \
     scale,                                                                                    \
     c_encode_##name,                                                                          \
     c_decode_##name,                                                                          \
     ref_encode_##name,                                                                        \
     ref_decode_##name,                                                                        \
     bound_##name,                                                                             \
     most},
    CODEC(bf16, 2, 0, 0x1.fep127) CODEC(f16, 2, 4, 0x1.ffep127) CODEC(int8, 1, 4, 0x1p128)};
enum { N_CODECS = sizeof codecs / sizeof *codecs };

// Numbers
// ---------------------------------------------------------------------------------------------

static uint64_t drawn;

static float uniform(void) // in [-1, 1)
{
    return 2 * rt_uniform(7, drawn++) - 1;
}

static float any_finite(void) // all exponents alike
{
    for (;;) {
        uint32_t high = (uint32_t)(rt_uniform(11, drawn++) * 65536);
        float x = rt_float(high << 16 | (uint32_t)(rt_uniform(13, drawn++) * 65536));
        if (isfinite(x))
            return x;
    }
}

static float ordinary(int64_t i)
{
    (void)i;
    return uniform();
}

static float zero(int64_t i)
{
    return i % 2 ? -0.0f : 0.0f;
}

static float tiny(int64_t i) // gradients of a mean over many
{
    (void)i;
    return uniform() * 1e-9f;
}

static float subnormal(int64_t i)
{
    (void)i;
    return uniform() * 0x1p-126f;
}

static float smallest(int64_t i)
{
    return i % 3 ? 0 : rt_float((uint32_t)(i % 7));
}

static float huge(int64_t i)
{
    return i % 5 ? uniform() * 3.0e38f : 3.40282347e38f;
}

static float wild(int64_t i)
{
    (void)i;
    return any_finite();
}

static float outlier(int64_t i)
{
    return i % 64 == 17 ? 1e6f : uniform();
}

static float ties(int64_t i) // halves of the steps of int8, where 127 is the largest
{
    return i % 64 ? (float)(i % 127) + 0.5f : 127;
}

static float (*const makers[])(int64_t) = {ordinary, zero, tiny,    subnormal, smallest,
                                           huge,     wild, outlier, ties};
enum { N_MAKERS = sizeof makers / sizeof *makers };

static double largest_of_block(const float *x, int64_t n, int64_t i)
{
    double largest = 0;
    for (int64_t k = i / 64 * 64; k < n && k < i / 64 * 64 + 64; k++)
        largest = fmax(largest, fabs((double)x[k]));
    return largest;
}

// Both backends
// ---------------------------------------------------------------------------------------------

static int64_t message_bytes(const Codec *k, int64_t n)
{
    return (n + 63) / 64 * k->scale_bytes + n * k->code_bytes;
}

// Through both backends, which must agree. The message ends where it should.
static void through(const Codec *k, float *y, const float *x, int64_t n)
{
    static _Alignas(64) uint8_t message[2][4 * MOST + GUARD];
    static float other[MOST];
    int64_t bytes = message_bytes(k, n);
    memset(message, 0xa5, sizeof message);
    k->c_encode(message[0], x, n);
    k->ref_encode(message[1], x, n);
    assert_memory_equal(message[0], message[1], sizeof *message);
    for (int i = 0; i < GUARD; i++)
        assert_int_equal(message[0][bytes + i], 0xa5);
    k->c_decode(y, message[0], n);
    k->ref_decode(other, message[0], n);
    assert_memory_equal(y, other, (size_t)n * sizeof *y);
}

static const int64_t lengths[] = {1, 2, 15, 63, 64, 65, 127, 128, 200, MOST};
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

static void nothing_is_further_off(void **state)
{
    (void)state;
    static float x[MOST], y[MOST];
    for (int c = 0; c < N_CODECS; c++)
        for (int m = 0; m < N_MAKERS; m++)
            for (int round = 0; round < 20; round++) {
                int64_t n = lengths[round % N_LENGTHS];
                for (int64_t i = 0; i < n; i++)
                    x[i] = makers[m](i);
                through(&codecs[c], y, x, n);
                for (int64_t i = 0; i < n; i++) {
                    double largest = largest_of_block(x, n, i);
                    double off = fabs((double)y[i] - (double)x[i]);
                    bool beyond = fabs((double)x[i]) > codecs[c].most && isinf(y[i]);
                    if (!(off <= codecs[c].bound((double)x[i], largest)) && !beyond)
                        fail_msg("%s, numbers %d: %a became %a, largest %a", codecs[c].name, m,
                                 (double)x[i], (double)y[i], largest);
                }
            }
}

// What travels is the nearest of what can: even codes where two are as near.
static void ties_are_even(void **state)
{
    (void)state;
    static float x[64] = {16384, 1 + 0x1p-11f, 1 + 3 * 0x1p-11f, 0x1p-25f, 3 * 0x1p-25f}, y[64];
    through(&codecs[1], y, x, 64);
    assert_true(y[1] == 1 && y[2] == 1 + 0x1p-9f && y[3] == 0 && y[4] == 0x1p-23f);
    static float b[4] = {1 + 0x1p-8f, 1 + 3 * 0x1p-8f, -1 - 0x1p-8f, 1 + 0x1p-8f + 0x1p-20f};
    through(&codecs[0], y, b, 4);
    assert_true(y[0] == 1 && y[1] == 1 + 0x1p-6f && y[2] == -1 && y[3] == 1 + 0x1p-7f);
    static float q[6] = {127, 0.5f, 1.5f, 2.5f, -2.5f, -126.5f};
    through(&codecs[2], y, q, 6);
    assert_true(y[1] == 0 && y[2] == 2 && y[3] == 2 && y[4] == -2 && y[5] == -126);
}

// What a codec can represent stays as it is, so sending it on loses nothing more.
static void twice_is_once(void **state)
{
    (void)state;
    static float x[MOST], y[MOST], z[MOST];
    for (int c = 0; c < 2; c++) // the scale of int8 is no power of 2
        for (int m = 0; m < N_MAKERS; m++) {
            for (int64_t i = 0; i < MOST; i++)
                x[i] = makers[m](i);
            if (makers[m] == wild || makers[m] == huge)
                continue; // some bf16 are infinite
            through(&codecs[c], y, x, MOST);
            through(&codecs[c], z, y, MOST);
            assert_memory_equal(y, z, sizeof y);
        }
}

static void not_finite_is_seen(void **state)
{
    (void)state;
    static float x[200], y[200];
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int c = 0; c < N_CODECS; c++)
        for (int at = 0; at < 200; at += 7)
            for (int k = 0; k < 3; k++) {
                for (int i = 0; i < 200; i++)
                    x[i] = uniform();
                x[at] = bad[k];
                feclearexcept(FE_ALL_EXCEPT);
                through(&codecs[c], y, x, 200);
                volatile float used = y[at] * 0; // NaN signals, infinities do not go with 0
                (void)used;
                assert_true(fetestexcept(FE_INVALID));
                for (int i = 0; i < 200; i++) {
                    bool mate = codecs[c].scale_bytes && i / 64 == at / 64;
                    assert_int_equal(!isfinite(y[i]), i == at || mate);
                }
            }
}

// Finite numbers raise no flag that the guard would take for trouble.
static void finite_is_quiet(void **state)
{
    (void)state;
    static float x[MOST], y[MOST];
    for (int c = 0; c < N_CODECS; c++)
        for (int m = 0; m < N_MAKERS; m++) {
            for (int64_t i = 0; i < MOST; i++)
                x[i] = makers[m](i);
            feclearexcept(FE_ALL_EXCEPT);
            bool quiet = makers[m] != huge && makers[m] != wild; // of numbers near the largest
            if (codecs[c].most < 0x1p128 && !quiet)
                continue;
            through(&codecs[c], y, x, MOST);
            assert_false(fetestexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW));
        }
}

// Elements of bf16 are sent as the floats that they are, and rounded when they are there.
static void bf16_goes_through_floats(void **state)
{
    (void)state;
    static float x[MOST], y[MOST];
    static rt_bf16 narrow[MOST], got[MOST];
    static _Alignas(64) uint8_t message[2][4 * MOST + GUARD];
    for (int m = 0; m < N_MAKERS; m++)
        for (int k = 0; k < N_LENGTHS; k++) {
            int64_t n = lengths[k];
            for (int64_t i = 0; i < n; i++) {
                narrow[i] = rt_to_bf16(makers[m](i));
                x[i] = rt_to_float(narrow[i]);
            }
            memset(message, 0xa5, sizeof message);
            memset(got, 0xa5, sizeof got);
            c_encode_int8(message[0], x, n);
            c_encode_int8_bf16(message[1], narrow, n);
            assert_memory_equal(message[0], message[1], sizeof *message);
            c_decode_int8(y, message[0], n);
            c_decode_int8_bf16(got, message[0], n);
            for (int64_t i = 0; i < n; i++)
                assert_int_equal(got[i].bits, rt_to_bf16(y[i]).bits);
            assert_true(n == MOST || got[n].bits == 0xa5a5);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_further_off), cmocka_unit_test(ties_are_even),
        cmocka_unit_test(twice_is_once),          cmocka_unit_test(not_finite_is_seen),
        cmocka_unit_test(finite_is_quiet),        cmocka_unit_test(bf16_goes_through_floats)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

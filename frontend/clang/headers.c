// Written as text, and as functions of math.def, so that a name is declared exactly
// where the evaluator knows it.
#include "frontend/clang/headers.h"

static const char stdbool_h[] = "#ifndef STAGECC_STDBOOL\n#define STAGECC_STDBOOL\n"
                                "#define bool _Bool\n#define true 1\n#define false 0\n#endif\n";

static const char stddef_h[] =
    "#ifndef STAGECC_STDDEF\n#define STAGECC_STDDEF\n"
    "typedef __SIZE_TYPE__ size_t;\ntypedef __PTRDIFF_TYPE__ ptrdiff_t;\n"
    "#define NULL ((void *)0)\n#define offsetof(t, f) __builtin_offsetof(t, f)\n#endif\n";

static const char stdint_h[] =
    "#ifndef STAGECC_STDINT\n#define STAGECC_STDINT\n"
    "typedef __INT8_TYPE__ int8_t;\ntypedef __INT16_TYPE__ int16_t;\n"
    "typedef __INT32_TYPE__ int32_t;\ntypedef __INT64_TYPE__ int64_t;\n"
    "typedef __UINT8_TYPE__ uint8_t;\ntypedef __UINT16_TYPE__ uint16_t;\n"
    "typedef __UINT32_TYPE__ uint32_t;\ntypedef __UINT64_TYPE__ uint64_t;\n"
    "typedef __INTPTR_TYPE__ intptr_t;\ntypedef __UINTPTR_TYPE__ uintptr_t;\n"
    "typedef __INTMAX_TYPE__ intmax_t;\ntypedef __UINTMAX_TYPE__ uintmax_t;\n"
    "#define INT8_MAX 127\n#define INT16_MAX 32767\n#define INT32_MAX 2147483647\n"
    "#define INT64_MAX 9223372036854775807L\n#define INT8_MIN (-128)\n"
    "#define INT16_MIN (-32768)\n#define INT32_MIN (-INT32_MAX - 1)\n"
    "#define INT64_MIN (-INT64_MAX - 1)\n#define UINT8_MAX 255\n#define UINT16_MAX 65535\n"
    "#define UINT32_MAX 4294967295U\n#define UINT64_MAX 18446744073709551615UL\n"
    "#define SIZE_MAX UINT64_MAX\n#endif\n";

static const char limits_h[] =
    "#ifndef STAGECC_LIMITS\n#define STAGECC_LIMITS\n#define CHAR_BIT 8\n"
    "#define SCHAR_MAX 127\n#define SCHAR_MIN (-128)\n#define UCHAR_MAX 255\n"
    "#define CHAR_MAX __SCHAR_MAX__\n#define SHRT_MAX 32767\n#define SHRT_MIN (-32768)\n"
    "#define USHRT_MAX 65535\n#define INT_MAX __INT_MAX__\n#define INT_MIN (-__INT_MAX__ - 1)\n"
    "#define UINT_MAX 4294967295U\n#define LONG_MAX __LONG_MAX__\n"
    "#define LONG_MIN (-__LONG_MAX__ - 1L)\n#define ULONG_MAX (2UL * LONG_MAX + 1)\n"
    "#define LLONG_MAX __LONG_LONG_MAX__\n#define LLONG_MIN (-LLONG_MAX - 1)\n"
    "#define ULLONG_MAX (2ULL * LLONG_MAX + 1)\n#endif\n";

static const char float_h[] = "#ifndef STAGECC_FLOAT\n#define STAGECC_FLOAT\n"
                              "#define FLT_MAX __FLT_MAX__\n#define FLT_MIN __FLT_MIN__\n"
                              "#define FLT_EPSILON __FLT_EPSILON__\n"
                              "#define DBL_MAX __DBL_MAX__\n#define DBL_MIN __DBL_MIN__\n"
                              "#define DBL_EPSILON __DBL_EPSILON__\n#endif\n";

static const char stdlib_h[] = "#ifndef STAGECC_STDLIB\n#define STAGECC_STDLIB\n"
                               "#include <stddef.h>\nint abs(int);\nlong labs(long);\n"
                               "long long llabs(long long);\n#endif\n";

static const char string_h[] = "#ifndef STAGECC_STRING\n#define STAGECC_STRING\n"
                               "#include <stddef.h>\nsize_t strlen(const char *);\n"
                               "int strcmp(const char *, const char *);\n#endif\n";

static const char assert_h[] =
    "#undef assert\n#undef static_assert\n#define static_assert _Static_assert\n"
    "#ifndef STAGECC_ASSERT\n#define STAGECC_ASSERT\n"
    "void stagecc_assert(_Bool, const char *);\n#endif\n"
    "#ifdef NDEBUG\n#define assert(c) ((void)0)\n#else\n"
    "#define assert(c) stagecc_assert(!!(c), #c)\n#endif\n";

static const char math_h[] =
    "#ifndef STAGECC_MATH\n#define STAGECC_MATH\n"
    "#define M_E 2.7182818284590452354\n#define M_LOG2E 1.4426950408889634074\n"
    "#define M_LN2 0.69314718055994530942\n#define M_LN10 2.30258509299404568402\n"
    "#define M_PI 3.14159265358979323846\n#define M_PI_2 1.57079632679489661923\n"
    "#define M_1_PI 0.31830988618379067154\n#define M_2_PI 0.63661977236758134308\n"
    "#define M_2_SQRTPI 1.12837916709551257390\n#define M_SQRT2 1.41421356237309504880\n"
    "#define M_SQRT1_2 0.70710678118654752440\n#define INFINITY __builtin_inff()\n"
    "#define HUGE_VAL __builtin_inf()\n#define NAN __builtin_nanf(\"\")\n"
    "#define isnan(x) __builtin_isnan(x)\n#define isinf(x) __builtin_isinf(x)\n"
    "#define isfinite(x) __builtin_isfinite(x)\ndouble ldexp(double, int);\n";

static const struct {
    const char *name, *text;
} headers[] = {
    {"math.h", math_h},     {"stdbool.h", stdbool_h}, {"stddef.h", stddef_h},
    {"stdint.h", stdint_h}, {"limits.h", limits_h},   {"float.h", float_h},
    {"stdlib.h", stdlib_h}, {"string.h", string_h},   {"assert.h", assert_h},
};

int headers_count(void)
{
    return sizeof headers / sizeof *headers;
}

const char *headers_name(int i)
{
    return headers[i].name;
}

void headers_text(int i, Text *out)
{
    text_puts(out, headers[i].text);
    if (headers[i].text != math_h)
        return;
#define MATH_1(NAME) text_puts(out, "double " #NAME "(double);\nfloat " #NAME "f(float);\n");
#define MATH_2(NAME)                                                                           \
    text_puts(out, "double " #NAME "(double, double);\nfloat " #NAME "f(float, float);\n");
#define MATH_LONG(NAME)                                                                        \
    text_puts(out, (#NAME)[1] == 'l' ? "long long " #NAME "(double);\n"                        \
                                     : "long " #NAME "(double);\n");
#include "frontend/clang/math.def"
    text_puts(out, "#endif\n");
}

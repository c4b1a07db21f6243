// C that a test program compiles and that a model includes: both must come to the same values
// (test_evaluator.c). Everything that the evaluator knows of C should be met here.
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum color { RED, GREEN = 5, BLUE, LAST = GREEN * BLUE };

struct point {
    int x, y;
};

struct shape {
    const char *name;
    struct point at[2];
    union {
        int whole;
        float part;
    };
    bool open;
    unsigned char tag;
};

static const int primes[] = {2, 3, 5, 7, 11, 13};
static const int grid[3][4] = {{1, 2, 3, 4}, {5, 6, 7}, [2] = {[3] = 12, [0] = 9}};
static const int flat[2][3] = {1, 2, 3, 4, 5, 6};
static const char word[] = "model";
static const char *const words[] = {"conv",
                                    "batch"
                                    "norm",
                                    "tab\there", "\x41\102\"\\"};
static const struct shape shapes[] = {
    {"first", {{1, 2}, {3, 4}}, {7}, true, 200},
    {.name = "second", .tag = 'a', .at[1].y = 9},
    {"third", 5, 6, .open = 1},
};
static const int spread[8] = {[1 ... 3] = 4, [6] = 2, 1};
static int counter = 40;
static double halves[2] = {.5, 1 / 4.};

static int next(void)
{
    static int own = 10;
    return own++ + counter++;
}

static int fibonacci(int n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static struct point moved(struct point p, int by)
{
    p.x += by;
    p.y -= by;
    return p;
}

static void swap(int *a, int *b)
{
    int t = *a;
    *a = *b;
    *b = t;
}

static int sum(const int *p, size_t n)
{
    int s = 0;
    for (const int *end = p + n; p != end;)
        s += *p++;
    return s;
}

static int loops(int n)
{
    int s = 0, i = 0;
    for (;;) {
        if (++i > n)
            break;
        if (i % 3 == 0)
            continue;
        s += i;
    }
    while (i-- > 0)
        s += 2;
    do
        s ^= 1;
    while (s > 1000000);
    for (int k = 0, m = 10; k < m; k++, m--)
        s += k * m;
    for (i = 0; i < 3; i++)
        for (int j = i; j < 3; j++) {
            if (j == 1)
                break;
            s += 100;
        }
    return s;
}

static int choose(int n)
{
    int s = 0;
    switch (n) {
    case 1: s = 10; break;
    case 2:
    case 3: s += 20; // falls through
    case 4 ... 6: s += 5; break;
    case -1: return -7;
    default: s = 99;
    }
    switch (s) {
        int unused;
    case 99: unused = 1; return unused;
    }
    return s;
}

static int nested(int a, int b)
{
    switch (a) {
    case 0:
        switch (b) {
        case 0: return 1;
        default: break;
        }
        return 2;
    default:
        for (int i = 0;; i++) {
            if (i == b)
                return i * 10;
            switch (i) {
            case 3: continue;
            default: break;
            }
        }
    }
}

static int pointers(void)
{
    int a = 3, b = 4, table[4] = {1, 2, 3, 4};
    int *p = &table[1], **q = &p;
    struct point at = {1, 2}, *o = &at;
    swap(&a, &b);
    **q = 20;
    p[1] += 5;
    (*q)++;
    o->x = *p - table[1];
    return a * 1000 + b * 100 + at.x + (int)(p - table) + sum(table, 4) + (&table[4] - p > 0) +
           1 [table];
}

static int literals(int n)
{
    int s = 0;
    for (int i = 0; i < n; i++) {
        struct point p = (struct point){.y = i};
        const int *three = (int[]){i, i + 1, [2] = i * i};
        s += p.y + three[2] - moved((struct point){i, 1}, 2).y;
    }
    return s;
}

static int twice(int n)
{
    return 2 * n;
}

static int thrice(int n)
{
    return 3 * n;
}

static int apply(int (*f)(int), int n)
{
    return f(n) + (*f)(1);
}

static int table_of_functions(int i)
{
    int (*const table[])(int) = {twice, thrice, &fibonacci};
    return apply(table[i], 7);
}

static int copies(void)
{
    struct shape a = shapes[0], b;
    b = a;
    b.at[0] = moved(b.at[1], 5);
    b.whole = 1;
    a.part = 1.0f;
    return a.at[0].x + 10 * b.at[0].x + 100 * b.at[0].y + (a.whole == 0x3f800000) +
           b.whole * 1000;
}

static double mean(const double *v, int n)
{
    double s = 0;
    for (int i = 0; i < n; i++)
        s += v[i];
    return n ? s / n : 0;
}

static int shadowed(int x)
{
    int y = x;
    {
        int x = 5;
        y += x;
        {
            int x = y;
            y += x;
        }
    }
    return y + x;
}

static int strings(void)
{
    int n = 0;
    for (const char *c = "a,b,,c"; *c; c++)
        n += *c == ',';
    return n + (strcmp(words[1], "batchnorm") == 0) * 10 + (strcmp("a", "b") < 0) * 100 +
           (int)strlen(__func__);
}

static bool even(unsigned n);

static bool odd(unsigned n)
{
    return n ? even(n - 1) : false;
}

static bool even(unsigned n)
{
    return n == 0 || odd(n - 1);
}

#define SQUARE(x) ((x) * (x))
#define LARGER(a, b)                                                                           \
    ({                                                                                         \
        __typeof__(a) a_ = (a), b_ = (b);                                                      \
        a_ > b_ ? a_ : b_;                                                                     \
    })

// A library for LD_PRELOAD that counts allocations by the object file whose code asked for them, and
// writes "FILE COUNT BYTES" lines to $MALLOC_WATCH.PID when the process ends. Two runs of different
// length tell what a training step allocates, without knowing where a step begins.
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_OWNERS = 64, EARLY_BYTES = 1 << 20 };

static struct Owner {
    _Atomic(void *) base; // where the object file is loaded
    const char *name;
    _Atomic unsigned long count, bytes;
} owners[MAX_OWNERS];

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static int (*real_posix_memalign)(void **, size_t, size_t);
static void *(*real_aligned_alloc)(size_t, size_t);
static void (*real_free)(void *);

// dlsym itself may allocate before the real functions are known.
static _Alignas(16) char early[EARLY_BYTES];
static size_t early_used;

static void *early_alloc(size_t n)
{
    n = (n + 15) & ~(size_t)15;
    if (early_used + n > sizeof early)
        abort();
    void *p = early + early_used;
    early_used += n;
    return p;
}

static int is_early(const void *p)
{
    return (const char *)p >= early && (const char *)p < early + sizeof early;
}

static void *next(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);
    if (!f)
        abort();
    return f;
}

__attribute__((constructor)) static void resolve(void)
{
    if (real_free)
        return;
    real_calloc = (void *(*)(size_t, size_t))next("calloc");
    real_realloc = (void *(*)(void *, size_t))next("realloc");
    real_posix_memalign = (int (*)(void **, size_t, size_t))next("posix_memalign");
    real_aligned_alloc = (void *(*)(size_t, size_t))next("aligned_alloc");
    real_malloc = (void *(*)(size_t))next("malloc");
    real_free = (void (*)(void *))next("free");
}

static void count(void *caller, size_t bytes)
{
    Dl_info info;
    if (!dladdr(caller, &info))
        return;
    for (int i = 0; i < MAX_OWNERS; i++) {
        void *none = NULL;
        if (atomic_compare_exchange_strong(&owners[i].base, &none, info.dli_fbase))
            owners[i].name = info.dli_fname;
        if (owners[i].base == info.dli_fbase) {
            owners[i].count++;
            owners[i].bytes += bytes;
            return;
        }
    }
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t n)
{
    if (!real_malloc)
        return early_alloc(n);
    count(CALLER, n);
    return real_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    if (!real_malloc)
        return early_alloc(n * size); // static memory is zero
    count(CALLER, n * size);
    return real_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    if (is_early(p)) {
        void *q = malloc(n);
        memcpy(q, p,
               n < (size_t)(early + sizeof early - (char *)p)
                   ? n
                   : (size_t)(early + sizeof early - (char *)p));
        return q;
    }
    count(CALLER, n);
    return real_realloc(p, n);
}

int posix_memalign(void **p, size_t align, size_t n)
{
    count(CALLER, n);
    return real_posix_memalign(p, align, n);
}

void *aligned_alloc(size_t align, size_t n)
{
    count(CALLER, n);
    return real_aligned_alloc(align, n);
}

void free(void *p)
{
    if (!is_early(p) && real_free)
        real_free(p);
}

__attribute__((destructor)) static void report(void)
{
    const char *prefix = getenv("MALLOC_WATCH");
    char path[4096];
    snprintf(path, sizeof path, "%s.%d", prefix ? prefix : "malloc_watch", (int)getpid());
    FILE *f = fopen(path, "w");
    for (int i = 0; f && i < MAX_OWNERS && owners[i].base; i++)
        fprintf(f, "%s %lu %lu\n", owners[i].name, owners[i].count, owners[i].bytes);
    if (f)
        fclose(f);
}

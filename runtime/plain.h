// Tensors in their plain logical layout: row-major, little-endian, no padding. That is how they
// lie on disk and on the wire; in a program's memory a tensor may have a library kernel's own
// layout, and the backend's pack and unpack convert. Initialisation and checkpoints stand on
// this.
#ifndef STAGECC_RUNTIME_PLAIN_H
#define STAGECC_RUNTIME_PLAIN_H

#include "runtime/stage.h"

#include <stdbool.h>

// What a runtime function returns: 0, or the exit status that fits (docs/cli.md). The text that
// says what is wrong is in the function's rt__why.
enum { RT__INPUT = 1, RT__ENVIRONMENT = 2 };

typedef struct rt__why {
    char text[1024];
} rt__why;

void rt__say(rt__why *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Writes the text and is `status`, so that callers can `return rt__because(...)`. A macro, so that
// compilers and analyzers see which one.
#define rt__because(why, status, ...) (rt__say(why, __VA_ARGS__), (status))

// The tensors of one stage and where they are. Owns nothing.
typedef struct rt__memory {
    const rt_tensor *tensors;
    int n_tensors;
    uint8_t *base;             // persistent memory: tensor t lies at base + t->offset
    const rt_backend *backend; // NULL, or without pack and unpack: every tensor is plain
    rt_stage *stage;           // passed on to the backend
} rt__memory;

int64_t rt__dtype_bytes(rt_dtype dtype);
// to[i] = value in that dtype: BF16 rounds to nearest even, integers truncate.
void rt__put(rt_dtype dtype, void *to, int64_t i, double value);
const char *rt__dtype_name(rt_dtype dtype); // "F32", as safetensors spells it
int64_t rt__elements(const rt_tensor *t);
char *rt__shape_text(const int64_t *dim, int rank, char text[128]); // "[3,32,32]"; returns text
int64_t rt__plain_bytes(const rt_tensor *t);
bool rt__is_plain(const rt__memory *m, const rt_tensor *t); // its memory needs no conversion
// Largest rt__plain_bytes of the tensors that need conversion: the room callers must give
// below.
int64_t rt__conversion_bytes(const rt__memory *m);

// The plain bytes of t: in place where its memory is plain, else unpacked into `room`. NULL:
// the backend failed (it has called rt_fail) and `why` says for which tensor.
const void *rt__plain_get(const rt__memory *m, const rt_tensor *t, void *room, rt__why *why);
// Take over plain bytes. 0, or RT__ENVIRONMENT as above.
int rt__plain_put(const rt__memory *m, const rt_tensor *t, const void *plain, rt__why *why);

#endif

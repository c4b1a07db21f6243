// Where everything lies in a generation of a program's image. Agents copy tensors from images of one plan to those of
// another by this (`PROGRAM --tensors FILE`): by name, where bytes and layout are equal.
#include "plan/image.h"
#include "runtime/image.h"
#include "runtime/segment.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { LAYOUT = 256 };

uint64_t rt__image_statistic_bytes(const rt_tensor *t)
{
    return segment_round_up((uint64_t)t->bytes, SEGMENT_LINE);
}

uint64_t rt__image_shadow(const rt_program *p)
{
    return segment_round_up((uint64_t)p->persistent_bytes, IMAGE_PAGE);
}

uint64_t rt__image_generation_bytes(const rt_program *p)
{
    uint64_t statistics = 0;
    for (int i = 0; i < p->n_tensors; i++)
        if (p->tensors[i].role == RT_BUFFER)
            statistics += rt__image_statistic_bytes(&p->tensors[i]);
    return rt__image_shadow(p) + segment_round_up(statistics, IMAGE_PAGE);
}

// Bytes of the program's memory, and of a generation.
typedef struct Piece {
    uint8_t *here, *there;
    size_t bytes;
} Piece;

// Neighbours in both are one, with what lies between them.
static bool join(Piece *p, const Piece *next)
{
    const uint8_t *end = p->here + p->bytes;
    if (!p->bytes || next->there - p->there != next->here - p->here || next->here < end ||
        next->here - end >= RT_ALIGN)
        return false;
    p->bytes = (size_t)(next->here - p->here) + next->bytes;
    return true;
}

static int flush(rt_stage *s, rt__image_way *how, const Piece *p)
{
    if (p->bytes)
        how(s, p->there, p->here, p->bytes);
    return p->bytes != 0;
}

int rt__image_copy(rt_stage *s, uint8_t *generation, rt__image_way *how, bool statistics)
{
    uint8_t *shadow = generation + rt__image_shadow(s->program);
    Piece piece = {0};
    int n = 0;
    for (int i = 0; i < s->program->n_tensors; i++) {
        const rt_tensor *t = &s->program->tensors[i];
        bool is_statistic = t->role == RT_BUFFER;
        Piece next = {rt__tensor(s, t), is_statistic ? shadow : generation + t->offset,
                      (size_t)t->bytes};
        if (is_statistic)
            shadow += rt__image_statistic_bytes(t);
        if (is_statistic != statistics || t->role == RT_ACCUMULATOR || join(&piece, &next))
            continue;
        n += flush(s, how, &piece);
        piece = next;
    }
    return n + flush(s, how, &piece);
}

// "F32 64x3x7x7 plain": type, logical shape, order in memory. Whether a tensor is packed for a library kernel, and in
// blocks of what size, may depend on its neighbours in the stage and on the instruction set.
static void describe_layout(const rt_stage *s, const rt_tensor *t, char text[LAYOUT])
{
    size_t n = (size_t)snprintf(text, LAYOUT, "%s ", rt__dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++)
        n += (size_t)snprintf(text + n, LAYOUT - n, "%s%" PRId64, i ? "x" : "", t->dim[i]);
    n += (size_t)snprintf(text + n, LAYOUT - n, "%s", t->rank ? " " : "");
    if (t->kernel >= 0)
        s->program->backend->layout(s, t, text + n, LAYOUT - n);
    else
        snprintf(text + n, LAYOUT - n, "plain");
}

static json_t *describe_tensor(const rt_stage *s, const rt_tensor *t, uint64_t at)
{
    static const char *const roles[] = {
        [RT_PARAM] = "param", [RT_BUFFER] = "buffer", [RT_STATE] = "state"};
    char layout[LAYOUT];
    describe_layout(s, t, layout);
    return json_pack("{s:s, s:s, s:I, s:I, s:s}", "name", t->name, "role", roles[t->role], "at",
                     (json_int_t)at, "bytes", (json_int_t)t->bytes, "layout", layout);
}

// Accumulators are empty between steps. Of a statistic a saved step has the copy.
static json_t *describe_tensors(const rt_stage *s)
{
    const rt_program *p = s->program;
    json_t *all = json_array();
    uint64_t shadow = rt__image_shadow(p);
    for (int i = 0; i < p->n_tensors; i++) {
        const rt_tensor *t = &p->tensors[i];
        bool copied = t->role == RT_BUFFER;
        if (t->role != RT_ACCUMULATOR)
            json_array_append_new(all,
                                  describe_tensor(s, t, copied ? shadow : (uint64_t)t->offset));
        if (copied)
            shadow += rt__image_statistic_bytes(t);
    }
    return all;
}

static json_t *describe(const rt_stage *s)
{
    const rt_program *p = s->program;
    char number[24];
    uint64_t bytes = rt__image_generation_bytes(p);
    snprintf(number, sizeof number, "%016" PRIx64, rt__plan_number(p));
    return json_pack("{s:s, s:i, s:i, s:I, s:I, s:o}", "plan", number, "stage", p->stage,
                     "rank0", rt__first_rank(p, p->stage), "image_bytes",
                     (json_int_t)image_bytes(bytes), "generation_bytes", (json_int_t)bytes,
                     "tensors", describe_tensors(s));
}

int rt__image_describe(rt_stage *s, const char *path)
{
    json_t *all = describe(s);
    if (!all)
        return rt_fail(s, RT_E_MEMORY, "no memory to say where its tensors lie");
    FILE *f = fopen(path, "w");
    bool bad = !f;
    if (f) {
        bad = json_dumpf(all, f, JSON_INDENT(1)) || fputc('\n', f) == EOF;
        bad |= fclose(f) != 0;
    }
    json_decref(all);
    return bad ? rt_fail(s, RT_E_ENVIRONMENT, "cannot write %s: %s", path, strerror(errno)) : 0;
}

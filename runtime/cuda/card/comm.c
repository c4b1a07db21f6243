#include "runtime/cuda/card/comm.h"

#ifdef STAGECC_NCCL

#include "runtime/cuda/card/card.h"
#include "runtime/cuda/card/library.h"
#include "runtime/wait.h"

#include <nccl.h>
#include <string.h>

// Blocks of a message's kernel: each takes a multiprocessor from work as long as it waits.
enum { MOST_BLOCKS = 4 };

enum { LEAST = 22200 }; // the first that aborts in groups
static const CudaLibrary library = {"libnccl.so.2", "NCCL 2.22"};

static struct Nccl {
// NOLINTNEXTLINE(bugprone-macro-parentheses): a name
#define FUNCTION(name) __typeof__(&nccl##name) name;
#include "runtime/cuda/card/nccl.def"
#undef FUNCTION
} nccl;

static const CudaFunction functions[] = {
#define FUNCTION(name) {"nccl" #name, offsetof(struct Nccl, name)},
#include "runtime/cuda/card/nccl.def"
#undef FUNCTION
};

_Static_assert(sizeof(ncclUniqueId) == RT__COMM_ID, "it has its place");

bool rt__comm_is_there(void)
{
    return rt__cuda_has(&library);
}

static int check_version(rt_stage *s)
{
    int found = 0;
    nccl.GetVersion(&found);
    if (found >= LEAST)
        return 0;
    return rt_fail(
        s, RT_E_ENVIRONMENT,
        "%s is NCCL %d.%d.%d: this program wants %s or newer, whose folder STAGECC_CUDA_LIBS may name, or no "
        "STAGECC_NCCL=1",
        library.file, found / 10000, found / 100 % 100, found % 100, library.package);
}

int rt__comm_load(rt_stage *s)
{
    int error = nccl.Send ? 0
                          : rt__cuda_load(s, &library, functions,
                                          sizeof functions / sizeof *functions, &nccl);
    return error ? error : check_version(s);
}

// What a call has said, once it has come to its end
// --------------------------------------------------------------------------------------

static int failed(rt_stage *s, const rt__comm *c, const char *what)
{
    char name[RT__RANK_NAME], peer[RT__RANK_NAME];
    return rt_fail(
        s, RT_E_PEER, "%s cannot %s edge %s, between its device and that of %s: NCCL: %s",
        rt__rank_name(s->program, s->rank, name), what, c->name,
        rt__rank_name(s->program, c->peer, peer), nccl.GetErrorString((ncclResult_t)c->status));
}

static bool is_over(rt_stage *s, void *user)
{
    rt__comm *c = user;
    (void)s;
    ncclResult_t status = ncclSuccess, asked = nccl.CommGetAsyncError(c->made, &status);
    c->status = (int)(asked ? asked : status);
    return c->status != ncclInProgress;
}

int rt__comm_finish(rt_stage *s, rt__comm *c, int said, const char *what)
{
    c->status = said;
    int error = said == ncclInProgress ? rt__wait_until(s, what, is_over, c) : 0;
    return error || !c->status ? error : failed(s, c, what);
}

void rt__comm_look(rt_stage *s, rt__comm *c)
{
    if (is_over(s, c) && c->status)
        failed(s, c, "use");
}

// Beginning and end
// ---------------------------------------------------------------------------------------

int rt__comm_make_id(rt_stage *s, rt__comm *c, uint8_t id[RT__COMM_ID])
{
    ncclUniqueId made;
    c->status = nccl.GetUniqueId(&made);
    if (c->status)
        return failed(s, c, "make an id for");
    memcpy(id, &made, sizeof made);
    return 0;
}

int rt__comm_open(rt_stage *s, rt__comm *c, const uint8_t id[RT__COMM_ID], int ranks, int rank)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId all;
    config.blocking = 0;
    config.maxCTAs = MOST_BLOCKS;
    memcpy(&all, id, sizeof all);
    int error = rt__card_make_stream(s, &c->stream);
    if (error)
        return error;
    return rt__comm_finish(s, c, nccl.CommInitRankConfig(&c->made, ranks, all, rank, &config),
                           "connect");
}

void rt__comm_begin_group(void)
{
    nccl.GroupStart();
}

int rt__comm_end_group(void)
{
    return (int)nccl.GroupEnd();
}

void rt__comm_abort(rt__comm *c)
{
    if (c->made)
        nccl.CommAbort(c->made);
    c->made = NULL;
}

void rt__comm_close(rt__comm *c)
{
    if (c->stream)
        cudaStreamDestroy(c->stream);
    c->stream = NULL;
}

// Messages
// -----------------------------------------------------------------------------------------

int rt__comm_send(rt_stage *s, rt__comm *c, const void *from, size_t bytes, int to)
{
    return rt__comm_finish(s, c, nccl.Send(from, bytes, ncclUint8, to, c->made, c->stream),
                           "send a message of");
}

int rt__comm_receive(rt_stage *s, rt__comm *c, void *to, size_t bytes, int from)
{
    return rt__comm_finish(s, c, nccl.Recv(to, bytes, ncclUint8, from, c->made, c->stream),
                           "receive a message of");
}

#endif

// As much of NCCL as runtime/cuda/card asks for, between processes of tests on the device of cudart.cpp. A communicator is a file
// that both map: a message is copied into it by the sender's stream, and out of it by the receiver's, each when it is its turn.
//
// Nothing is over when a call returns: a communicator is there, and a first message is in its stream, once both sides have
// asked for it and somebody asks how far it is. One of a single rank brings what a group of calls has sent to itself.
//
// Who aborts a communicator waits until no message is left on the device, as its memory is freed there; in a group, once all of them are
// told to end.
#include <fcntl.h>
#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>

// tests/cuda/cudart.cpp: work that may begin once `ready` says so.
extern "C" void cu_host_when(void *stream, const std::function<bool()> &ready,
                             const std::function<void()> &work);

static const size_t most_bytes = 64 << 20;

// Likewise: something of the device's work goes on.
extern "C" void cu_host_go_on(void);

struct Box { // on both sides
    std::atomic<int> joined, called;
    std::atomic<uint64_t> sent, received;
    uint64_t bytes;
    uint8_t data[most_bytes];
};

// What messages in streams know of their communicator, which may be gone before them.
typedef std::shared_ptr<std::atomic<bool>> Aborted;

static std::atomic<int> left; // of messages in streams, of all communicators

struct ncclComm {
    Box *box;
    int ranks;
    bool joined, called;
    int sends; // told to FAKE_NCCL_SENT, a file
    Aborted aborted;
    std::function<void()> first; // asked for, not in its stream yet
};

// In the group that was begun: messages of a communicator of one rank, or aborts.
static struct Group {
    int depth;
    bool aborts;
    ncclComm_t comm;
    const void *from;
    void *to;
    size_t sent, wanted;
    cudaStream_t stream;
} group;

extern "C" {

const char *ncclGetErrorString(ncclResult_t result)
{
    return result == ncclSystemError ? "no file of this test" : "error of this test";
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    static int n;
    const char *folder = getenv("TMPDIR");
    memset(id, 0, sizeof *id);
    snprintf(id->internal, sizeof id->internal, "%.80s/nccl-of-tests-%d-%d",
             folder ? folder : "/tmp", (int)getpid(), n++);
    int fd = open(id->internal, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good = fd >= 0 && !ftruncate(fd, sizeof(Box));
    close(fd);
    return good ? ncclSuccess : ncclSystemError;
}

// Else messages of another order than this test's may wait for each other for ever.
static bool keeps_out_of_the_way(const ncclConfig_t *config)
{
    const char *queues = getenv("CUDA_DEVICE_MAX_CONNECTIONS");
    const char *loading = getenv("CUDA_MODULE_LOADING");
    return queues && !strcmp(queues, "32") && loading && !strcmp(loading, "EAGER") &&
           config->maxCTAs > 0 && config->maxCTAs <= 8;
}

// As the real one would, a line of its version and more.
static void tell_debug_file(void)
{
    const char *name = getenv("NCCL_DEBUG_FILE");
    FILE *file = name ? fopen(name, "a") : NULL;
    if (file) {
        fprintf(file, "a communicator of tests\n");
        fclose(file);
    }
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int n, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    if (n < 1 || n > 2 || rank < 0 || rank >= n || config->blocking)
        return ncclInvalidArgument;
    if (!keeps_out_of_the_way(config))
        return ncclInvalidUsage;
    int fd = open(id.internal, O_RDWR | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED
                      : mmap(NULL, sizeof(Box), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED)
        return ncclSystemError;
    *comm = new ncclComm{
        (Box *)at, n, false, false, 0, std::make_shared<std::atomic<bool>>(false), {}};
    if (++(*comm)->box->joined == n)
        unlink(id.internal);
    tell_debug_file();
    return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *status)
{
    cu_host_go_on();
    comm->joined = comm->joined || comm->box->joined == comm->ranks;
    if (comm->first && comm->box->called == comm->ranks) {
        comm->first();
        comm->first = nullptr;
    }
    *status = !comm->joined || comm->first ? ncclInProgress : ncclSuccess;
    return ncclSuccess;
}

static void let_all_end()
{
    while (left)
        cu_host_go_on();
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    if (const char *log = getenv("FAKE_NCCL_SENT")) {
        FILE *file = comm->sends ? fopen(log, "a") : NULL;
        if (file) {
            fprintf(file, "%d\n", comm->sends);
            fclose(file);
        }
    }
    *comm->aborted = true; // the file stays mapped: streams may still ask
    delete comm;
    group.aborts = group.depth;
    if (!group.depth)
        let_all_end();
    return ncclSuccess;
}

// A message in its stream, once `ready` says so; without it when the communicator ends before.
static void put(const Aborted &aborted, cudaStream_t stream, const std::function<bool()> &ready,
                const std::function<void()> &bring)
{
    left++;
    cu_host_when(
        stream, [=] { return *aborted || ready(); },
        [=] {
            if (!*aborted)
                bring();
            left--;
        });
}

static ncclResult_t ask(ncclComm_t comm, const std::function<void()> &later)
{
    if (!comm->joined || comm->first)
        return ncclInvalidUsage;
    if (comm->called) {
        later();
        return ncclSuccess;
    }
    comm->called = true;
    comm->box->called++;
    comm->first = later;
    return ncclInProgress;
}

// Who sends to itself has to receive in the same group.
static bool is_group_of(ncclComm_t comm, cudaStream_t stream)
{
    bool good = group.depth && comm->joined && (!group.comm || group.comm == comm);
    group.comm = comm;
    group.stream = stream;
    return good;
}

ncclResult_t ncclGroupStart(void)
{
    group.depth++;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void)
{
    const Group g = group;
    group = {};
    if (g.aborts)
        let_all_end();
    if (g.depth == 1 && !g.comm) // no messages
        return ncclSuccess;
    if (g.depth != 1 || g.aborts || !g.comm || !g.from || !g.to || g.sent != g.wanted)
        return ncclInvalidUsage;
    const Aborted aborted = g.comm->aborted;
    return ask(g.comm, [=] {
        put(
            aborted, g.stream, [] { return true; }, [=] { memcpy(g.to, g.from, g.sent); });
    });
}

ncclResult_t ncclGetVersion(int *version)
{
    const char *old = getenv("FAKE_NCCL_VERSION");
    *version = old ? atoi(old) : NCCL_VERSION_CODE;
    return ncclSuccess;
}

ncclResult_t ncclSend(const void *from, size_t bytes, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream)
{
    Box *box = comm->box;
    const Aborted aborted = comm->aborted;
    if (type != ncclUint8 || peer != comm->ranks - 1 || bytes > most_bytes)
        return ncclInvalidArgument;
    comm->sends++;
    if (comm->ranks == 1) {
        if (!is_group_of(comm, stream))
            return ncclInvalidUsage;
        group.from = from;
        group.sent = bytes;
        return ncclSuccess;
    }
    return ask(comm, [=] {
        put(
            aborted, stream, [=] { return box->sent == box->received; },
            [=] {
                memcpy(box->data, from, bytes);
                box->bytes = bytes;
                box->sent++;
            });
    });
}

ncclResult_t ncclRecv(void *to, size_t bytes, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream)
{
    Box *box = comm->box;
    const Aborted aborted = comm->aborted;
    if (type != ncclUint8 || peer != 0)
        return ncclInvalidArgument;
    if (comm->ranks == 1) {
        if (!is_group_of(comm, stream))
            return ncclInvalidUsage;
        group.to = to;
        group.wanted = bytes;
        return ncclSuccess;
    }
    return ask(comm, [=] {
        put(
            aborted, stream, [=] { return box->sent > box->received; },
            [=] {
                if (bytes != box->bytes)
                    abort(); // each side means another message
                memcpy(to, box->data, bytes);
                box->received++;
            });
    });
}
}

// The CUDA runtime of a device that is not there, as far as runtime/cuda/card asks for it. Programs of the cuda backend
// whose kernels were compiled for this processor (runtime/cuda/cu_host.h) link it, so that all of the runtime that drives a
// device runs in tests.
//
// By the device's clock a kernel takes a millisecond, and nothing else takes any time.
//
// Nothing is done before somebody waits for it: a stream is a list, and one of them, by chance, goes on without the others until it
// has to wait for an event. The device's memory can be touched only while a list is worked on; whoever looks at it from the host, or
// at what was not waited for, ends with a signal or sees other bits, and so does a stream that does not wait for another. Whoever asks
// again and again whether an event was reached sees it come.
//
// It refuses what a driver would: while something is captured all that might wait, and then the capture is lost, too. What a call
// or a launch had to say stays until cudaGetLastError. With FAKE_CUDA_LAUNCH_FAILS=n the n-th launch of a program fails.
#include <cuda_runtime_api.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <functional>
#include <iterator>
#include <list>
#include <memory>
#include <string>
#include <vector>

typedef std::function<void()> Work;

struct Item {
    Work work;
    cudaEvent_t behind; // NULL: nothing of other streams
    unsigned recorded;
    std::function<bool()> ready; // of another process; none: it need not be asked
};

// What a graph is made of; events: that its launches record.
struct CUgraph_st {
    std::vector<Work> work;
    std::vector<cudaEvent_t> events;
};
struct CUgraphExec_st {
    CUgraph_st of;
};
struct CUstream_st {
    std::list<Item> work;
    bool capturing, lost; // what it captures was made invalid
    CUgraph_st captured;
};
static float clock_ms;
struct CUevent_st {
    cudaStream_t stream;
    unsigned recorded, reached; // how often
    bool timed, in_capture; // has a time; was recorded by a capture itself, which gives it none
    float ms;
    bool waiting() const
    {
        return reached < recorded;
    }
};

struct Memory {
    uint8_t *at;
    size_t bytes;
    bool device;     // else pinned
    bool registered; // it is the caller's
};
static std::list<Memory> memory;
static size_t device_bytes; // handed out

static size_t total_bytes()
{
    const char *mib = getenv("FAKE_CUDA_MIB");
    return (mib ? (size_t)atol(mib) : 4096) << 20;
}

// That has some of these bytes; NULL: the device knows of none.
static const Memory *memory_at(const void *at, size_t n)
{
    for (const Memory &m : memory)
        if ((const uint8_t *)at + n > m.at && (const uint8_t *)at < m.at + m.bytes)
            return &m;
    return NULL;
}

static bool is_pinned(const void *at, size_t n)
{
    const Memory *m = memory_at(at, n);
    return m && !m->device;
}

static bool is_device(const void *at, size_t n)
{
    const Memory *m = memory_at(at, n);
    return m && m->device && (const uint8_t *)at >= m->at &&
           (const uint8_t *)at + n <= m->at + m->bytes;
}

static void protect(int how)
{
    for (const Memory &m : memory)
        if (m.device && mprotect(m.at, m.bytes, how))
            abort();
}

static std::list<cudaStream_t> streams;

static bool may_begin(const Item &item)
{
    return (!item.behind || item.behind->reached >= item.recorded) &&
           (!item.ready || item.ready());
}

static bool may_go_on(cudaStream_t stream)
{
    return !stream->work.empty() && may_begin(stream->work.front());
}

static void work_on(cudaStream_t stream)
{
    Work work = stream->work.front().work;
    stream->work.pop_front();
    protect(PROT_READ | PROT_WRITE);
    work();
    protect(PROT_NONE);
}

static unsigned by_chance(unsigned n)
{
    static unsigned state = 1;
    state = state * 1664525 + 1013904223;
    return (state >> 16) % n;
}

// One of them, a little or as far as it comes without the others.
static void let_one_go_on()
{
    auto stream = std::next(streams.begin(), by_chance((unsigned)streams.size()));
    unsigned left = by_chance(2) ? 3 : UINT_MAX;
    for (; may_go_on(*stream) && left; left--)
        work_on(*stream);
}

static void work_up_to(cudaEvent_t event, unsigned recorded);

// Its first, or something that this waits for; another process may have to see that others of this one go on.
static void go_on(cudaStream_t stream)
{
    const Item first = stream->work.front();
    if (may_begin(first))
        work_on(stream);
    else if (first.behind)
        work_up_to(first.behind, first.recorded);
    else
        let_one_go_on();
}

static void work_off(cudaStream_t stream)
{
    while (!stream->work.empty())
        go_on(stream);
}

static void work_up_to(cudaEvent_t event, unsigned recorded)
{
    std::list<Item> &work = event->stream->work;
    while (event->reached < recorded && !work.empty())
        go_on(event->stream);
}

static cudaError_t last_error; // for whoever asks next

// What a call says.
static cudaError_t told(cudaError_t status)
{
    if (!status)
        return cudaSuccess;
    last_error = status;
    for (cudaStream_t stream : streams)
        stream->lost |= stream->capturing;
    return status;
}

static cudaError_t later(cudaStream_t stream, Work work)
{
    if (stream->capturing && stream->lost)
        return told(cudaErrorStreamCaptureInvalidated);
    if (stream->capturing)
        stream->captured.work.push_back(work);
    else
        stream->work.push_back({work, NULL, 0, {}});
    return cudaSuccess;
}

extern "C" void cu_host_later(void *stream, void (*run)(void *), void (*drop)(void *),
                              void *launched);
extern "C" void cu_host_later(void *stream, void (*run)(void *), void (*drop)(void *),
                              void *launched)
{
    static int launches;
    std::shared_ptr<void> kept(launched, drop);
    const char *fails = getenv("FAKE_CUDA_LAUNCH_FAILS");
    if (fails && ++launches == atoi(fails)) {
        last_error = cudaErrorLaunchOutOfResources; // a capture goes on without it
        return;
    }
    later((cudaStream_t)stream, [=] {
        run(kept.get());
        clock_ms++;
    });
}

// For a library that works between processes (nccl.cpp).
extern "C" void cu_host_when(void *stream, const std::function<bool()> &ready,
                             const std::function<void()> &work);
extern "C" void cu_host_when(void *stream, const std::function<bool()> &ready,
                             const std::function<void()> &work)
{
    ((cudaStream_t)stream)->work.push_back({work, NULL, 0, ready});
}

// What a device does without being asked.
extern "C" void cu_host_go_on(void);
extern "C" void cu_host_go_on(void)
{
    let_one_go_on();
}

// What a thread must not do while it captures.
static cudaError_t refused()
{
    for (cudaStream_t stream : streams)
        if (stream->capturing)
            return told(cudaErrorStreamCaptureUnsupported);
    return cudaSuccess;
}

extern "C" {

const char *cudaGetErrorName(cudaError_t error)
{
    return error ? "cudaErrorOfThisTest" : "cudaSuccess";
}

const char *cudaGetErrorString(cudaError_t error)
{
    static char text[64];
    snprintf(text, sizeof text, "error %d", (int)error);
    return text;
}

cudaError_t cudaGetLastError()
{
    const cudaError_t last = last_error;
    last_error = cudaSuccess;
    return last;
}

cudaError_t cudaGetDeviceCount(int *n)
{
    const char *devices = getenv("FAKE_CUDA_DEVICES");
    *n = devices ? atoi(devices) : 1;
    return told(*n > 0 ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaDriverGetVersion(int *version)
{
    const char *driver = getenv("FAKE_CUDA_DRIVER");
    *version = driver ? atoi(driver) : 13000;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *of, int device)
{
    *of = {};
    const char *kind = getenv("FAKE_CUDA_SM");
    const int sm = kind ? atoi(kind) : 90;
    of->major = sm / 10;
    of->minor = sm % 10;
    snprintf(of->name, sizeof of->name, "none");
    of->uuid.bytes[0] = (char)device;
    if (const char *home = getenv("HOME")) { // which tests give each of their hosts
        const size_t hash = std::hash<std::string>()(home);
        memcpy(&of->uuid.bytes[4], &hash, sizeof hash);
    }
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int)
{
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    *total = total_bytes();
    *left = *total - device_bytes;
    return cudaSuccess;
}

static cudaError_t allocate(void **at, size_t bytes, bool device)
{
    if (cudaError_t status = refused())
        return status;
    *at = mmap(NULL, bytes, device ? PROT_NONE : PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (*at == MAP_FAILED || (device && device_bytes + bytes > total_bytes()))
        return told(cudaErrorMemoryAllocation);
    madvise(*at, bytes,
            MADV_HUGEPAGE); // protecting many small pages takes most of the time there is
    device_bytes += device ? bytes : 0;
    memory.push_back({(uint8_t *)*at, bytes, device, false});
    return cudaSuccess;
}

static cudaError_t release(void *at, bool device, bool registered)
{
    if (cudaError_t status = refused())
        return status;
    for (auto m = memory.begin(); at && m != memory.end(); m++)
        if (m->at == at && m->device == device && m->registered == registered) {
            if (!m->registered)
                munmap(m->at, m->bytes);
            device_bytes -= m->device ? m->bytes : 0;
            memory.erase(m);
            return cudaSuccess;
        }
    return told(at ? cudaErrorInvalidValue : cudaSuccess);
}

cudaError_t cudaMalloc(void **at, size_t bytes)
{
    return allocate(at, bytes, true);
}

cudaError_t cudaFree(void *at)
{
    return release(at, true, false);
}

cudaError_t cudaMallocHost(void **at, size_t bytes)
{
    return allocate(at, bytes, false);
}

cudaError_t cudaFreeHost(void *at)
{
    return release(at, false, false);
}

cudaError_t cudaHostRegister(void *at, size_t bytes, unsigned)
{
    if (cudaError_t status = refused())
        return status;
    if (getenv("FAKE_CUDA_UNREGISTERED"))
        return told(cudaErrorMemoryAllocation);
    if (memory_at(at, bytes))
        return told(cudaErrorHostMemoryAlreadyRegistered);
    memory.push_back({(uint8_t *)at, bytes, false, true});
    return cudaSuccess;
}

cudaError_t cudaHostUnregister(void *at)
{
    return release(at, false, true);
}

cudaError_t cudaMemsetAsync(void *at, int value, size_t n, cudaStream_t stream)
{
    if (!is_device(at, n))
        return told(cudaErrorInvalidValue);
    return later(stream, [=] { memset(at, value, n); });
}

// Memory of the host that is not pinned is read before the call returns, and is written before it returns; so it cannot be captured.
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    if (is_device(to, n) != (kind != cudaMemcpyDeviceToHost) ||
        is_device(from, n) != (kind != cudaMemcpyHostToDevice))
        return told(cudaErrorInvalidValue);
    const bool pinned = kind == cudaMemcpyDeviceToDevice ||
                        is_pinned(kind == cudaMemcpyHostToDevice ? from : to, n);
    if (cudaError_t status = pinned ? cudaSuccess : refused())
        return status;
    if (kind == cudaMemcpyHostToDevice && !pinned) {
        std::vector<uint8_t> bytes((const uint8_t *)from, (const uint8_t *)from + n);
        return later(stream, [=] { memcpy(to, bytes.data(), n); });
    }
    if (cudaError_t status = later(stream, [=] { memcpy(to, from, n); }))
        return status;
    return pinned ? cudaSuccess : cudaStreamSynchronize(stream);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned)
{
    *stream = new CUstream_st();
    streams.push_back(*stream);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    streams.remove(stream);
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    if (cudaError_t status = refused())
        return status;
    work_off(stream);
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode)
{
    if (stream->capturing)
        return told(cudaErrorIllegalState);
    stream->capturing = true;
    stream->lost = false;
    stream->captured = {};
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status)
{
    *status = !stream->capturing ? cudaStreamCaptureStatusNone
              : stream->lost     ? cudaStreamCaptureStatusInvalidated
                                 : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    const bool captured = stream->capturing;
    stream->capturing = false;
    *graph = NULL;
    if (!captured || stream->lost)
        return told(captured ? cudaErrorStreamCaptureInvalidated : cudaErrorIllegalState);
    *graph = new CUgraph_st(stream->captured);
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *ready, cudaGraph_t graph, unsigned long long)
{
    *ready = new CUgraphExec_st{*graph};
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t ready, cudaStream_t stream)
{
    if (cudaError_t status = refused())
        return status;
    for (cudaEvent_t event : ready->of.events) {
        event->stream = stream;
        event->recorded++;
    }
    for (const Work &work : ready->of.work)
        later(stream, work);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t ready)
{
    delete ready;
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    *event = new CUevent_st();
    (*event)->timed = !(flags & cudaEventDisableTiming);
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

// An event that a capture records orders its work, and is never reached: "external" is what launches record.
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags)
{
    const bool external = flags & cudaEventRecordExternal;
    if (external != stream->capturing) {
        event->in_capture = stream->capturing;
        return told(external ? cudaErrorIllegalState : cudaSuccess);
    }
    event->in_capture = false;
    if (external) {
        stream->captured.events.push_back(event);
    } else {
        event->stream = stream;
        event->recorded++;
    }
    return later(stream, [=] {
        event->reached++;
        event->ms = clock_ms;
    });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    return cudaEventRecordWithFlags(event, stream, cudaEventRecordDefault);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t begin, cudaEvent_t end)
{
    if (!begin->timed || !end->timed)
        return told(cudaErrorInvalidValue);
    if (begin->in_capture || end->in_capture)
        return told(cudaErrorCapturedEvent);
    if (begin->waiting() || end->waiting() || !begin->recorded || !end->recorded)
        return told(cudaErrorNotReady);
    *ms = end->ms - begin->ms;
    return cudaSuccess;
}

// Something goes on whenever somebody asks.
cudaError_t cudaEventQuery(cudaEvent_t event)
{
    if (cudaError_t status = refused())
        return status;
    let_one_go_on();
    return told(event->waiting() ? cudaErrorNotReady : cudaSuccess);
}

// No more of its stream than what lies in front of it.
cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (cudaError_t status = refused())
        return status;
    if (!event->waiting())
        return cudaSuccess;
    work_up_to(event, event->recorded);
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    if (stream->capturing)
        return told(cudaErrorStreamCaptureIsolation); // it is of another stream
    stream->work.push_back({[] {}, event, event->recorded, {}});
    return cudaSuccess;
}
}

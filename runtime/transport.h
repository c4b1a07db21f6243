// Messages between the ranks of a job. How they travel between two ranks is a row of rt_transport:
// over the memory that both map where they share a host, else over the network. Which row serves a
// peer is decided once, at the start; loop and generated code never know.
//
// Every edge has a ring of slots, one counter for its producer and one for each consumer, wherever
// they lie: a message is written and read in place, or in the slot's twin on a device (runtime/twins.h). A row tells the other side that a counter has
// moved, and knows how to sleep until one does. All waits end when the counter arrives, when the job
// was aborted, when a rank it needs is dead, or when no rank has moved for rt_stage.timeout_ns.
// All return 0 or an rt_error whose message says who waited for what from whom since when.
#ifndef STAGECC_RUNTIME_TRANSPORT_H
#define STAGECC_RUNTIME_TRANSPORT_H

#include "runtime/rt.h"

// As this rank sees it.
typedef struct rt__edge {
    SegmentCounter *published; // messages that the producer has sent
    SegmentCounter *released;  // [n_consumers]: messages that each consumer is done with
    SegmentCounter *mine;      // this rank's entry of `released`; NULL: it is no consumer
    SegmentId *ids;            // [n_consumers]
    uint8_t *slots;
    uint8_t
        *twins; // of the slots, in the device's memory (runtime/twins.h); NULL: there are none
    int first_twin; // its number
    bool direct;    // twins go from device to device: neither slots nor counters are used
    uint64_t slot_bytes;
    uint64_t left_out; // messages of steps that were shorter than others, so far
} rt__edge;

typedef struct rt__wait rt__wait;

typedef struct rt_transport {
    const char *name;
    // Does it bring messages to and from this rank? The first row that does is taken.
    bool (*reaches)(const rt_stage *s, int peer);
    // After all peers have their row, and before the job's memory is unmapped. NULL: nothing to do.
    int (*open)(rt_stage *s);
    void (*close)(rt_stage *s);
    // This rank's counter has just moved past message `seq`: the consumer of that index, or the
    // producer, shall see it.
    int (*send)(rt_stage *s, int edge, int consumer, uint64_t seq);
    int (*release)(rt_stage *s, int edge, uint64_t seq);
    // Move what is under way, and the counters of what has come; trouble goes to rt_fail. false, or
    // NULL: there is none to make in this job.
    bool (*progress)(rt_stage *s);
    // Until w's counter has moved, or there is progress to make, or so long at most.
    void (*sleep)(rt_stage *s, const rt__wait *w, int64_t ns);
    // What has happened to that rank, or to the way to it, so that this wait will not end: "died".
    // NULL: nothing that is known here.
    const char *(*lost)(rt_stage *s, int peer, const rt__wait *w);
} rt_transport;

extern const rt_transport rt__shm; // runtime/shm.c
extern const rt_transport rt__ucx; // runtime/ucx/ucx.c, where the build has UCX

// Another rank.
typedef struct rt__peer {
    const rt_transport *by;
    int pid_fd; // on the same host; -1: not asked for yet
} rt__peer;

// Enter this rank into the job of this memory (fd stays the caller's) and find the edges.
int rt__transport_open(rt_stage *s, int fd);
void rt__transport_close(rt_stage *s);
// The first of an edge's consumers on a host, on this host: a rank; -1: there is none.
int rt__first_consumer(const rt_stage *s, int edge, int host);
int rt__first_here(const rt_stage *s, int edge);

// The running stream has this many micro-batches in its last step, fewer than others: no messages of the rest.
void rt__leave_out(rt_stage *s, int64_t micro_batches);
// The edge's slot of this step's message mb; where messages have no numbers, of the next one.
void *rt__slot(rt_stage *s, int edge, int mb);
// Its twin where it has one, else itself: what the device of this stage may work on.
void *rt__message(rt_stage *s, int edge, int mb);
// The four instructions of an edge; mb is the micro-batch. With twins the other side sees a message, or that one was
// released, once its copy is over: in rt__progress.
int rt__acquire(rt_stage *s, int edge, int mb);
int rt__send(rt_stage *s, int edge, int mb);
int rt__recv(rt_stage *s, int edge, int mb);
int rt__release(rt_stage *s, int edge, int mb);

// Counters, without regard to twins: message seq is there for the consumers, or this one is done with it.
int rt__publish(rt_stage *s, int edge, uint64_t seq);
int rt__give_back(rt_stage *s, int edge, uint64_t seq);

// Between two pieces of work: let messages of this rank go on. false: they need no help.
bool rt__progress(rt_stage *s);

#endif

// Batch norm with the members of its fusion group, for which there are generated kernels: what these stand on, and
// what is launched around them. Kernels and sums are cu_batch_norm.cuh's, `Shares` is of cu_channels.cuh.
#ifndef STAGECC_CU_NORM_GROUP_H
#define STAGECC_CU_NORM_GROUP_H

#include <stagecc/cu_batch_norm.cuh>
#include <stagecc/cu_stage.cuh>

// Called as by the c backend; `element` of the pack.
template <typename Shares>
CU_INLINE float c_norm_at(const cu_look<Shares> *k, int element, float x)
{
    return cu_norm_at(k->at(element), x);
}

template <typename Shares>
CU_INLINE float c_norm_again(const cu_look<Shares> *k, int element, float x)
{
    return cu_norm_at(k->at(element), x);
}

template <typename Shares>
CU_INLINE float c_norm_grad_at(const cu_look_back<Shares> *k, int element, float dy, float x)
{
    return k->back(element, dy, x);
}

// On the host
// ----------------------------------------------------------------------------------------------

// The channels of a norm, and its memory for the time being.
template <typename Shares> struct cu_norm_room {
    Shares shares;
    double *part;
    double *sums; // [2][C], of replicas that share statistics
    cu_norm *norm;
    cu_norm_grad *grad;
    float *mean, *var;

    CU_BOTH int64_t bytes(Shares of)
    {
        return of.part_bytes() +
               of.channels() * (int64_t)(2 * sizeof *sums + sizeof *norm + sizeof *grad +
                                         sizeof *mean + sizeof *var);
    }
    cu_norm_room(rt_stage *s, Shares of) : shares(of)
    {
        const int c = of.channels();
        part = (double *)rt_cuda_room(s);
        sums = part + of.part_bytes() / (int64_t)sizeof *part;
        norm = (cu_norm *)(void *)(sums + 2 * c);
        grad = (cu_norm_grad *)(void *)(norm + c);
        mean = (float *)(void *)(grad + c);
        var = mean + c;
    }
    int64_t few() const // blocks with a thread for each channel
    {
        return cu_ceil(shares.channels(), CU_COLUMN_THREADS);
    }
    int64_t total_blocks() const
    {
        return cu_total_blocks(shares.channels());
    }
};

// What forward applies; mean[C] and var[C] may be NULL. sums: those of x and its squares, [2,C]; NULL: they are taken
// here.
template <typename Shares>
static void cu_norm_statistics(cudaStream_t stream, const cu_norm_room<Shares> &room,
                               float *mean, float *var, const typename Shares::type *x,
                               const float *sums, const float *gamma, const float *beta,
                               double eps)
{
    float *to_mean = mean ? mean : room.mean, *to_var = var ? var : room.var;
    if (sums)
        CU_LAUNCH(cu_batch_norm_take<float>, room.few(), CU_COLUMN_THREADS, stream,
                  room.shares.channels(), room.norm, to_mean, to_var, sums, room.shares.count(),
                  gamma, beta, eps);
    else
        cu_batch_norm_find(stream, room.shares, room.norm, to_mean, to_var, room.part, x, gamma,
                           beta, eps);
}

// The same of statistics that replicas share, of `all` elements a channel; between its two halves the sums of all are
// added up.
template <typename Shares>
static void cu_norm_give(cudaStream_t stream, const cu_norm_room<Shares> &room,
                         const typename Shares::type *x)
{
    const Shares &shares = room.shares;
    CU_LAUNCH(cu_batch_norm_parts<Shares>, shares.blocks(), CU_COLUMN_THREADS, stream, shares,
              room.part, x);
    CU_LAUNCH(cu_batch_norm_give<typename Shares::type>, room.total_blocks(), CU_TOTAL_THREADS,
              stream, shares.channels(), room.sums, room.part, shares.parts(), x,
              shares.apart(), shares.count());
}

template <typename Shares>
static void cu_norm_take(cudaStream_t stream, const cu_norm_room<Shares> &room, float *mean,
                         float *var, const float *gamma, const float *beta, int64_t all,
                         double eps)
{
    CU_LAUNCH(cu_batch_norm_take<double>, room.few(), CU_COLUMN_THREADS, stream,
              room.shares.channels(), room.norm, mean ? mean : room.mean, var ? var : room.var,
              room.sums, all, gamma, beta, eps);
}

// The same of statistics that are there. beta: NULL where nobody asks for forward's result again.
template <typename Shares>
static void cu_norm_fixed(cudaStream_t stream, const cu_norm_room<Shares> &room,
                          const float *mean, const float *var, const float *gamma,
                          const float *beta, double eps)
{
    CU_LAUNCH(cu_batch_norm_fixed, room.few(), CU_COLUMN_THREADS, stream,
              room.shares.channels(), room.norm, mean, var, gamma, beta ? beta : gamma, eps);
}

// What backward applies, from the parts; dgamma[C] and dbeta[C] may be NULL.
template <typename Shares>
static void cu_norm_gradients(cudaStream_t stream, const cu_norm_room<Shares> &room,
                              float *dgamma, float *dbeta, const float *var, double eps)
{
    CU_LAUNCH(cu_batch_norm_grad_ready, room.total_blocks(), CU_TOTAL_THREADS, stream,
              room.shares.channels(), room.grad, dgamma, dbeta, room.part, room.shares.parts(),
              room.shares.count(), var, eps);
}

// In two halves, of replicas that share statistics.
template <typename Shares>
static void cu_norm_grad_give(cudaStream_t stream, const cu_norm_room<Shares> &room,
                              float *dgamma, float *dbeta, const float *var, double eps)
{
    CU_LAUNCH(cu_batch_norm_grad_give, room.total_blocks(), CU_TOTAL_THREADS, stream,
              room.shares.channels(), room.sums, dgamma, dbeta, room.part, room.shares.parts(),
              var, eps);
}

template <typename Shares>
static void cu_norm_grad_take(cudaStream_t stream, const cu_norm_room<Shares> &room,
                              const float *var, int64_t all, double eps)
{
    CU_LAUNCH(cu_batch_norm_grad_take, room.few(), CU_COLUMN_THREADS, stream,
              room.shares.channels(), room.grad, room.sums, all, var, eps);
}

#endif
